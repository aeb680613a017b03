"""What a compressed optimizer state saves in bytes and costs in the time of a step.

    python -m benchmarks.optimizer_state [--width 8192]

Adam as it is against `quantize_state(adam)` in every format, 10 million parameters in
four matrices, buffers given away, the update alone: the least favourable case, since a
real step also runs the model. An accelerator needs wider matrices to be busy: 268
million parameters at 8192.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import optax

import jaxcompress as jc
from benchmarks import runner

WIDTH, LAYERS = 1600, 4


def main() -> None:
    """Measures once and prints what was found."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--width", type=int, default=WIDTH, help="of the square matrices")
    options = parser.parse_args()
    run = runner.record(
        "optimizer_state",
        functools.partial(measure, options.width),
        settings={"width": options.width, "layers": LAYERS},
        seed=0,
        out=options.out,
    )
    for name, figures in run["figures"].items():
        print(f"{name:22} {figures}")


def measure(width: int) -> dict[str, Any]:
    """By form of the state: seconds of a step, times those of Adam, state bytes."""
    forms = optimizers()
    timings = runner.interleaved({name: stepper(form, width) for name, form in forms.items()})
    sizes = {name: state_bytes(form, width) for name, form in forms.items()}
    return {
        name: timings[name]._asdict()
        | {
            "cost": 1 / timings[name].ratio,
            "state_bytes": sizes[name],
            "share_of_bytes": sizes[name] / sizes["adam"],
        }
        for name in forms
    }


def optimizers() -> dict[str, optax.GradientTransformationExtraArgs]:
    """Adam, then Adam with its state in each format."""
    rooms = jc.optimizers
    adam = optax.adam(1e-3)
    formats = (rooms.dynamic8(), rooms.linear8(), rooms.linear4(), rooms.fp8())
    in_codes = {form.name: rooms.quantize_state(adam, form) for form in formats}
    stochastic = rooms.quantize_state(adam, rooms.bfloat16(), key=jax.random.key(0))
    return {"adam": adam} | in_codes | {"stochastic_bfloat16": stochastic}


def state_bytes(optimizer: optax.GradientTransformation, width: int) -> int:
    """Bytes of the state's arrays, from their shapes."""
    shapes = jax.eval_shape(functools.partial(parameters, width))
    leaves = jax.tree.leaves(jax.eval_shape(optimizer.init, shapes))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def parameters(width: int) -> list[jax.Array]:
    """The four matrices."""
    keys = jax.random.split(jax.random.key(0), LAYERS)
    return [jax.random.normal(key, (width, width)) / width**0.5 for key in keys]


def stepper(optimizer: optax.GradientTransformation, width: int) -> Callable[[], Any]:
    """A function that takes one step and returns the new parameters."""
    params = parameters(width)
    grads = jax.tree.map(lambda leaf: 0.1 * leaf, params)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, opt_state, grads):
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    carry = (params, optimizer.init(params))

    def run():
        nonlocal carry
        carry = step(*carry, grads)
        return carry[0]

    return run


if __name__ == "__main__":
    main()
