"""Which examples of two sets are equal, from what identifies them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Match(NamedTuple):
    """Examples of a second set that a first one has too.

    Attributes:
      pairs: (k, 2) int64: one row for each example of the second set that is matched,
        ascending, beside the earliest that it matches in the first.
      scores: (k,) float64, how alike the two are; 1 is equal.
      first: (m,) int64, every example of the first set that is matched, ascending.
    """

    pairs: np.ndarray
    scores: np.ndarray
    first: np.ndarray


def identities(digests: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Integers (n,) for each set, equal where the digests (n, 16) uint8 are equal."""
    words = np.ascontiguousarray(np.concatenate(digests)).view(np.uint64)  # (all, 2)
    order = np.lexsort(words.T)
    ordered = words[order]
    new = np.any(ordered[1:] != ordered[:-1], axis=1)
    ids = np.empty(len(words), np.int64)
    ids[order] = np.concatenate([[0], np.cumsum(new)])
    return np.split(ids, np.cumsum([len(each) for each in digests])[:-1])


def across(first: np.ndarray, second: np.ndarray) -> Match:
    """The examples of the second set that the first one has, by their identities."""
    known, earliest = np.unique(first, return_index=True)
    place = np.minimum(np.searchsorted(known, second), known.size - 1)
    found = np.flatnonzero(known[place] == second)
    pairs = np.stack([earliest[place[found]], found], axis=1)
    return Match(pairs, np.ones(found.size), np.flatnonzero(np.isin(first, second)))


def within(ids: np.ndarray) -> Match:
    """The examples of one set that an earlier one equals."""
    _, earliest, which = np.unique(ids, return_index=True, return_inverse=True)
    original = earliest[which.reshape(-1)]
    repeats = np.flatnonzero(original != np.arange(ids.size))
    pairs = np.stack([original[repeats], repeats], axis=1)
    return Match(pairs, np.ones(repeats.size), np.unique(original[repeats]))


def witnesses(pairs: np.ndarray, scores: np.ndarray) -> Match:
    """The match of pairs (k, 2) with scores (k,): of each second example its best pair.

    Among equal scores the earliest example of the first set is the witness.
    """
    order = np.lexsort((pairs[:, 0], -scores, pairs[:, 1]))
    second, at = np.unique(pairs[order, 1], return_index=True)
    best = order[at]
    chosen = np.stack([pairs[best, 0], second], axis=1) if second.size else pairs[:0]
    return Match(chosen, scores[best], np.unique(pairs[:, 0]))


def spread(match: Match, first: np.ndarray, second: np.ndarray, same: bool) -> Match:
    """A match of the earliest of equal examples, as one of all that equal them.

    Args:
      match: its pairs name no example that an earlier one of its set equals, but for
        those within one set that are equal to the other of the pair.
      first: identities (n,) of the first set.
      second: those of the second.
      same: whether the two are one set, whose copies are matched already.
    """
    if same:
        return match
    known, at = np.unique(second[match.pairs[:, 1]], return_index=True)
    copies = np.flatnonzero(np.isin(second, known))
    row = at[np.searchsorted(known, second[copies])]
    touched = np.flatnonzero(np.isin(first, first[match.first]))
    return Match(np.stack([match.pairs[row, 0], copies], axis=1), match.scores[row], touched)
