"""What finding a mask costs: patterns of one matrix, beside `top_k` and sorting.

    python -m benchmarks.patterns [--width 4096]

Half of the weights go, by size. The plain forms have the counts of ours, and no rule
for ties: `jax.lax.top_k` of every group, and a threshold from a sorted array, as a
pruner writes them at first. All run in one process, in turn.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import jaxcompress as jc
from benchmarks import runner

WIDTH = 4096
IN_OUT = jc.LeafAxes((0,), (1,))
OUT_IN = jc.LeafAxes((1,), (0,))


class Case(NamedTuple):
    """A pattern at half the weights, and the size of its groups along inputs.

    Of a `size` of 0 all of an output's inputs are a group, of -1 the whole matrix.
    """

    pattern: jc.prune.patterns.Pattern
    size: int
    axes: jc.LeafAxes = IN_OUT


CASES = {
    "2:4": Case(jc.prune.patterns.n_of_m(2, 4), 4),
    "2:4, (out, in)": Case(jc.prune.patterns.n_of_m(2, 4), 4, OUT_IN),
    "4:8": Case(jc.prune.patterns.n_of_m(4, 8), 8),
    "8:16": Case(jc.prune.patterns.n_of_m(8, 16), 16),
    "groups of 32": Case(jc.prune.patterns.within_groups(32), 32),
    "groups of 128": Case(jc.prune.patterns.within_groups(128), 128),
    "within outputs": Case(jc.prune.patterns.within_outputs, 0),
    "within outputs, (out, in)": Case(jc.prune.patterns.within_outputs, 0, OUT_IN),
    "unstructured": Case(jc.prune.patterns.unstructured, -1),
}


def main() -> None:
    """Measures each pattern once and prints what was found."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--width", type=int, default=WIDTH, help="of the square matrix")
    options = parser.parse_args()
    for name, case in CASES.items():
        run = runner.record(
            "patterns",
            functools.partial(measure, case, options.width),
            settings={"pattern": name, "width": options.width, "sparsity": 0.5},
            seed=0,
            out=options.out,
        )
        print(name, {each: figure["median_seconds"] for each, figure in run["figures"].items()})


def measure(case: Case, width: int) -> dict[str, Any]:
    """Seconds of the mask by our pattern, by `top_k` or by sorting, and of reading."""
    scores = jnp.abs(jax.random.normal(jax.random.key(0), (width, width)))
    forms: dict[str, Callable[[jax.Array], jax.Array]] = {
        "ours": lambda scores: case.pattern(scores, jnp.float32(0.5), case.axes),
        "one comparison": lambda scores: scores > 0.5,
    }
    if case.size >= 0:
        forms["top_k"] = functools.partial(by_top_k, case=case)
    if case.size <= 0:
        forms["sorting"] = functools.partial(by_sorting, case=case)
    calls = {name: functools.partial(jax.jit(form), scores) for name, form in forms.items()}
    timings = runner.interleaved(calls, repeats=3 if case.size <= 0 else 9, warmup=1)
    return {name: timing._asdict() for name, timing in timings.items()}


def by_top_k(scores: jax.Array, case: Case) -> jax.Array:
    """The mask of the higher half of each group, its places found by `top_k`."""
    outputs_first = scores.T if case.axes == IN_OUT else scores
    groups = outputs_first.reshape(-1, case.size or scores.shape[0])
    _, places = jax.lax.top_k(groups, groups.shape[1] // 2)
    rows = jnp.arange(groups.shape[0])[:, None]
    kept = jnp.zeros(groups.shape, bool).at[rows, places].set(True).reshape(outputs_first.shape)
    return kept.T if case.axes == IN_OUT else kept


def by_sorting(scores: jax.Array, case: Case) -> jax.Array:
    """The mask of scores above the middle of a sorted array."""
    if case.size < 0:
        return scores > jnp.sort(scores, axis=None)[scores.size // 2 - 1]
    axis = case.axes.contracting[0]
    middle = scores.shape[axis] // 2 - 1
    return scores > jax.lax.index_in_dim(jnp.sort(scores, axis=axis), middle, axis)


if __name__ == "__main__":
    main()
