"""Law 1 for every pattern: exact counts per group, earlier ties first, nothing at 0."""

from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcompress.core.axes import LeafAxes
from jaxcompress.prune import Pattern, unstructured
from tests.inputs import ARRAYS

MATRIX = LeafAxes((0,), (1,))
STACKED = LeafAxes((1,), (2,), (0,))


def exact_count(sparsity: float, size: int) -> int:
    """Halves to even, in rational numbers; the sparsity is a float32."""
    return round(Fraction(float(np.float32(sparsity))) * size)


def drop_lowest(scores: np.ndarray, sparsity: float) -> np.ndarray:
    """One group, by a stable sort."""
    keep = np.ones(scores.size, bool)
    keep[np.argsort(scores, axis=None, kind="stable")[: exact_count(sparsity, scores.size)]] = False
    return keep.reshape(scores.shape)


class Case(NamedTuple):
    """A pattern and what it keeps in one slice, by NumPy."""

    name: str
    pattern: Pattern
    oracle: Callable[[np.ndarray, float], np.ndarray]


PATTERNS = [
    Case("unstructured", unstructured, oracle=drop_lowest),
]

patterns = pytest.mark.parametrize("case", PATTERNS, ids=lambda case: case.name)
scores_with_ties = st.lists(st.integers(0, 5), min_size=12, max_size=12)


@patterns
@given(values=scores_with_ties, sparsity=st.floats(0, 1, width=32))
def test_a_matrix_is_one_group(case, values, sparsity):
    scores = np.array(values, np.float32).reshape(3, 4)
    expected = case.oracle(scores, sparsity)
    np.testing.assert_array_equal(case.pattern(jnp.array(scores), sparsity, MATRIX), expected)
    traced = case.pattern(jnp.array(scores), jnp.float32(sparsity), MATRIX)
    np.testing.assert_array_equal(traced, expected)


@patterns
@given(values=scores_with_ties, sparsity=st.floats(0, 1, width=32))
def test_every_layer_of_a_stack_is_a_group(case, values, sparsity):
    scores = np.array(values, np.float32).reshape(3, 2, 2)
    expected = np.stack([case.oracle(layer, sparsity) for layer in scores])
    np.testing.assert_array_equal(case.pattern(jnp.array(scores), sparsity, STACKED), expected)


@patterns
def test_every_layer_may_have_its_own_sparsity(case):
    scores = np.random.default_rng(0).standard_normal((3, 2, 4)).astype(np.float32)
    shares = np.array([0.0, 0.5, 1.0], np.float32)
    expected = np.stack([case.oracle(*pair) for pair in zip(scores, shares, strict=True)])
    mask = case.pattern(jnp.array(scores), jnp.array(shares.reshape(3, 1, 1)), STACKED)
    np.testing.assert_array_equal(mask, expected)


@patterns
@pytest.mark.parametrize("name", [name for name in ARRAYS if name != "empty"])
def test_counts_are_exact_on_awkward_scores(case, name):
    scores = jnp.asarray(ARRAYS[name])
    axes = LeafAxes(tuple(range(scores.ndim)), ())
    assert case.pattern(scores, 0.0, axes).all()
    assert not case.pattern(scores, 1.0, axes).any()
    for sparsity in (0.1, 0.5, 0.8):
        mask = case.pattern(scores, sparsity, axes)
        assert mask.shape == scores.shape
        np.testing.assert_array_equal(mask, case.oracle(ARRAYS[name].astype("f8"), sparsity))


@patterns
def test_nan_goes_first_and_infinity_last(case):
    scores = jnp.array([jnp.inf, -jnp.inf, jnp.nan, 0.0])
    kept = [case.pattern(scores, share, LeafAxes((0,), ())).tolist() for share in (0.25, 0.5, 0.75)]
    assert kept == [
        [True, True, False, True],
        [True, False, False, True],
        [True, False, False, False],
    ]


@patterns
def test_one_trace_serves_every_sparsity(case):
    traces = []

    @jax.jit
    def mask(scores, sparsity):
        traces.append(sparsity)
        return case.pattern(scores, sparsity, MATRIX)

    dropped = [int(jnp.sum(~mask(jnp.eye(4), jnp.float32(share)))) for share in (0.0, 0.25, 1.0)]
    assert dropped == [0, 4, 16]
    assert len(traces) == 1


@pytest.mark.parametrize("sparsity", [-0.1, 1.2, float("nan")])
def test_a_wrong_sparsity_is_refused(sparsity):
    with pytest.raises(ValueError, match=rf"unstructured\(sparsity={sparsity}\)"):
        unstructured(jnp.ones((2, 2)), sparsity, MATRIX)
