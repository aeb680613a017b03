"""Range estimators in plain NumPy: a loop over candidates, float64."""

import numpy as np

from jaxcompress.core.formats.integers import Integers
from jaxcompress.core.spec import QuantSpec

FACTORS = [(100 - step) / 100 for step in range(100)]


def extremes(block, spec):
    """An odd grid covers the mirror image too, so its range is symmetric at once."""
    largest = np.abs(block).max()
    return (-largest, largest) if spec.odd else (block.min(), block.max())


def rounded(x, low, high, spec: QuantSpec):
    """Values on the grid of a range that holds zero, for whole steps."""
    assert isinstance(spec.levels, Integers)
    low, high = min(low, 0.0), max(high, 0.0)
    lowest, highest = spec.levels.ends
    if spec.symmetric:
        low, high = min(low, high * lowest / highest), max(high, low * highest / lowest)
    scale = (high - low) / (highest - lowest)
    zero_point = (
        0 if spec.symmetric else np.clip(spec.lowest - np.round(low / scale), *spec.levels.ends)
    )
    codes = np.clip(np.round(x / scale) + zero_point, spec.lowest, spec.highest)
    return (codes - zero_point) * scale, (x < low) | (x > high)


def searched(block, spec, loss):
    """Both ends shrink together; with a zero point then the upper and the lower one."""
    block = block.astype(np.float64)
    low, high = extremes(block, spec)

    def shrunk(copies):
        def cost(ends):
            values, clipped = rounded(block, *ends, spec)
            return loss(values - block, clipped).sum()

        return min(copies, key=cost)  # the first among equals

    low, high = shrunk([(factor * low, factor * high) for factor in FACTORS])
    if not spec.symmetric:
        low, high = shrunk([(low, factor * high) for factor in FACTORS])
        low, high = shrunk([(factor * low, high) for factor in FACTORS])
    return low, high


def squared(error, clipped):
    return error**2


def of_power(power):
    return lambda error, clipped: np.abs(error) ** power


def clipping_weighs(weight):
    return lambda error, clipped: error**2 * np.where(clipped, weight, 1.0)


def quantiles(block, spec, kept):
    def quantile(x, share):
        return np.quantile(x, share, method="inverted_cdf")

    if spec.odd:
        high = quantile(np.abs(block), kept)
        return -high, high
    return -quantile(-block, (1 + kept) / 2), quantile(block, (1 + kept) / 2)


def least_divergence(block, spec):
    """TensorRT's loop, its bins by the code that their middle rounds to."""
    low, high = extremes(block, spec)
    x = np.abs(block) if spec.odd else block
    begin = 0.0 if spec.odd else min(low, 0.0)
    counts, edges = np.histogram(x[x != 0], 2048, (begin, high))
    middles = (edges[1:] + edges[:-1]) / 2
    codes = spec.highest + 1 if spec.odd else spec.highest - spec.lowest + 1
    best, found = np.inf, (low, high)
    for factor in FACTORS:
        if factor < codes / 2048:
            continue
        ends = factor * low, factor * high
        values, clipped = rounded(middles, *ends, spec)
        divergence = of_bins(counts, values, clipped)
        if divergence < best:
            best, found = divergence, ends
    return found


def of_bins(counts, values, clipped):
    inside = np.flatnonzero(~clipped)
    fine = counts[inside].astype(float)
    fine[0] += counts[: inside[0]].sum()
    fine[-1] += counts[inside[-1] + 1 :].sum()
    coarse = np.zeros(len(inside))
    for value in np.unique(values[inside]):
        members = (values[inside] == value) & (counts[inside] > 0)
        if members.any():
            coarse[members] = counts[inside][members].mean()
    fine, coarse = (
        (1 - 1e-4) * each / max(each.sum(), 1) + 1e-4 / len(inside) for each in (fine, coarse)
    )
    return (fine * np.log(fine / coarse)).sum()
