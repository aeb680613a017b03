"""Rank correlations of outputs with targets: whether both put examples in one order."""

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.kinds import check_numeric
from jaxcompress.core.types import Array
from jaxcompress.validate.metrics.counting import divided, sums_by_group
from jaxcompress.validate.metrics.metric import Metric, PerExample, Statistics

VARIES = "outputs and targets that are not constant"


def spearman() -> Metric:
    """Pearson's correlation of the ranks of outputs and targets, ties at their mean.

    Not for: how far off numbers are, since it sees their order alone; take
    `mean_absolute_error`.

    Outputs and targets are (n,).

    Returns:
      The metric, in [-1, 1], by the name "spearman".

    Also known as: Spearman's rho, rank correlation.

    Example:
      >>> outputs, targets = jnp.array([1.0, 5.0, 9.0, 7.0]), jnp.arange(4.0)
      >>> round(jc.validate.metrics.spearman()(outputs, targets), 3)
      0.8

    Source: Spearman 1904, Am. J. Psychol. 15.
    """

    def summary(statistics: Statistics, counts: np.ndarray) -> np.ndarray:
        x, y = (_centred_ranks(statistics[part], counts) for part in ("output", "target"))
        covariance = np.sum(counts * x * y, axis=-1)
        variances = np.sum(counts * x * x, axis=-1) * np.sum(counts * y * y, axis=-1)
        return divided(covariance, np.sqrt(variances))

    return Metric("spearman", _pairs("spearman"), summary, needs=VARIES)


def kendall() -> Metric:
    """The surplus of pairs of examples in one order over pairs in opposite order.

    Not for: large sets: with 10,000 examples its interval takes five times as long as
    that of `spearman`.

        tau_b = (concordant - discordant) / sqrt((pairs - ties_x) (pairs - ties_y))

    Outputs and targets are (n,).

    Returns:
      The metric, in [-1, 1], by the name "kendall".

    Also known as: Kendall's tau-b.

    Example:
      >>> outputs, targets = jnp.array([1.0, 5.0, 9.0, 7.0]), jnp.arange(4.0)
      >>> round(jc.validate.metrics.kendall()(outputs, targets), 3)
      0.667

    Source: Kendall 1945, Biometrika 33; by `scipy.stats.kendalltau`.
    """

    def summary(statistics: Statistics, counts: np.ndarray) -> np.ndarray:
        return np.apply_along_axis(lambda row: _tau(statistics, row), -1, counts)

    return Metric("kendall", _pairs("kendall"), summary, needs=VARIES)


def _pairs(name: str) -> PerExample:
    def per_example(outputs: Array, targets: Array) -> dict[str, Array]:
        for argument, array in {"outputs": outputs, "targets": targets}.items():
            check_numeric(name, argument, array)
        outputs, targets = jnp.asarray(outputs), jnp.asarray(targets)
        if outputs.ndim != 1 or outputs.shape != targets.shape:
            raise ValueError(
                f"{name}(outputs of shape {outputs.shape}, targets of shape {targets.shape}) needs"
                " one number per example, (n,), of both."
            )
        return {"output": outputs, "target": targets}

    return per_example


def _centred_ranks(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean ranks of the examples, each as often as it counts, less their mean."""
    distinct, places = np.unique(values, return_inverse=True)
    of_each = sums_by_group(counts, places, distinct.size)
    ranks = np.cumsum(of_each, axis=-1) - of_each / 2
    return ranks[..., places] - counts.sum(axis=-1)[..., None] / 2


def _tau(statistics: Statistics, counts: np.ndarray) -> float:
    from scipy import stats

    times = counts.astype(np.int64)
    x, y = (np.repeat(statistics[part], times) for part in ("output", "target"))
    if not (np.ptp(x) and np.ptp(y)):
        return np.nan
    return float(np.asarray(stats.kendalltau(x, y))[0])
