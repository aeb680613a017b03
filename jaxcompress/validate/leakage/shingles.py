"""What texts are compared by: sets of short runs, hashed to integers.

The integers depend on the text alone, not on the machine or on Python's hash seed.
"""

import hashlib
from collections.abc import Callable

import numpy as np

from jaxcompress.core.checks import check_count
from jaxcompress.validate.leakage.buckets import distinct, joined, mixed

Shingles = Callable[[str], np.ndarray]
"""A text to its different runs, ascending uint64, at least one."""

PRIME = np.uint64(0x100000001B3)
HASHES = 128
"""Smallest values kept of a text."""
AT_ONCE = 1 << 12
"""Runs of a text hashed at once."""


def characters(length: int = 5) -> Shingles:
    """The runs of `length` characters of a text; a shorter text is one run.

    Not for: texts of one form that differ in words; `word_runs` is stricter.

    Args:
      length: characters of a run, at least 1.

    Returns:
      Shingles: a text to ascending uint64, one for each different run.

    Raises:
      ValueError: the length is no count.

    Example:
      >>> jc.validate.leakage.characters(2)("to be to").size
      6

    Also known as: character n-grams, k-shingles.

    Source: Broder 1997, "On the resemblance and containment of documents".
    """
    length = check_count("characters", "length", length)

    def runs(text: str) -> np.ndarray:
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
        return _runs(mixed(codes + np.uint64(1)), length)

    return runs


def word_runs(length: int = 3) -> Shingles:
    """The runs of `length` words of a text; a shorter text is one run.

    Not for: slips of the pen, each of which changes several runs; take `characters`.

    Stricter than `characters`: a changed word changes `length` runs of few.

    Args:
      length: words of a run, at least 1.

    Returns:
      Shingles: a text to ascending uint64, one for each different run.

    Raises:
      ValueError: the length is no count.

    Example:
      >>> jc.validate.leakage.word_runs(2)("to be or not to be").size
      4

    Also known as: word n-grams, w-shingling.

    Source: as `characters`.
    """
    length = check_count("word_runs", "length", length)

    def runs(text: str) -> np.ndarray:
        digests = b"".join(
            hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            for word in text.split()
        )
        return _runs(np.frombuffer(digests, "<u8").astype(np.uint64), length)

    return runs


def signature(runs: np.ndarray) -> np.ndarray:
    """The smallest of each of 128 hashes over a text's runs, (128,) uint64 of 32 bits.

    Two texts agree in each with a probability of their Jaccard index.

        h_i(x) = (a_i · x + b_i mod 2^64) >> 32,  a_i odd

    Source: Broder 1997; hashes of Dietzfelbinger et al. 1997.
    """
    factors = mixed(np.arange(1, HASHES + 1, dtype=np.uint64)) | np.uint64(1)
    offsets = mixed(np.arange(HASHES + 1, 2 * HASHES + 1, dtype=np.uint64))
    least = np.full(HASHES, np.iinfo(np.uint64).max)
    for start in range(0, runs.size, AT_ONCE):
        values = runs[start : start + AT_ONCE, None] * factors + offsets
        least = np.minimum(least, values.min(axis=0))
    return least >> np.uint64(32)


def band_keys(signatures: np.ndarray, rows: int) -> np.ndarray:
    """One uint64 key (n, 128 / rows) for each `rows` values of signatures (n, 128)."""
    n = len(signatures)
    bands = signatures.reshape(n, -1, rows)
    return np.stack([joined(bands[:, band]) for band in range(bands.shape[1])], axis=1)


def jaccard(one: np.ndarray, other: np.ndarray) -> float:
    """Shared runs / all runs of two texts' shingles, in [0, 1].

    Args:
      one: ascending uint64, all different, at least one.
      other: the same of the other text.

    Returns:
      The index, 1 where the two have the same runs.
    """
    shared = np.intersect1d(one, other, assume_unique=True).size
    return shared / (one.size + other.size - shared)


def _runs(codes: np.ndarray, length: int) -> np.ndarray:
    """The different hashes of the runs of `length` of codes (k,)."""
    length = max(1, min(length, codes.size))
    count = max(1, codes.size - length + 1)
    total = np.full(count, np.uint64(codes.size < length), np.uint64)
    for place in range(min(length, codes.size)):
        total = total * PRIME + codes[place : place + count]
    return distinct(mixed(total))
