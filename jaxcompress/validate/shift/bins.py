"""The stability index of counts per bin, and what it is by chance."""

import numpy as np


def quantile_counts(ordered: np.ndarray, new: np.ndarray, bins: int) -> np.ndarray:
    """Reference and new examples per bin, (2, bins); the edges are reference values."""
    ranks = np.arange(1, bins) * len(ordered) // bins
    edges = np.unique(ordered[np.maximum(ranks, 1) - 1])
    # A bin reaches from above one edge to the next, which belongs to it.
    sets = (np.searchsorted(edges, values, side="left") for values in (ordered, new))
    return np.stack([np.bincount(each, minlength=len(edges) + 1) for each in sets])


def indices_by_chance(old: np.ndarray, m: int, seed: int, draws: int) -> np.ndarray:
    """Indices of m new examples from the distribution of the old ones, (draws,)."""
    rng = np.random.default_rng(seed)
    # Between the first and the last of n ordered values lie n + 1 gaps, one more than
    # values; a bin without a value of the reference has the chance of one of them.
    gaps = old + np.where(old == 0, 1, 0)
    gaps[-1] += old[-1] > 0
    chances = rng.dirichlet(gaps, size=draws)
    return index_of(old, rng.multinomial(m, chances))


def index_of(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The index of counts (..., bins), with half an example added to each bin."""
    shares = [
        (counts + 0.5) / (counts.sum(axis=-1, keepdims=True) + 0.5 * counts.shape[-1])
        for counts in (old, new)
    ]
    return np.sum((shares[1] - shares[0]) * np.log(shares[1] / shares[0]), axis=-1)
