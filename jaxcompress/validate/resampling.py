"""Bootstrap samples as counts of examples, and percentile intervals from them."""

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


def percentile_interval(
    caller: str,
    summary: Callable[[np.ndarray], np.ndarray],
    n: int,
    *,
    confidence: float,
    seed: int,
    resamples: int,
) -> tuple[float, float]:
    """The percentile bootstrap interval of a figure, from its values on resamples.

    Samples for which it is not defined, as an AUC is not where one class was not drawn,
    are left out: the interval is that of samples for which it is.

    Args:
      caller: what errors name.
      summary: counts (rows, n) to values (rows,), NaN where it is not defined.
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
        values = np.asarray(summary(counts))
        if values.shape != counts.shape[:1]:
            raise ValueError(
                f"{caller}: summary gives shape {values.shape} for counts of shape {counts.shape},"
                f" and must give one number per row, ({len(counts)},)."
            )
        parts.append(values)
    values = np.concatenate(parts)
    defined = values[~np.isnan(values)]
    if 2 * defined.size < values.size:
        raise ValueError(
            f"{caller}: only {defined.size} of {values.size} bootstrap samples of {n} examples"
            " define it, so there is no interval. Evaluate on more examples."
        )
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
