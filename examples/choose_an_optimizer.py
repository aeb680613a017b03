"""Four optimizers on one network: how low they get, and what they keep in memory.

    python examples/choose_an_optimizer.py

AdamW; AdamW with its state in 8 bits; Muon for the matrices; and Muon behind a guard
that skips a step whose gradients are not finite. A poisoned batch comes along to show
what the guard is for.
"""

import jax
import numpy as np
import optax

import jaxcompress as jc
from jaxcompress.demo.data import Images, bundled_digits

STEPS, BATCH = 300, 64


def model(params, images):
    """Logits of flattened images, (n, 10)."""
    x = images.reshape(len(images), -1)
    for kernel in (params["first"], params["second"]):
        x = jax.nn.relu(x @ kernel)
    return x @ params["head"]


def initial(key):
    """64 pixels, twice 128 units, 10 classes."""
    he, keys = jax.nn.initializers.he_normal(), jax.random.split(key, 3)
    shapes = {"first": (64, 128), "second": (128, 128), "head": (128, 10)}
    return {name: he(each, shape) for each, (name, shape) in zip(keys, shapes.items(), strict=True)}


def train(params, optimizer, digits: Images, steps: int, poisoned: int = -1):
    """The params after so many batches, and the last state of the optimizer."""

    @jax.jit
    def step(params, opt_state, images, labels):
        def loss(params):
            return jc.distill.outputs.hard_targets(model(params, images), labels).mean()

        updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    opt_state, random = optimizer.init(params), np.random.default_rng(0)
    for count in range(steps):
        batch = digits[random.integers(len(digits), size=BATCH)]
        images = batch.images * np.float32(np.nan if count == poisoned else 1)
        params, opt_state = step(params, opt_state, images, batch.labels)
    return params, opt_state


def main(steps: int = STEPS) -> dict[str, tuple[float, int]]:
    """Validation loss and bytes of state, by optimizer."""
    digits = bundled_digits(fractions=(0.6, 0.2, 0.2), seed=0)
    params = initial(jax.random.key(0))
    axes = jc.graph.axes(model, params, digits.test.images[:1])
    rate = optax.cosine_decay_schedule(3e-3, steps)
    o = jc.optimizers
    adamw = o.adamw(rate, weight_decay=1e-2)
    muon = o.muon(
        optax.cosine_decay_schedule(1e-2, steps), scale=o.adam_scale, weight_decay=1e-2, axes=axes
    )
    racers = {
        "AdamW": (adamw, -1),
        "AdamW, 8-bit state": (o.quantize_state(adamw, o.dynamic8()), -1),
        "Muon": (muon, -1),
        "Muon, one batch of NaN": (o.skip_nonfinite(muon), steps // 2),
    }
    found = {}
    for name, (optimizer, poisoned) in racers.items():
        trained, opt_state = train(params, optimizer, digits.train, steps, poisoned)
        held_out = digits.validation
        loss = jc.validate.evaluate(model, trained, held_out.images, held_out.labels).loss.mean()
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(opt_state))
        found[name] = float(loss), size
        print(f"{name:24} loss {loss:.3f}   state {size:9,} bytes")
    return found


if __name__ == "__main__":
    main()
