"""Whether pruning, quantization-aware training and distillation cost more together.

    python -m benchmarks.combined_step [--width 1024]

A multilayer perceptron, batch 128, Adam: the plain step, the step with each technique
by itself, and with all three, in one process and in turn. The sum of the parts is the
plain step plus what each technique adds to it alone. Masks are found every 100 steps;
those steps count with their share. The teacher's answers are computed in the step, so
that the two models' costs are both there.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

import jaxcompress as jc
from benchmarks import runner
from jaxcompress.core.types import Array, Params

WIDTH, LAYERS, BATCH, CLASSES, EVERY, SPARSITY = 1024, 4, 128, 10, 100, 0.8
PARTS = {
    "plain": (),
    "pruning": ("pruning",),
    "quantization": ("quantization",),
    "distillation": ("distillation",),
    "all": ("pruning", "quantization", "distillation"),
}


def main() -> None:
    """Measures once and prints what was found."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--width", type=int, default=WIDTH, help="of the square matrices")
    options = parser.parse_args()
    settings = {
        "width": options.width,
        "layers": LAYERS,
        "batch": BATCH,
        "every": EVERY,
        "sparsity": SPARSITY,
    }
    run = runner.record(
        "combined_step",
        functools.partial(measure, options.width),
        settings=settings,
        seed=0,
        out=options.out,
    )
    for name, figure in run["figures"].items():
        print(name, figure)


def measure(width: int) -> dict[str, Any]:
    """Seconds of each step, the sum of the parts, and traces of the combined step."""
    traces: dict[str, list[None]] = {name: [] for name in PARTS}
    steps = {name: stepper(parts, width, traces[name]) for name, parts in PARTS.items()}
    timings = runner.interleaved(steps)
    medians = {name: timing.median_seconds for name, timing in timings.items()}
    plain = medians["plain"]
    parts = plain + sum(
        medians[name] - plain for name in ("pruning", "quantization", "distillation")
    )
    return {
        "timings": {name: timing._asdict() for name, timing in timings.items()},
        "sum of the parts": parts,
        "all of the sum": medians["all"] / parts,
        "traces": {name: len(found) for name, found in traces.items()},
    }


def perceptron(params: Params, x: Array) -> Array:
    """(batch, width) to logits (batch, CLASSES)."""
    for kernel in params["hidden"]:
        x = jax.nn.relu(x @ kernel)
    return x @ params["out"]


def as_stored(params: Params) -> Params:
    """The view of a model that is not quantized."""
    return params


def initial(seed: int, width: int) -> Params:
    """Normal weights of the scale of He."""
    keys = jax.random.split(jax.random.key(seed), LAYERS + 1)
    hidden = [jax.random.normal(key, (width, width)) * (2 / width) ** 0.5 for key in keys[1:]]
    return {"hidden": hidden, "out": jax.random.normal(keys[0], (width, CLASSES)) / width**0.5}


def stepper(parts: tuple[str, ...], width: int, traces: list[None]) -> Callable[[], Any]:
    """A function that takes one training step with these techniques."""
    params, teacher = initial(0, width), initial(1, width)
    x = jax.random.normal(jax.random.key(2), (BATCH, width))
    labels = jnp.arange(BATCH) % CLASSES
    axes = jc.graph.axes(perceptron, params, x)
    optimizer = optax.adam(1e-3)
    if "pruning" in parts:
        target = jc.prune.Target(SPARSITY, axes=axes)
        criterion, when = jc.prune.criteria.magnitude(), jc.schedules.every(EVERY)
        optimizer = jc.prune.prune(optimizer, criterion, target, when=when)
    view: Callable[[Params], Params] = as_stored
    if "quantization" in parts:
        view = jc.quantize.fake_quantize(jc.quantize.int8(), axes=axes)

    def loss(params: Params, teacher: Params) -> Array:
        logits = perceptron(view(params), x)
        hard = jc.distill.outputs.hard_targets(logits, labels)
        if "distillation" not in parts:
            return hard.mean()
        soft = jc.distill.outputs.soft_targets(logits, perceptron(teacher, x), temperature=4.0)
        return jc.distill.mix(hard, soft, weight=0.9).mean()

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params: Params, opt_state: Any, teacher: Params):
        traces.append(None)
        grads = jax.grad(loss)(params, teacher)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    carry = params, optimizer.init(params)

    def run():
        nonlocal carry
        carry = step(*carry, teacher)
        return carry[0]

    return run


if __name__ == "__main__":
    main()
