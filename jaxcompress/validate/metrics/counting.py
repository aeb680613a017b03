"""Sums of counts over groups of examples, for many rows of counts at once."""

import numpy as np


def sums_by_group(values: np.ndarray, groups: np.ndarray, number: int) -> np.ndarray:
    """The sum over the examples of each group.

    Args:
      values: (…, n), one per example.
      groups: (n,), integer in [0, number).
      number: of groups.

    Returns:
      (…, number) float64.
    """
    order = np.argsort(groups, kind="stable")
    ends = np.searchsorted(groups[order], np.arange(number), side="right")
    return np.diff(sums_up_to(values[..., order], ends), axis=-1, prepend=0)


def sums_up_to(values: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The sums of the first so many values, (…, n) to (…, ends) float64."""
    return at(np.cumsum(values, axis=-1, dtype=np.float64), ends)


def at(sums: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Of cumulative sums (…, n) those of the first so many values, (…, ends)."""
    if not sums.shape[-1]:
        return np.zeros((*sums.shape[:-1], ends.size))
    return np.where(ends > 0, sums[..., np.maximum(ends - 1, 0)], 0)


def divided(numerators: np.ndarray, denominators: np.ndarray) -> np.ndarray:
    """The quotients; NaN where the denominator is 0."""
    return numerators / np.where(denominators == 0, np.nan, denominators)
