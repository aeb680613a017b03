"""Bootstrap samples as counts of examples, and intervals from them."""

from collections.abc import Callable, Iterator

import numpy as np

RESAMPLED_NUMBERS = 1 << 21
"""Most numbers held in one array while resampling: 16 MiB of float64."""


def resampled_counts(n: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each of n examples is drawn, sample by sample.

    Args:
      n: examples, and draws per sample, with replacement.
      resamples: number of samples in all.
      seed: the same seed gives the same samples, however they are cut into blocks.

    Yields:
      Blocks (rows, n) float64, each row with sum n.
    """
    rng = np.random.default_rng(seed)
    block = max(1, RESAMPLED_NUMBERS // n)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = rng.integers(0, n, (rows, n)) + n * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)


def resampled_interval(
    caller: str,
    limits: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    n: int,
    *,
    confidence: float,
    seed: int,
    resamples: int,
) -> tuple[float, float]:
    """The bootstrap interval of a figure, between quantiles over resamples.

    Samples for which it is not defined, as an AUC is not where one class was not drawn,
    are left out: the interval is that of samples for which it is.

    Args:
      caller: what errors name.
      limits: counts (rows, n) to values (rows,) for the low end and for the high end,
        both the figure in a percentile bootstrap; NaN where it is not defined.
      n: number of examples.
      confidence: in (0, 1).
      seed: of the resampling.
      resamples: number of samples.

    Returns:
      (low, high).

    Raises:
      ValueError: it is defined for less than half of the samples.
    """
    parts = []
    for counts in resampled_counts(n, resamples, seed):
        values = np.stack(limits(counts))
        if values.shape != (2, len(counts)):
            raise ValueError(
                f"{caller}: summary gives shape {values.shape[1:]} for counts of shape"
                f" {counts.shape}, and must give one number per row, ({len(counts)},)."
            )
        parts.append(values)
    values = np.concatenate(parts, axis=1)
    defined = values[:, ~np.any(np.isnan(values), axis=0)]
    if 2 * defined.shape[1] < resamples:
        raise ValueError(
            f"{caller}: only {defined.shape[1]} of {resamples} bootstrap samples of {n} examples"
            " define it, so there is no interval. Evaluate on more examples."
        )
    tail = (1 - confidence) / 2
    return float(np.quantile(defined[0], tail)), float(np.quantile(defined[1], 1 - tail))
