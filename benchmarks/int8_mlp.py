"""What does an MLP cost on int8, in training and when it runs, beside qwix and float32?

A Flax MLP of four layers of 1024 with biases and ReLU. Training: one step of SGD at
batch 128 with weights and data in 8 bits, params donated. Running: codes of weights and
data at batch 32 and 256, in `quantize.run` as planned and in qwix. All variants take
turns in one process; needs `pip install qwix`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

import jaxcompress as jc
from benchmarks import runner
from benchmarks.planned_mlp import MLP, WIDTH

STEP_BATCH = 128
BATCHES = (32, 256)
REPEATS = 100
RATE = 0.01
MODEL = MLP()


def qwix_rules():
    """8 bits for the weights and data of every layer."""
    import qwix  # pyright: ignore[reportMissingImports]: the peer, installed by hand

    rule = qwix.QuantizationRule(module_path=".*", weight_qtype=jnp.int8, act_qtype=jnp.int8)
    return [rule]


def data(batch: int, seed: int):
    """Params, inputs and targets."""
    keys = jax.random.split(jax.random.key(seed), 3)
    x, y = (jax.random.normal(key, (batch, WIDTH)) for key in keys[:2])
    return MODEL.init(keys[2], x), x, y


def trained_models(params, x) -> dict[str, Callable]:
    """The models whose steps are compared."""
    import qwix  # pyright: ignore[reportMissingImports]: the peer, installed by hand

    spec, coarse = jc.quantize.int8(), jc.quantize.execution.dynamic()
    axes = jc.graph.axes(MODEL.apply, params, x)
    view = jc.quantize.fake_quantize(spec, axes=axes)
    rounded = jc.quantize.fake_quantize_activations(MODEL.apply, coarse)
    return {
        "qwix": qwix.quantize_model(MODEL, qwix.QtProvider(qwix_rules())).apply,
        "float32": MODEL.apply,
        "fake_quantized": jc.quantize.fake_quantize_model(MODEL.apply, spec, coarse, axes=axes),
        "views": lambda params, x: rounded(view(params), x),
    }


class Training:
    """Calls that each take one step."""

    def __init__(self, fn: Callable, params, x, y):
        @partial(jax.jit, donate_argnums=0)
        def step(params, x, y):
            grads = jax.grad(lambda params: jnp.mean((fn(params, x) - y) ** 2))(params)
            return jax.tree.map(lambda p, g: p - RATE * g, params, grads)

        self.step, self.data = step, (x, y)
        self.params = jax.tree.map(jnp.array, params)

    def __call__(self):
        self.params = self.step(self.params, *self.data)
        return self.params


def measure_step(seed: int) -> dict[str, Any]:
    """Milliseconds of a step of each model."""
    params, x, y = data(STEP_BATCH, seed)
    models = trained_models(params, x)
    return timed({name: Training(fn, params, x, y) for name, fn in models.items()})


def measure_run(batch: int, seed: int) -> dict[str, Any]:
    """Milliseconds of a call of each model, and errors relative to float32."""
    import qwix  # pyright: ignore[reportMissingImports]: the peer, installed by hand

    params, x, _ = data(batch, seed)
    axes = jc.graph.axes(MODEL.apply, params, x)
    codes, _ = jc.quantize.quantize(params, jc.quantize.int8(), axes=axes)
    plan = jc.quantize.plan_execution(MODEL.apply, codes, x)
    theirs = qwix.quantize_model(MODEL, qwix.PtqProvider(qwix_rules()))
    shapes = jax.eval_shape(theirs.init, jax.random.key(0), x)["params"]
    their_params = {"params": qwix.quantize_params(params["params"], shapes)}
    calls = {
        "qwix": partial(jax.jit(theirs.apply), their_params, x),
        "float32": partial(jax.jit(MODEL.apply), params, x),
        "run": partial(jax.jit(jc.quantize.run(MODEL.apply, plan)), plan.hold(codes), x),
    }
    exact = calls["float32"]()
    errors = {
        name: float(jnp.linalg.norm(call() - exact) / jnp.linalg.norm(exact))
        for name, call in calls.items()
    }
    return {**timed(calls), "errors": errors, "dense_leaves": plan.dense_leaves}


def timed(calls: dict[str, Callable]) -> dict[str, Any]:
    """Medians of calls in turn, as milliseconds and as shares of qwix's."""
    timings = runner.interleaved(calls, repeats=REPEATS)
    return {
        "median_ms": {name: timing.median_seconds * 1e3 for name, timing in timings.items()},
        "of_qwix": {name: 1 / timing.ratio for name, timing in timings.items()},
        "spread": {name: timing.spread for name, timing in timings.items()},
    }


def main() -> None:
    """Measures what is missing and prints all of it."""
    options = runner.arguments("Times an MLP on int8 beside qwix.").parse_args()
    settings = {"repeats": REPEATS, "jax": jax.__version__, "qwix": runner.version("qwix")}
    runs = {f"step at batch {STEP_BATCH}": partial(measure_step, 0)}
    runs |= {f"run at batch {batch}": partial(measure_run, batch, 0) for batch in BATCHES}
    for name, measure in runs.items():
        figures = runner.record(
            "int8_mlp", measure, settings={"what": name, **settings}, seed=0, out=options.out
        )["figures"]
        for variant, share in figures["of_qwix"].items():
            print(
                f"{name}: {variant:15} {figures['median_ms'][variant]:7.3f} ms, "
                f"{share:.2f} of qwix, spread {figures['spread'][variant]:.2f}"
            )


if __name__ == "__main__":
    main()
