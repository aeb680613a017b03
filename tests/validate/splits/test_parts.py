"""Splits: disjoint, covering, of the sizes asked for, each class in proportion."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcompress.validate.splits.parts import split

FRACTIONS = [(0.9, 0.1), (0.6, 0.2, 0.2), (0.8, 0.1, 0.1), (1 / 3, 1 / 3, 1 / 3), (0.05, 0.05, 0.9)]


def check_parts(parts, n, fractions):
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(n))
    for part, fraction in zip(parts, fractions, strict=True):
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()
        # Two ends, each rounded by at most a half.
        assert abs(part.size - n * fraction) <= 1 + 1e-9 * n


@pytest.mark.parametrize("fractions", FRACTIONS)
@pytest.mark.parametrize("n", [20, 101, 1797])
def test_plain_split(n, fractions):
    check_parts(split(n, fractions=fractions, seed=0), n, fractions)


@pytest.mark.parametrize("fractions", FRACTIONS)
@pytest.mark.parametrize("counts", [[50] * 10, [178, 182, 177, 183], [990] + [1] * 10, [20]])
def test_stratified_split_keeps_every_class_in_proportion(counts, fractions):
    n = sum(counts)
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    parts = split(n, fractions=fractions, labels=labels, seed=2)
    check_parts(parts, n, fractions)
    for label, count in enumerate(counts):
        # At any place a class is off by less than 1, so all by less than `classes`: an
        # end lies within (classes + 1/2) / n of its fraction. A part has two ends.
        error = 2 * (1 + count * (len(counts) + 0.5) / n)
        for part, fraction in zip(parts, fractions, strict=True):
            assert abs(np.sum(labels[part] == label) - count * fraction) < error


@given(st.integers(10, 60), st.integers(1, 5), st.integers(0, 2**32))
def test_any_labels_give_a_partition(n, classes, seed):
    labels = np.random.default_rng(seed).integers(0, classes, n)
    fractions = (0.5, 0.25, 0.25)
    check_parts(split(n, fractions=fractions, labels=labels, seed=seed), n, fractions)


@pytest.mark.parametrize("labels", [None, np.arange(100) % 7])
def test_repeats_by_seed_and_not_across_seeds(labels):
    one, same, other = (split(100, labels=labels, seed=seed) for seed in (0, 0, 1))
    for a, b in zip(one, same, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one[0], other[0])


def test_a_single_example_of_a_class_may_fall_in_any_part():
    labels = np.array([1] + [0] * 19)
    splits = [split(20, labels=labels, seed=seed) for seed in range(40)]
    places = {i for parts in splits for i, part in enumerate(parts) if 0 in part}
    assert places == {0, 1, 2}


def test_words_are_labels_too():
    labels = ["cat", "dog"] * 10
    train, _, _ = split(20, labels=labels, seed=0)
    assert sorted(np.array(labels)[train]) == ["cat"] * 6 + ["dog"] * 6


@pytest.mark.parametrize(
    "fractions",
    [(0.5, 0.5, 0.5), (0.6, 0.4, 0.0), (1.2, -0.1, -0.1), ()],
)
def test_refuses_wrong_fractions(fractions):
    with pytest.raises(ValueError, match=r"split\(fractions=.*sum to 1"):
        split(10, fractions=fractions)


def test_refuses_an_empty_part_and_labels_of_another_length():
    with pytest.raises(ValueError, match=r"\(n=2, .* leaves a part empty: sizes 1, 1, 0"):
        split(2)
    with pytest.raises(ValueError, match=r"\(labels of shape \(3,\)\) needs the shape \(10,\)"):
        split(10, labels=[0, 1, 2])
