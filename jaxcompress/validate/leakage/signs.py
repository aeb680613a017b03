"""Binary hashes, the signs of real numbers, and which lie near in Hamming distance.

A sign flips under small changes only where its number is small. So each band of 16 bits
is looked up as it is and with every choice of its four least certain bits flipped.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from jaxcompress.validate.leakage.buckets import Buckets, distinct

BAND = 16
"""Bits that must be equal, up to uncertain ones, for two hashes to be compared."""
UNCERTAIN = 4
"""Bits of a band that may flip."""
QUERIES = 1024
"""Hashes that are looked up at once."""


class Signs(NamedTuple):
    """Hashes of some examples, each in several variants.

    Attributes:
      bits: (n, variants, bands) uint16.
      uncertain: (n, variants, bands) uint16, four positions of four bits each.
    """

    bits: np.ndarray
    uncertain: np.ndarray


def signs(variants: Sequence[np.ndarray]) -> Signs:
    """The hashes of numbers (n, bits), one array per variant; 16 divides the bits."""
    bits, uncertain = zip(*map(_of_variant, variants), strict=True)
    return Signs(np.stack(bits, axis=1), np.stack(uncertain, axis=1))


def _of_variant(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    packed = np.packbits(values > 0, axis=-1, bitorder="little").view("<u2").astype(np.uint16)
    sizes = np.abs(values).reshape(len(values), -1, BAND)  # (n, bands, 16)
    weakest = np.argpartition(sizes, UNCERTAIN - 1, axis=-1)[..., :UNCERTAIN].astype(np.uint16)
    shifts = (4 * np.arange(UNCERTAIN)).astype(np.uint16)
    return packed, np.bitwise_or.reduce(weakest << shifts, axis=-1)


def near_pairs(first: np.ndarray, second: Signs, radius: int) -> Iterator[np.ndarray]:
    """Yields (k, 3) int64 of first example, second example and variant of the second.

    Each batch is about `QUERIES` examples of the second set, all of whose pairs are in
    it, once each.

    Args:
      first: (n, bands) uint16, the hashes of the first set.
      second: those of the second, in variants.
      radius: largest Hamming distance.
    """
    n, variants, bands = second.bits.shape
    tables = [Buckets(first[:, band]) for band in range(bands)]
    for start in range(0, n, QUERIES):
        bits, uncertain = (
            second.bits[start : start + QUERIES],
            second.uncertain[start : start + QUERIES],
        )
        hashes = bits.reshape(-1, bands)
        found = [np.empty(0, np.int64)]
        for band, table in enumerate(tables):
            keys = probes(bits[..., band].reshape(-1), uncertain[..., band].reshape(-1))
            for at, example in table.pairs(keys.reshape(-1)):
                query = at // keys.shape[1]
                distance = _hamming(hashes[query], first[example])
                near = distance <= radius
                found.append(query[near] * len(first) + example[near])
        query, example = np.divmod(distinct(np.concatenate(found)), len(first))
        yield np.stack([example, start + query // variants, query % variants], axis=1)


def probes(bits: np.ndarray, uncertain: np.ndarray) -> np.ndarray:
    """Keys (k, 16) uint16: bands (k,) with every choice of uncertain bits flipped."""
    flips = [
        np.uint16(1) << ((uncertain >> np.uint16(4 * place)) & np.uint16(15))
        for place in range(UNCERTAIN)
    ]
    masks = [
        np.bitwise_xor.reduce([flips[place] for place in chosen], axis=0)
        if chosen
        else np.zeros_like(bits)
        for size in range(UNCERTAIN + 1)
        for chosen in itertools.combinations(range(UNCERTAIN), size)
    ]
    return bits[:, None] ^ np.stack(masks, axis=1)


def _hamming(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.bitwise_count(one ^ other).sum(axis=-1)
