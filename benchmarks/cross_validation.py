"""What all folds in one program save, beside one run for each fold.

    python -m benchmarks.cross_validation

Two cases. Five folds of a perceptron (32-64-64-10) on 1,797 examples, 300 steps of Adam
on batches of 64. Leave-one-out: 200 perceptrons (8-16-1), each on 199 of 200 examples,
300 steps of Adam on all of them. Data are random numbers, on which times do not depend.

One program is `validate.cross_validate`, compiling included; separate runs call one
jitted `fit` and one jitted `evaluate` per fold, which compile once for each size of
fold. Nothing is taken from a cache. Both ways take turns; their values are compared.
Beside the clock the time of processors is recorded, which a busy machine changes less.
"""

import functools
import itertools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxcompress as jc
from benchmarks import runner
from jaxcompress.core.types import Array, Params, PyTree
from jaxcompress.validate import cross_validation
from jaxcompress.validate.cross_validation import program
from jaxcompress.validate.splits import Fold

STEPS, ROUNDS = 300, 3
CASES = {
    "five folds": {"n": 1797, "sizes": [32, 64, 64, 10], "batch": 64, "folds": 5, "at_once": 5},
    "leave one out": {"n": 200, "sizes": [8, 16, 1], "batch": 200, "folds": 200, "at_once": 200},
    "leave one out, 25 at once": {
        "n": 200,
        "sizes": [8, 16, 1],
        "batch": 200,
        "folds": 200,
        "at_once": 25,
    },
}


def perceptron(params: Params, x: Array) -> Array:
    """The outputs of layers with tanh between them."""
    *inner, last = params
    for kernel, bias in inner:
        x = jnp.tanh(x @ kernel + bias[None])
    return x @ last[0] + last[1][None]


def started(key: Array, sizes: list[int], dtype: jnp.dtype) -> Params:
    """Layers of these widths."""
    keys, pairs = jax.random.split(key, len(sizes) - 1), itertools.pairwise(sizes)
    normal = jax.nn.initializers.lecun_normal(dtype=dtype)
    return [
        (normal(each, shape), jnp.zeros(shape[1], dtype))
        for each, shape in zip(keys, pairs, strict=True)
    ]


def squares(params: Params, examples: PyTree) -> Array:
    """The squared error of each example."""
    x, targets = examples
    return jnp.mean((perceptron(params, x) - targets) ** 2, axis=-1)


def fitted(
    sizes: list[int], batch: int, steps: int = STEPS
) -> Callable[[PyTree, Array, Array], Params]:
    """A `fit` of so many steps; batches are drawn with replacement, by weight."""
    optimizer = optax.adam(1e-2)

    def fit(examples: PyTree, weights: Array, key: Array) -> Params:
        start_key, key = jax.random.split(key)
        whole = batch >= len(weights)
        # A draw is the place of a number in the running sum, so it is of a real row.
        ends = jnp.cumsum(weights)

        def loss(params: Params, index: Array) -> Array:
            if whole:
                return jnp.sum(weights * squares(params, examples)) / jnp.sum(weights)
            rows = jax.tree.map(lambda array: array[index], examples)
            return jnp.mean(squares(params, rows))

        def step(carry, key):
            params, state = carry
            drawn = jax.random.uniform(key, (batch,)) * ends[-1]
            index = jnp.searchsorted(ends, drawn, side="right")
            updates, state = optimizer.update(jax.grad(loss)(params, index), state, params)
            return (optax.apply_updates(params, updates), state), None

        params = started(start_key, sizes, examples[0].dtype)
        carry = params, optimizer.init(params)
        return jax.lax.scan(step, carry, jax.random.split(key, steps))[0][0]

    return fit


def separate(fit: Callable, data: PyTree, folds: list[Fold], key: Array) -> list[np.ndarray]:
    """The values of each fold by a run of its own."""
    fit, evaluate, found = jax.jit(fit), jax.jit(squares), []
    for number, (train, test) in enumerate(folds):
        rows, others = (
            jax.tree.map(lambda array, part=part: array[part], data) for part in (train, test)
        )
        model = fit(rows, jnp.ones(train.size), jax.random.fold_in(key, number))
        found.append(np.asarray(evaluate(model, others)))
    return found


def largest_difference(together: cross_validation.CrossValidation, apart: list) -> float:
    """Between the values of examples that both ways give."""
    pairs = zip(together.values, apart, strict=True)
    return float(max(np.abs(values["score"] - other).max() for values, other in pairs))


def after_ten_steps(case: dict, data: PyTree, folds: list[Fold], key: Array) -> float:
    """The largest difference in float64, where rounding alone plays no part."""
    with jax.enable_x64(True):
        data = jax.tree.map(lambda array: np.asarray(array, np.float64), data)
        fit = fitted(case["sizes"], case["batch"], 10)
        together = jc.validate.cross_validate(
            fit, squares, data, folds, key=key, at_once=case["at_once"]
        )
        return largest_difference(together, separate(fit, data, folds, key))


def timed(call: Callable[[], Any]) -> tuple[tuple[float, float], Any]:
    """Seconds of a call on the clock and of processors, and what it gives."""
    begin, worked = time.perf_counter(), time.process_time()
    found = call()
    return (time.perf_counter() - begin, time.process_time() - worked), found


def measure(case: dict) -> dict:
    """Seconds of both ways and of the program alone, and how far values differ."""
    random = np.random.default_rng(0)
    features, outputs = case["sizes"][0], case["sizes"][-1]
    data = tuple(
        jnp.asarray(random.normal(size=(case["n"], size)), jnp.float32)
        for size in (features, outputs)
    )
    folds, key = jc.validate.splits.k_fold(case["n"], folds=case["folds"]), jax.random.key(0)

    def fresh() -> Callable[[PyTree, Array, Array], Params]:
        """Made anew, so that each call compiles."""
        return fitted(case["sizes"], case["batch"])

    ways = {
        "one_program": lambda: jc.validate.cross_validate(
            fresh(), squares, data, folds, key=key, at_once=case["at_once"]
        ),
        "separate": lambda: separate(fresh(), data, folds, key),
    }
    seconds, found = {name: [] for name in ways}, {}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            taken, found[name] = timed(way)
            seconds[name].append(taken)
    together = found["one_program"]
    if together.in_turn:
        raise RuntimeError(f"The folds were meant to run in one program: {together.in_turn}.")
    keys = program.fold_keys(key, len(folds))
    rows = program.in_chunks(program.padded(folds, keys), case["at_once"])
    run = jax.jit(program.program(fresh(), squares)).lower(data, rows).compile()
    seconds["compiled_program"] = [
        timed(lambda: jax.block_until_ready(run(data, rows)))[0] for _ in range(ROUNDS)
    ]
    memory = run.memory_analysis()
    times = {
        f"{name}_{kind}_seconds": [round(pair[place], 3) for pair in pairs]
        for name, pairs in seconds.items()
        for place, kind in enumerate(("wall", "processor"))
    }
    return times | {
        "largest_difference": largest_difference(together, found["separate"]),
        "largest_difference_10_steps_float64": after_ten_steps(case, data, folds, key),
        "mean_value": together.mean("score"),
        "program_memory_bytes": None if memory is None else memory.temp_size_in_bytes,
    }


def main() -> None:
    """Measures each case once and prints medians."""
    options = runner.arguments((__doc__ or "").partition("\n")[0]).parse_args()
    jax.config.update("jax_enable_compilation_cache", False)
    for name, case in CASES.items():
        settings = {"case": name, "steps": STEPS, "rounds": ROUNDS} | case
        found = runner.record(
            "cross_validation",
            functools.partial(measure, case),
            settings=settings,
            seed=0,
            out=options.out,
        )["figures"]
        print(
            f"{name:26} one program {np.median(found['one_program_processor_seconds']):6.2f} s, "
            f"separate {np.median(found['separate_processor_seconds']):6.2f} s of processors, "
            "values differ by at most "
            f"{found['largest_difference']:.1e}, after ten steps in float64 "
            f"{found['largest_difference_10_steps_float64']:.1e}"
        )


if __name__ == "__main__":
    main()
