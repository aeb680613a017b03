"""A network that trains while nine in ten of its weights go, and the file that is left.

    python examples/prune_while_training.py

The same few lines train three networks on handwritten digits: dense, pruned gradually
by magnitude, and sparse from the first step (RigL). Only the optimizer differs.
"""

import pathlib
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxcompress as jc
from jaxcompress.demo.data import Images, bundled_digits

STEPS, BATCH, SPARSITY = 1_500, 64, 0.9


def model(params, images):
    """Logits of flattened images, (n, 10)."""
    hidden = jax.nn.relu(images.reshape(len(images), -1) @ params["hidden"])
    return hidden @ params["out"]


def initial(key):
    """64 pixels, 256 units, 10 classes."""
    he, (first, second) = jax.nn.initializers.he_normal(), jax.random.split(key)
    return {"hidden": he(first, (64, 256)), "out": he(second, (256, 10))}


def train(params, optimizer, digits: Images, steps: int):
    """The params after so many batches, and the last state of the optimizer."""

    @jax.jit
    def step(params, opt_state, images, labels):
        def loss(params):
            return jc.distill.outputs.hard_targets(model(params, images), labels).mean()

        updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    opt_state, random = optimizer.init(params), np.random.default_rng(0)
    for _ in range(steps):
        batch = digits[random.integers(len(digits), size=BATCH)]
        params, opt_state = step(params, opt_state, batch.images, batch.labels)
    return params, opt_state


def main(steps: int = STEPS) -> dict[str, tuple[float, int]]:
    """Test accuracy and bytes of the file, by network."""
    digits = bundled_digits(fractions=(0.6, 0.1, 0.3), seed=0)
    params = initial(jax.random.key(0))
    axes = jc.graph.axes(model, params, digits.test.images[:1])
    adamw = optax.adamw(optax.cosine_decay_schedule(3e-3, steps), weight_decay=1e-2)

    gradual = jc.prune.prune(
        adamw,
        jc.prune.criteria.magnitude(),
        jc.prune.Target(
            jc.schedules.cubic(0.0, SPARSITY, begin=steps // 5, end=steps // 2), axes=axes
        ),
        when=jc.schedules.every(10, end=steps // 2),
    )
    at_random = jc.prune.criteria.random(jax.random.key(1))
    masks = jc.prune.masks(
        params, at_random, jc.prune.Target(SPARSITY, allocate=jc.prune.allocations.erk, axes=axes)
    )
    sparse = jc.prune.regrow(
        adamw,
        jc.prune.Growth(
            jc.prune.criteria.gradient_momentum(0.0),
            optax.cosine_decay_schedule(0.3, steps * 3 // 4),
        ),
        masks,
        when=jc.schedules.every(20, begin=20, end=steps * 3 // 4),
    )
    runs = {
        "dense": (params, adamw),
        "pruned gradually": (params, gradual),
        "sparse all along": (jc.prune.apply(masks, params), sparse),
    }
    found = {}
    for name, (start, optimizer) in runs.items():
        trained, opt_state = train(start, optimizer, digits.train, steps)
        if name != "dense":
            jc.prune.check(opt_state)  # raises if a pruned weight came alive
        logits = model(trained, digits.test.images)
        accuracy = float(jnp.mean(jnp.argmax(logits, axis=-1) == digits.test.labels))
        path = pathlib.Path(tempfile.mkdtemp()) / "digits.safetensors"
        jc.storage.save(path, trained)
        found[name] = accuracy, path.stat().st_size
        print(f"{name:18} {100 * accuracy:5.1f} % right   {path.stat().st_size:7,} bytes")
    return found


if __name__ == "__main__":
    main()
