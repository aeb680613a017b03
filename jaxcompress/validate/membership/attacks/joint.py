"""Several versions of one model attacked together."""

import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.core.checks import check_share
from jaxcompress.core.kinds import check_takes
from jaxcompress.validate.membership.attacks.calibrated import mean_where
from jaxcompress.validate.membership.attacks.variances import Variance, variance_by_count
from jaxcompress.validate.membership.inputs import enough_in, enough_out, with_shadows


def lira_joint(
    target: ArrayLike,
    signals: ArrayLike,
    members: ArrayLike,
    *,
    variance: Variance = variance_by_count,
    shrinkage: float = 0.1,
) -> np.ndarray:
    """Log likelihood ratio of the signals of all versions of a model together.

    `lira_online` with Gaussians of several dimensions: the first version's signal and
    how each other version differs from it.

        d       = (s_1, s_2 - s_1, …, s_v - s_1)
        score_i = log N(d_i; mean_in_i, S_in_i) - log N(d_i; mean_out_i, S_out_i)
        S_i     = deviations_i · ((1 - shrinkage) · R + shrinkage · I) · deviations_i

    with deviations by the variance, and R the correlation of residuals over all
    examples and models of one side. Differences tell what a version alone does not: how
    near an example's answer lies to what rounding or pruning changes.

    Args:
      target: (n, versions), finite, as `versions` of `scaled_confidence` gives it.
      signals: (shadows, n, versions), the same of the shadow models.
      members: (shadows, n) bool, what each was trained on; each example in some of them
        and not in others.
      variance: `variance(signals, inside) -> (n, versions)` of one side.
      shrinkage: of the correlation towards none, in [0, 1]; at 1 the columns of d are
        taken as independent.

    Returns:
      (n,) float64, in nats, higher = member.

    Raises:
      TypeError: an argument is no array of its kind, or `variance` no function.
      ValueError: shapes do not fit, a signal is not finite, an example is in all or in
        none of the shadows, or there are too few of them for the variance.

    Example:
      >>> members = np.array([[True, False], [False, True]]).repeat(3, axis=0)
      >>> dense = np.random.default_rng(0).normal(size=(6, 2)) + 4 * members
      >>> signals = np.stack([dense, dense.round()], axis=-1)
      >>> attack = jc.validate.membership.attacks.lira_joint
      >>> attack([[4.1, 4.0], [0.2, 0.0]], signals, members) > 0
      array([ True, False])

    Source: Carlini et al. 2022, arXiv:2112.03570, section VI-B, for queries, with full
    covariances; here for versions, with a shared correlation.
    """
    target, signals, members = with_shadows("lira_joint", target, signals, members, ", versions")
    check_takes("lira_joint", "variance", variance, 2, "For example attacks.variance_by_count.")
    check_share("lira_joint", "shrinkage", shrinkage)
    enough_in("lira_joint", members)
    enough_out("lira_joint", members)
    target, signals = _differences(target), _differences(signals)
    with_, without = (
        _log_density(target, signals, side, variance, float(shrinkage))
        for side in (members, ~members)
    )
    return with_ - without


def _differences(signals: np.ndarray) -> np.ndarray:
    """The first column, and the others minus it."""
    first = signals[..., :1]
    return np.concatenate([first, signals[..., 1:] - first], axis=-1)


def _log_density(
    target: np.ndarray,
    signals: np.ndarray,
    inside: np.ndarray,
    variance: Variance,
    shrinkage: float,
) -> np.ndarray:
    """Log density of the target among one side of the shadows, without the constant."""
    mean, deviation = mean_where(signals, inside), np.sqrt(variance(signals, inside))
    residuals = ((signals - mean) / deviation)[inside]  # (models and examples, versions)
    covariance = residuals.T @ residuals / len(residuals)
    # Versions that always agree differ by 0 on every example.
    scale = np.sqrt(np.maximum(np.diag(covariance), np.finfo(np.float64).tiny))
    correlation = covariance / np.outer(scale, scale)
    np.fill_diagonal(correlation, 1.0)
    shrunk = (1 - shrinkage) * correlation + shrinkage * np.eye(len(scale))
    standard = (target - mean) / deviation
    distances = np.einsum("nv,vw,nw->n", standard, np.linalg.pinv(shrunk, hermitian=True), standard)
    return -0.5 * (distances + np.linalg.slogdet(shrunk)[1]) - np.log(deviation).sum(-1)
