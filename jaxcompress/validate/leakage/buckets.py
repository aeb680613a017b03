"""Pairs of examples whose keys are equal: the sub-quadratic part of near duplicates."""

from collections.abc import Iterator

import numpy as np

MOST_PAIRS = 1 << 22
"""Pairs held at once; a bucket with more is gone through in pieces."""


class Buckets:
    """The examples of a first set by their key.

    Args:
      keys: (n,) unsigned integers.
    """

    def __init__(self, keys: np.ndarray):
        self.order: np.ndarray = np.argsort(keys, kind="stable")
        self.keys: np.ndarray = keys[self.order]

    def pairs(self, keys: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields (positions in `keys`, examples of the first set) of equal keys.

        Args:
          keys: (m,), of the dtype of the first set's.
        """
        begin = np.searchsorted(self.keys, keys, "left")
        sizes = np.searchsorted(self.keys, keys, "right") - begin
        hits = np.flatnonzero(sizes)
        begin, sizes = begin[hits], sizes[hits]
        ends = np.cumsum(sizes)
        total = int(ends[-1]) if ends.size else 0
        for start in range(0, total, MOST_PAIRS):
            # The place of each pair in the line of all pairs, and whose it is.
            line = np.arange(start, min(total, start + MOST_PAIRS))
            which = np.searchsorted(ends, line, "right")
            within = line - (ends[which] - sizes[which])
            yield hits[which], self.order[begin[which] + within]


def mixed(values: np.ndarray) -> np.ndarray:
    """uint64 values spread over all 64 bits, one to one, alike on every machine.

    Source: the finalizer of SplitMix64, Steele, Lea and Flood 2014.
    """
    x = values.astype(np.uint64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def joined(columns: np.ndarray) -> np.ndarray:
    """One uint64 key (n,) of each row of uint64 columns (n, k), the order counted."""
    key = np.zeros(len(columns), np.uint64)
    for column in columns.T:
        key = mixed((key ^ column) + np.uint64(0x9E3779B97F4A7C15))
    return key


def distinct(values: np.ndarray) -> np.ndarray:
    """The different values, ascending; sorting is faster than `np.unique` here."""
    values = np.sort(values)
    return values[np.concatenate([[True], values[1:] != values[:-1]])[: values.size]]
