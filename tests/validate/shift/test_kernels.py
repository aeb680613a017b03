"""The kernel tests: the distance by loops, its invariances, and the p-value."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.validate import shift
from jaxcompress.validate.shift import kernels

RANDOM = np.random.default_rng(0)
OLD, NEW = RANDOM.normal(size=(17, 3)) + 100, RANDOM.normal(size=(12, 3)) + 100.3


def by_hand(old: np.ndarray, new: np.ndarray, bandwidth: float) -> float:
    """The unbiased squared distance, pair by pair."""

    def mean(pairs) -> float:
        pairs = list(pairs)
        kernel = (math.exp(-sum((a - b) ** 2) / (2 * bandwidth**2)) for a, b in pairs)
        return sum(kernel) / len(pairs)

    within = mean(itertools.permutations(old, 2)) + mean(itertools.permutations(new, 2))
    return within - 2 * mean(itertools.product(old, new))


@pytest.mark.parametrize("bandwidth", [0.5, 2.0, None])
def test_the_distance_is_that_of_loops_over_pairs(bandwidth):
    test = shift.kernel_test(OLD, NEW, bandwidth=bandwidth, permutations=1)
    pooled = np.concatenate([OLD, NEW])
    if bandwidth is None:
        gaps = [np.linalg.norm(a - b) for a, b in itertools.combinations(pooled, 2)]
        assert test.bandwidth == pytest.approx(np.median(gaps))
    # The kernel is at most 1; float32 takes its exponent, of size 10, to 1e-6.
    assert test.distance == pytest.approx(by_hand(OLD, NEW, test.bandwidth), abs=1e-5)


def test_more_examples_than_a_block_holds():
    """Against all pairs at once, in float64."""
    old, new = RANDOM.normal(size=(kernels.BLOCK, 2)), RANDOM.normal(size=(9, 2)) + 1
    pooled = np.concatenate([old, new])
    kernel = np.exp(-((pooled[:, None] - pooled) ** 2).sum(axis=-1) / 2)
    np.fill_diagonal(kernel, 0)
    n, m = len(old), len(new)
    within = kernel[:n, :n].sum() / (n * (n - 1)) + kernel[n:, n:].sum() / (m * (m - 1))
    test = shift.kernel_test(old, new, bandwidth=1.0, permutations=1)
    assert test.distance == pytest.approx(within - 2 * kernel[:n, n:].mean(), abs=1e-6)


def test_the_p_value_counts_divisions_at_least_as_far():
    """Against distances of the same divisions, each by loops."""
    old, new = OLD[:5], NEW[:4] + 0.5
    test = shift.kernel_test(old, new, permutations=19, seed=3)
    pooled = np.concatenate([old, new])
    members = np.zeros((19, 9), np.float32)
    members[:, :5] = 1
    divisions = np.random.default_rng(3).permuted(members, axis=1).astype(bool)
    chance = [by_hand(pooled[each], pooled[~each], test.bandwidth) for each in divisions]
    at_least = sum(each >= test.distance - 1e-5 for each in chance)
    assert test.p == (1 + at_least) / 20


def test_the_order_of_rows_the_origin_and_the_unit_do_not_matter():
    def distance(old, new):
        return shift.kernel_test(old, new, permutations=1).distance

    found = distance(OLD, NEW)
    assert distance(OLD[::-1], NEW[::-1]) == pytest.approx(found, abs=1e-5)
    assert distance(NEW, OLD) == pytest.approx(found, abs=1e-5)
    assert distance(OLD - 90, NEW - 90) == pytest.approx(found, abs=1e-5)
    assert distance(OLD * 7, NEW * 7) == pytest.approx(found, abs=1e-5)
    assert distance(OLD.reshape(17, 3, 1), NEW.reshape(12, 3, 1)) == pytest.approx(found)


def test_equal_sets_are_no_shift_and_far_ones_are():
    assert shift.kernel_test(OLD, OLD, permutations=99).p > 0.5
    assert shift.kernel_test(OLD, NEW + 3, permutations=99).p == 0.01


def test_the_linear_distance_is_the_mean_over_fresh_pairs():
    old, new = RANDOM.normal(size=(41, 2)), RANDOM.normal(size=(30, 2)) + 1
    test = shift.linear_kernel_test(old, new, bandwidth=1.5, seed=2)
    rng = np.random.default_rng(2)
    x, y = rng.permutation(41)[:30].reshape(2, 15), rng.permutation(30)[:30].reshape(2, 15)

    def kernel(a, b):
        return math.exp(-sum((a - b) ** 2) / (2 * 1.5**2))

    h = [
        kernel(old[a], old[b]) + kernel(new[c], new[d]) - kernel(old[a], new[d])
        - kernel(old[b], new[c])
        for a, b, c, d in zip(*x, *y, strict=True)
    ]  # fmt: skip
    assert test.distance == pytest.approx(np.mean(h), abs=1e-6)
    z = np.mean(h) / (np.std(h, ddof=1) / math.sqrt(15))
    assert test.p == pytest.approx(0.5 * math.erfc(z / math.sqrt(2)), rel=1e-4)
    assert (test.n, test.m) == (30, 30)


@pytest.mark.parametrize("platform", ["cpu", "tpu", "cuda"])
def test_the_sums_lower_for_accelerators(platform):
    pooled = jax.ShapeDtypeStruct((700, 5), jnp.float32)
    members = jax.ShapeDtypeStruct((700, 20), jnp.float32)
    traced = kernels._pair_sums.trace(pooled, members)
    assert traced.lower(lowering_platforms=(platform,)).as_text()


def test_mostly_equal_examples_are_compared_by_those_that_differ():
    """Rows of a rare mark: the median distance of two is 0."""
    rare = np.zeros((40, 3))
    rare[[3, 20], [0, 1]] = 2
    often = np.eye(3)[np.arange(40) % 3] * 2
    for test in (shift.kernel_test, shift.linear_kernel_test):
        assert test(rare, rare[::-1]).p > 0.05
        assert test(rare, often).p < 0.01
        equal = test(np.ones((20, 2)), np.ones((30, 2)))
        assert (equal.distance, equal.p) == (0, 1)
        assert test(np.ones((20, 2)), np.zeros((30, 2))).p < 0.01
    marked = shift.kernel_test(rare, rare[::-1])
    assert marked.bandwidth == pytest.approx(2)  # of 154 gaps of a mark, two of 2 √2
