"""Dims: every fact told holds for every removal, and no more is tied."""

import functools
import itertools

import numpy as np
import pytest

from jaxcompress.graph.surgery.dims import (
    MOST_PINS,
    Dim,
    MisfitError,
    atoms,
    concatenation,
    factors,
    pin,
    pinned,
    product,
    reversal,
    segments,
)
from jaxcompress.graph.surgery.kept import keep, positions
from jaxcompress.graph.surgery.refinement import cut, pieces, refill, reshape, split, unify


def outer(kept: list[np.ndarray]) -> np.ndarray:
    return functools.reduce(np.logical_and.outer, kept, np.array(True))


def some_removed(random: np.random.Generator, dims: list[Dim]) -> dict:
    # Axes of size one carry nothing, so an atom of that size never goes.
    free = {atom for d in dims for atom in atoms(d) if not atom.pins and atom.size > 1}
    return {
        atom: random.random(atom.size) < 0.4 for atom in sorted(free, key=lambda atom: atom.size)
    }


class Facts:
    """Random operations on axes, and what each of them claims about what is kept."""

    def __init__(self, seed: int):
        self.random = np.random.default_rng(seed)
        self.dims = [Dim(int(self.random.choice([6, 8, 12, 24]))) for _ in range(5)]
        self.claims = []

    def any_dim(self) -> Dim:
        return self.dims[self.random.integers(len(self.dims))]

    def unify(self):
        a = self.any_dim()
        others = [d for d in self.dims if d.size == a.size]
        b = others[self.random.integers(len(others))]
        unify(a, b, "law")
        self.claims.append(lambda kept: (kept(a), kept(b)))

    def concatenate(self):
        parts = [self.any_dim() for _ in range(self.random.integers(1, 4))]
        if sum(part.size for part in parts) > 60:
            return
        joined = concatenation(parts)
        self.dims.append(joined)
        self.claims.append(lambda kept: (kept(joined), np.concatenate([kept(p) for p in parts])))

    def cut(self):
        d = self.any_dim()
        begin, end = sorted(self.random.choice(d.size + 1, 2, replace=False).tolist())
        try:
            cut(d, (begin, end))
        except MisfitError:
            return
        bounds = sorted({begin, end, d.size} - {0})
        for low, high, piece in zip([0, *bounds], bounds, pieces(d, bounds), strict=False):
            self.dims.append(piece)
            self.claims.append(lambda kept, s=slice(low, high), p=piece: (kept(p), kept(d)[s]))

    def reshape(self):
        before = [self.any_dim() for _ in range(self.random.integers(1, 3))]
        size = int(np.prod([d.size for d in before]))
        shapes = [
            (p, q, size // p // q)
            for p, q in itertools.product(range(1, size + 1), repeat=2)
            if size % p == 0 and (size // p) % q == 0
        ]
        shape = shapes[self.random.integers(len(shapes))]
        after = reshape(before, shape, "law")
        self.dims += [d for d in after if 1 < d.size < 60]
        self.claims.append(
            lambda kept: (outer([*map(kept, after)]), outer([*map(kept, before)]).reshape(shape))
        )

    def reverse(self):
        d = self.any_dim()
        turned = reversal(d)
        self.dims.append(turned)
        self.claims.append(lambda kept: (kept(turned), kept(d)[::-1]))

    def pin(self):
        pin(self.any_dim(), "wanted whole")


@pytest.mark.parametrize("seed", range(60))
def test_what_was_told_holds_for_every_removal(seed):
    facts = Facts(seed)
    operations = [facts.unify, facts.concatenate, facts.cut, facts.reshape, facts.unify]
    operations += [facts.reverse] * (seed % 2)
    for _ in range(12):
        operations[facts.random.integers(len(operations))]()
        if facts.random.random() < 0.05:
            facts.pin()
    for _ in range(5):
        kept = functools.partial(keep, removed=some_removed(facts.random, facts.dims))
        for claim in facts.claims:
            np.testing.assert_array_equal(*claim(kept))


@pytest.mark.parametrize("turning", [False, True])
@pytest.mark.parametrize("seed", range(30))
def test_cuts_and_joins_tie_no_more_than_they_must(seed, turning):
    """Oracle: a label per entry. Without products, one unit is one class of labels."""
    random = np.random.default_rng(seed)
    axes = [
        (Dim(size), np.arange(100 * i, 100 * i + size)) for i, size in enumerate([10, 10, 7, 3])
    ]
    same = {label: label for _, labels in axes for label in labels.tolist()}

    def find(label):
        while same[label] != label:
            label = same[label]
        return label

    for _ in range(4):
        chosen = [axes[i] for i in random.permutation(4)[:2]]
        joined = (
            concatenation([d for d, _ in chosen]),
            np.concatenate([labels for _, labels in chosen]),
        )
        if turning and random.random() < 0.5:
            joined = (reversal(joined[0]), joined[1][::-1])
        at = int(random.integers(1, joined[0].size))
        pair = pieces(joined[0], (at, joined[0].size))
        for piece, labels in zip(pair, np.split(joined[1], [at]), strict=True):
            for d, others in axes:
                if d.size == piece.size:
                    unify(d, piece, "law")
                    for one, other in zip(labels.tolist(), others.tolist(), strict=True):
                        same[find(one)] = find(other)
    found = {atom for d, _ in axes for atom in atoms(d)}
    assert not any(atom.pins for atom in found)
    assert sum(atom.size for atom in found) == len({find(label) for label in same})


@pytest.mark.parametrize("seed", range(20))
def test_positions_are_where_a_unit_lies(seed):
    facts = Facts(seed)
    for operation in (facts.concatenate, facts.reshape, facts.cut, facts.unify, facts.concatenate):
        operation()
    if seed % 2:
        facts.reverse()
        facts.unify()
    for d in facts.dims:
        for atom in atoms(d):
            lying = positions(d, atom)
            for index in range(atom.size):
                one = np.arange(atom.size) == index
                np.testing.assert_array_equal(np.flatnonzero(~keep(d, {atom: one})), lying[index])


def test_layers_may_lose_different_indices():
    heads, size = Dim(2), Dim(3)
    d = concatenation([product([heads, size]), Dim(1)])
    gone = np.array([[True, False], [False, True]])
    expected = [[0, 0, 0, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0, 1]]
    np.testing.assert_array_equal(keep(d, {heads: gone}), np.array(expected, bool))


def test_normal_form():
    a, b, c = Dim(2), Dim(3), Dim(4)
    assert factors(product([product([a, b]), Dim(1), c])) == [a, b, c]
    assert segments(concatenation([concatenation([a, b]), Dim(0), c])) == [a, b, c]
    assert product([a]) is a
    assert concatenation([b]) is b


def test_refining_an_atom_tells_every_axis_that_has_it():
    hidden = Dim(12)
    bias = hidden
    heads, size = split(hidden, 3, 4)
    assert factors(bias) == [heads, size]


@pytest.mark.parametrize("size", [6, 7])
def test_an_axis_that_is_its_own_reversal_goes_by_pairs(size):
    d = Dim(size)
    unify(d, reversal(d), "law")
    half, *middle = atoms(d)
    assert (half.size, len(middle)) == (3, size % 2)
    np.testing.assert_array_equal(positions(d, half), [[0, size - 1], [1, size - 2], [2, size - 3]])


def test_a_product_meets_a_product():
    a, b = product([Dim(2), Dim(6)]), product([Dim(4), Dim(3)])
    unify(a, b, "law")
    assert [factor.size for factor in factors(a)] == [2, 2, 3]
    assert [factor.size for factor in factors(b)] == [2, 2, 3]


def test_a_product_meets_a_concatenation():
    heads, joined = product([Dim(6), Dim(4)]), concatenation([Dim(8), Dim(16)])
    unify(heads, joined, "law")
    assert [segment.size for segment in segments(heads)] == [8, 16]
    assert sorted(atom.size for atom in atoms(joined)) == [2, 4, 4]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (product([Dim(6), Dim(4)]), product([Dim(4), Dim(6)])),
        (product([Dim(3), Dim(4)]), concatenation([Dim(5), Dim(7)])),
    ],
)
def test_structures_that_do_not_fit_are_pinned(a, b):
    unify(a, b, "does not fit")
    assert pinned(a)
    assert pinned(b)
    assert {reason for atom in atoms(a) for reason in atom.pins} == {"does not fit"}


def test_pins_spread_and_stay_few():
    a, b = Dim(6), Dim(6)
    for reason in range(5):
        pin(a, reason)
    unify(b, a, "law")
    halves = pieces(b, (2, 6))
    assert all(pinned(half) for half in halves)
    assert len(atoms(b)[0].pins) == MOST_PINS


def test_pinned_axes_do_not_shatter_one_another():
    a, b = Dim(64), Dim(64)
    pin(a, "whole")
    pin(b, "whole")
    cut(a, range(1, 64, 2))
    unify(a, b, "law")
    assert len(atoms(b)) == 1


def test_a_roll_ties_every_index():
    channels = Dim(8)
    most, last = pieces(channels, (7, 8))
    unify(channels, concatenation([last, most]), "roll")
    assert len(atoms(channels)) == 1
    assert len(segments(channels)) == 8


def test_an_axis_in_too_many_pieces_is_pinned():
    channels = Dim(100)
    most, last = pieces(channels, (99, 100))
    unify(channels, concatenation([last, most]), "roll")
    assert pinned(channels)


def test_reshape_splits_joins_and_keeps():
    batch, width = Dim(5), Dim(12)
    (same, heads, size, one) = reshape([batch, width], (5, 3, 4, 1), "law")
    assert same is batch
    assert one.size == 1
    assert factors(width) == [heads, size]
    (flat,) = reshape([batch, heads, size], (60,), "law")
    assert factors(flat) == [batch, heads, size]


def test_a_reshape_that_cannot_be_followed_pins_only_its_own_axes():
    other, width = Dim(5), product([Dim(3), Dim(4)])
    kept, *mixed = reshape([other, width], (5, 2, 6), "mixed up")
    assert kept is other
    assert not pinned(other)
    assert all(pinned(d) for d in (width, *mixed))


def test_a_reshape_of_nothing_is_pinned():
    (a, b) = reshape([Dim(0), Dim(3)], (3, 0), "empty")
    assert (a.size, b.size) == (3, 0)


def test_refill_says_that_it_cannot():
    with pytest.raises(MisfitError):
        refill([Dim(4), Dim(6)], (6, 4))
