"""What pruning costs in training: a step between refreshes of the masks, and a refresh.

    python -m benchmarks.prune_step [--width 8192]

Adam alone against `prune(adam)`, 10 million parameters in four matrices, buffers given
away: the update by itself, and a whole training step of a batch. An accelerator needs
wider matrices to be busy: 268 million parameters at 8192.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

import jaxcompress as jc
from benchmarks import runner

WIDTH, LAYERS, SPARSITY = 1600, 4, 0.8


def main() -> None:
    """Measures each batch size once and prints what was found."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--width", type=int, default=WIDTH, help="of the square matrices")
    options = parser.parse_args()
    for batch in (0, 64, 256):
        settings = {"width": options.width, "layers": LAYERS, "sparsity": SPARSITY, "batch": batch}
        run = runner.record(
            "prune_step",
            functools.partial(measure, options.width, batch),
            settings=settings,
            seed=0,
            out=options.out,
        )
        print(settings, run["figures"])


def measure(width: int, batch: int) -> dict[str, Any]:
    """Seconds of a step, alone and pruned, and of one that finds masks anew.

    Args:
      width: of the matrices.
      batch: rows of the training step; 0 leaves the model out and updates alone.
    """
    refreshing = jc.schedules.every(1)
    adam = optax.adam(1e-3)
    timings = runner.interleaved(
        {"adam": stepper(adam, width, batch), "prune(adam)": stepper(pruned(never), width, batch)}
    )
    refresh = runner.interleaved({"refresh": stepper(pruned(refreshing), width, batch)}, repeats=5)
    return {name: timing._asdict() for name, timing in (timings | refresh).items()} | {
        "cost": 1 / timings["prune(adam)"].ratio
    }


def never(count: jax.Array) -> jax.Array:
    """Masks are found at the first step alone, which is a warm-up."""
    return count == 0


def pruned(when: Callable) -> optax.GradientTransformation:
    """Adam with pruning around it."""
    return jc.prune.prune(optax.adam(1e-3), jc.prune.criteria.magnitude(), SPARSITY, when=when)


def stepper(optimizer: optax.GradientTransformation, width: int, batch: int) -> Callable[[], Any]:
    """A function that takes one step and returns the new parameters."""
    keys = jax.random.split(jax.random.key(0), LAYERS)
    params = [jax.random.normal(key, (width, width)) / width**0.5 for key in keys]
    data = jax.random.normal(jax.random.key(1), (max(batch, 1), width))
    fixed = jax.tree.map(lambda leaf: 0.1 * leaf, params)

    def loss(params):
        x = data
        for kernel in params:
            x = jnp.tanh(x @ kernel)
        return jnp.mean(x**2)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, opt_state, fixed):
        grads = jax.grad(loss)(params) if batch else fixed
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    carry = (params, optimizer.init(params))

    def run():
        nonlocal carry
        carry = step(*carry, fixed)
        return carry[0]

    return run


if __name__ == "__main__":
    main()
