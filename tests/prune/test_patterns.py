"""Law 1 for every pattern: exact counts per group, earlier ties first, nothing at 0."""

import functools
import math
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcompress import prune
from jaxcompress.core.axes import LeafAxes, assumed_axes
from jaxcompress.prune.patterns import Pattern
from jaxcompress.prune.patterns.counts import counts_of_slices
from tests.inputs import ARRAYS
from tests.prune.families.patterns import (
    PATTERNS,
    Row,
    by_blocks,
    drop_lowest,
    exact_count,
    keep_highest,
)

MATRIX = LeafAxes((0,), (1,))
STACKED = LeafAxes(contracting=(0, 2), output=(3,), batch=(1,))


# Blocks that divide neither side of the matrix, besides the family's.
RAGGED = Row(
    prune.patterns.blocks((2, 3)),
    by_blocks(2, 3),
    lambda outputs, i: -(-math.prod(outputs) // 2) * -(-i // 3),
)
CASES = {name: row for name, row in PATTERNS.items() if row.oracle} | {"ragged blocks": RAGGED}

patterns = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@functools.cache
def jitted(pattern: Pattern, axes: LeafAxes) -> Callable:
    return jax.jit(lambda scores, sparsity: pattern(scores, sparsity, axes))


@patterns
@given(
    values=st.lists(st.integers(0, 5), min_size=12, max_size=12),
    sparsity=st.floats(0, 1, width=32),
)
def test_a_matrix_equals_the_oracle(case, values, sparsity):
    scores = np.array(values, np.float32).reshape(4, 3)
    mask = jitted(case.pattern, MATRIX)(scores, sparsity)
    np.testing.assert_array_equal(mask, case.oracle(scores, sparsity))


def shared_out(shares: list[Fraction], size: int) -> list[int]:
    """Counts of slices by largest remainder; a slice that it would empty comes last."""
    quotas = [share * size for share in shares]
    counts = [int(quota) for quota in quotas]
    left = [i for i, quota in enumerate(quotas) if quota > counts[i]]
    left.sort(key=lambda i: (counts[i] == size - 1, counts[i] - quotas[i]))
    for i in left[: round(sum(quotas)) - sum(counts)]:
        counts[i] += 1
    return counts


@patterns
@given(
    values=st.lists(st.integers(0, 5), min_size=24, max_size=24),
    shares=st.tuples(*[st.integers(0, 64)] * 3),
)
def test_layers_of_a_stack_with_sparsities_of_their_own_share_the_total(case, values, shares):
    layers = np.array(values, np.float32).reshape(3, 4, 2)
    scores = layers.reshape(3, 2, 2, 2).swapaxes(0, 1)
    exact = [Fraction(share, 64) for share in shares]
    given_shares = np.array(exact, np.float32).reshape(1, 3, 1, 1)
    mask = jitted(case.pattern, STACKED)(scores, given_shares)
    if size := case.pieces((2,), 4):
        exact = [Fraction(count, size) for count in shared_out(exact, size)]
    expected = np.stack([case.oracle(*pair) for pair in zip(layers, exact, strict=True)])
    np.testing.assert_array_equal(mask.swapaxes(0, 1).reshape(3, 4, 2), expected)


SPLIT = LeafAxes((1,), (), (0,))


@pytest.mark.parametrize("shape", [(64, 3), (64, 1), (7, 4), (7, 5)], ids=str)
def test_slices_along_a_batch_axis_share_an_exact_total(shape):
    """One sparsity as a number, a traced array, and an array of one for each slice.

    0.9 of (7, 5) is just below a half, since 0.9 is as a float32.
    """
    scores = jnp.asarray(np.random.default_rng(6).standard_normal(shape), jnp.float32)
    for sparsity in (0.0, 0.1, 0.5, 0.9, 1.0):
        total = exact_count(sparsity, scores.size)
        each, more = divmod(total, shape[0])
        counts = [each + 1] * more + [each] * (shape[0] - more)
        expected = np.stack(list(map(keep_highest, np.asarray(scores), counts)))
        for share in (np.float32(sparsity), np.full((shape[0], 1), sparsity, np.float32)):
            mask = jitted(prune.patterns.unstructured, SPLIT)(scores, share)
            np.testing.assert_array_equal(mask, expected)
        np.testing.assert_array_equal(
            prune.patterns.unstructured(scores, sparsity, SPLIT), expected
        )


@pytest.mark.parametrize("size", [3, 49, 1000, 2**20 - 1])
def test_shares_that_a_division_made_are_the_counts_that_they_stand_for(size):
    expected = np.linspace(0, size, 24).astype(np.int32)[:, None]
    shares = expected.astype(np.float32) / np.float32(size)
    for share in (shares, np.clip(np.nextafter(shares, np.float32(2)), 0, 1)):
        np.testing.assert_array_equal(counts_of_slices(share, size, (24, 1)), expected)


def test_a_slice_is_not_emptied_while_another_has_a_remainder():
    scores, shares = jnp.ones((2, 3)), jnp.array([[0.875], [0.5]])
    kept = np.sum(prune.patterns.unstructured(scores, shares, SPLIT), axis=1)
    np.testing.assert_array_equal(kept, [1, 1])


# Sums of subnormal numbers may be zero, and means of equal ones differ by rounding.
AWKWARD = ("all zeros", "one huge outlier", "no group divides")


@patterns
@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.8, 1.0])
def test_counts_are_exact_on_awkward_scores(case, sparsity):
    for scores in (ARRAYS[name][:4, :3] for name in AWKWARD):
        mask = jitted(case.pattern, MATRIX)(scores, sparsity)
        assert mask.dtype == bool
        np.testing.assert_array_equal(mask, case.oracle(scores, sparsity))


@pytest.mark.parametrize(
    "name", ["subnormal", "all equal", "bfloat16", "float16", "convolution", "scalar"]
)
def test_unstructured_takes_any_scores(name):
    scores = jnp.asarray(ARRAYS[name])
    axes = LeafAxes(tuple(range(scores.ndim)), ())
    for sparsity in (0.0, 0.1, 0.8, 1.0):
        mask = jitted(prune.patterns.unstructured, axes)(scores, sparsity)
        np.testing.assert_array_equal(mask, drop_lowest(ARRAYS[name].astype("f8"), sparsity))


@patterns
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_nan_goes_first_and_infinity_last(case):
    scores = np.array([[np.inf, -np.inf, np.nan], [0, 1, 2]] * 2, np.float32)
    for share in (0.25, 0.5, 0.75):
        mask = jitted(case.pattern, MATRIX)(scores, share)
        np.testing.assert_array_equal(mask, case.oracle(scores, share))


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_eight_devices_give_what_one_gives(mesh, axis_type):
    cases = [PATTERNS[name] for name in ("2:4", "outputs", "blocks")]
    scores = np.random.default_rng(3).integers(0, 50, (8, 12)).astype(np.float32)
    devices = mesh(rows=2, columns=4, axis_type=axis_type)
    with jax.set_mesh(devices):
        sharded = jax.device_put(scores, NamedSharding(devices, P("rows", "columns")))
        masks = jax.jit(lambda x: [case.pattern(x, 0.4, MATRIX) for case in cases])(sharded)
    for mask, case in zip(masks, cases, strict=True):
        assert case.oracle is not None
        np.testing.assert_array_equal(mask, case.oracle(scores, 0.4))
        if axis_type == AxisType.Explicit:
            assert mask.sharding.is_equivalent_to(sharded.sharding, 2)


def test_heads_are_the_first_of_two_output_axes():
    scores = np.random.default_rng(4).standard_normal((2, 3, 4, 5)).astype(np.float32)
    mask = prune.patterns.heads(jnp.array(scores), 0.5, LeafAxes((1,), (2, 3), (0,)))
    for layer, kept in zip(scores, np.asarray(mask), strict=True):
        means = layer.mean(axis=(0, 2), dtype=np.float64)
        expected = drop_lowest(means, 0.5)[None, :, None]
        np.testing.assert_array_equal(kept, np.broadcast_to(expected, layer.shape))


@pytest.mark.parametrize("axis", [2, -2])
def test_slices_go_along_any_axis(axis):
    scores = np.random.default_rng(5).standard_normal((3, 3, 4, 5)).astype(np.float32)
    mask = prune.patterns.slices(axis)(jnp.array(scores), 0.3, assumed_axes(scores))
    expected = drop_lowest(scores.mean(axis=(0, 1, 3), dtype=np.float64), 0.3)
    np.testing.assert_array_equal(
        mask, np.broadcast_to(expected[None, None, :, None], scores.shape)
    )


LAYERS = LeafAxes((1,), (2,), (0,))
EIGHT = jnp.ones((8, 2))
ODD: Any = 1.0
KERNEL = jnp.ones((3, 3, 2, 4))

REFUSED = {
    "sparsity": (
        lambda: prune.patterns.unstructured(EIGHT, 1.2, MATRIX),
        "unstructured(sparsity=1.2)",
    ),
    "negative": (
        lambda: prune.patterns.outputs(EIGHT, -0.1, MATRIX),
        "outputs(sparsity=-0.1) must be",
    ),
    "array": (
        lambda: prune.patterns.inputs(EIGHT, jnp.float32(1.5), MATRIX),
        "inputs(sparsity=1.5)",
    ),
    "nan array": (
        lambda: prune.patterns.unstructured(EIGHT, jnp.float32(jnp.nan), MATRIX),
        "unstructured(sparsity=nan)",
    ),
    "nan": (
        lambda: prune.patterns.n_of_m(2, 4)(EIGHT, float("nan"), MATRIX),
        "n_of_m(2, 4)(sparsity=nan)",
    ),
    "size": (lambda: prune.patterns.within_groups(1), "within_groups(size=1) must be at least 2"),
    "more": (lambda: prune.patterns.n_of_m(5, 4), "n_of_m(n=5, m=4) must satisfy 1 <= n <= m"),
    "none": (lambda: prune.patterns.n_of_m(0, 4), "n_of_m(n=0) must be at least 1"),
    "multiple": (
        lambda: prune.patterns.padded(prune.patterns.n_of_m(2, 4), 0),
        "padded(multiple=0) must be",
    ),
    "block": (lambda: prune.patterns.blocks((0, 4)), "blocks(shape[0]=0) must be at least 1"),
    "remainder": (
        lambda: prune.patterns.n_of_m(1, 3)(EIGHT, 0.5, MATRIX),
        "n_of_m(1, 3): 3 does not divide the 8 inputs of an output. Leave it out, or take "
        "padded(n_of_m(1, 3), 3).",
    ),
    "assumed": (
        lambda: prune.patterns.within_groups(2)(KERNEL, 0.5, assumed_axes(KERNEL)),
        "within_groups(2): the axes of shape (3, 3, 2, 4) are only assumed",
    ),
    "unknown": (
        lambda: prune.patterns.inputs(jnp.ones(3), 0.5, assumed_axes(jnp.ones(3))),
        "inputs: shape (3,) has no axes that inputs knows. Pass axes=graph.axes",
    ),
    "heads": (
        lambda: prune.patterns.heads(EIGHT, 0.5, MATRIX),
        "heads: shape (8, 2) has output axes (1,), and heads are",
    ),
    "axis": (
        lambda: prune.patterns.slices(2)(EIGHT, 0.5, MATRIX),
        "slices(axis=2): shape (8, 2) with batch axes () has no axis 2 to prune",
    ),
    "no axis": (lambda: prune.patterns.slices(ODD), "slices(axis=1.0) must be an int"),
    "batch": (lambda: prune.patterns.slices(0)(EIGHT[None], 0.5, LAYERS), "slices(axis=0)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name):
    call, message = REFUSED[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


NARROW = {
    "within_groups": lambda two: prune.patterns.within_groups(two),
    "n_of_m": lambda two: prune.patterns.n_of_m(1, two),
    "padded": lambda two: prune.patterns.padded(prune.patterns.within_groups(4), two + two),
    "blocks": lambda two: prune.patterns.blocks((two, two)),
}


@pytest.mark.parametrize("name", NARROW)
def test_a_narrow_numpy_integer_counts_as_an_int_does(name):
    scores = jnp.arange(600.0).reshape(300, 2) % 7
    one, other = (NARROW[name](two)(scores, 0.5, MATRIX) for two in (2, np.uint8(2)))
    np.testing.assert_array_equal(one, other)
