"""A smaller network, not a sparser one: whole units go, and every array shrinks.

    python examples/remove_units.py

The program itself says which indices of which arrays live and die together, through a
residual branch as well; no layer is registered anywhere.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxcompress as jc
from jaxcompress.demo.data import Images, bundled_digits

STEPS, BATCH = 300, 64


def model(params, images):
    """Logits: two layers with a residual branch between them, (n, 10)."""
    x = jax.nn.relu(images.reshape(len(images), -1) @ params["in"])
    x = x + jax.nn.relu(x @ params["up"]) @ params["down"]
    return x @ params["head"]


def initial(key):
    """64 pixels, a stream of 128, a branch of 256, 10 classes."""
    he, keys = jax.nn.initializers.he_normal(), jax.random.split(key, 4)
    shapes = {"in": (64, 128), "up": (128, 256), "down": (256, 128), "head": (128, 10)}
    return {name: he(each, shape) for each, (name, shape) in zip(keys, shapes.items(), strict=True)}


def train(fn, params, digits: Images, steps: int):
    """The params after so many batches of AdamW; of any model."""
    optimizer = jc.optimizers.adamw(optax.cosine_decay_schedule(2e-3, steps), weight_decay=1e-2)

    @jax.jit
    def step(params, opt_state, images, labels):
        def loss(params):
            return jc.distill.outputs.hard_targets(fn(params, images), labels).mean()

        updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    opt_state, random = optimizer.init(params), np.random.default_rng(0)
    for _ in range(steps):
        batch = digits[random.integers(len(digits), size=BATCH)]
        params, opt_state = step(params, opt_state, batch.images, batch.labels)
    return params


def described(name: str, fn, params, digits: Images) -> tuple[float, int]:
    """Accuracy and number of weights, printed too."""
    right = jnp.argmax(jax.jit(fn)(params, digits.images), axis=-1) == digits.labels
    accuracy, count = float(right.mean()), sum(leaf.size for leaf in jax.tree.leaves(params))
    print(f"{name:20} {100 * accuracy:5.1f} % right   {count:7,} weights")
    return accuracy, count


def main(steps: int = STEPS) -> dict[str, tuple[float, int]]:
    """Test accuracy and number of weights: before, as cut, and trained again."""
    digits = bundled_digits(fractions=(0.6, 0.1, 0.3), seed=0)
    params = train(model, initial(jax.random.key(0)), digits.train, steps)
    some = digits.train[np.arange(256)]
    removed = jc.structure.remove(
        model,
        params,
        jc.structure.importance.linearized(
            jc.distill.outputs.hard_targets, [(some.images, some.labels)]
        ),
        some.images[:1],
        cut=jc.structure.Cut(jc.structure.amounts.within_macs(12_000), multiple_of=8),
    )
    print(removed.report)
    small = train(removed.fn, removed.params, digits.train, steps)
    return {
        "dense": described("dense", model, params, digits.test),
        "as cut": described("as cut", removed.fn, removed.params, digits.test),
        "trained again": described("trained again", removed.fn, small, digits.test),
    }


if __name__ == "__main__":
    main()
