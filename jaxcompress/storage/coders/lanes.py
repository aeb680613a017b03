"""How many lanes an array is coded in: all are decoded at once, step by step."""

import math

LONGEST = 1 << 14
"""Words of one lane: every step of all lanes costs NumPy's calls once."""

WIDEST = 1 << 14
"""Lanes whose states lie in a cache; there are more only where one gets too long."""

_SHARE = 500
"""Bytes that are coded for each lane, which costs two to four."""


def fewest(size: int) -> int:
    """Lanes that so many words need, a power of two."""
    return 1 << max(0, math.ceil(size / LONGEST) - 1).bit_length()


def affordable(size: int, coded_bits: float) -> int:
    """As many lanes as cost little of so many bits, a power of two."""
    few = int(coded_bits / 8 / _SHARE)
    return max(min(1 << max(0, few.bit_length() - 1), WIDEST), fewest(size))


def are_possible(lanes: int, size: int) -> bool:
    """Whether a writer of so many words may have chosen so many lanes."""
    return fewest(size) <= lanes <= max(fewest(size), min(WIDEST, size))
