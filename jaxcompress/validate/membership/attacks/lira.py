"""The likelihood ratio attack: each example has Gaussians of its own.

A signal is asked of models trained on an example, and of models trained without it. How
far the target is from the one and from the other decides.
"""

import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.core.kinds import check_takes
from jaxcompress.validate.membership.attacks.calibrated import mean_where
from jaxcompress.validate.membership.attacks.variances import Variance, variance_by_count
from jaxcompress.validate.membership.inputs import (
    enough_in,
    enough_out,
    with_shadows,
)

_VARIANCE = "For example attacks.variance_by_count."


def lira_online(
    target: ArrayLike,
    signals: ArrayLike,
    members: ArrayLike,
    *,
    variance: Variance = variance_by_count,
) -> np.ndarray:
    """Log likelihood ratio of the target's signal, with the example against without it.

    Not for: fewer than some 30 shadow models; `rmia` needs 1 to 4.

        score_i = log N(target_i; mean_in_i, variance_in_i)
                - log N(target_i; mean_out_i, variance_out_i)

    The strongest attack at low false positive rates, where shadow models can be trained
    on the very examples. Several queries of an example are taken as independent, so
    that their ratios add up.

    Also known as: LiRA, online likelihood ratio attack.

    Args:
      target: (n,) or (n, queries), finite, as `scaled_confidence` gives it.
      signals: (shadows, n) or (shadows, n, queries), the same of the shadow models.
      members: (shadows, n) bool, what each was trained on; each example in some of them
        and not in others.
      variance: `variance(signals, inside) -> (n, …)` of one side.

    Returns:
      (n,) float64, in nats, higher = member.

    Raises:
      TypeError: an argument is no array of its kind, or `variance` no function.
      ValueError: shapes do not fit, a signal is not finite, an example is in all or in
        none of the shadows, or there are too few of them for the variance.

    Example:
      >>> signals = [[3.0, 0.0], [5.0, 1.0], [0.0, 4.0], [1.0, 5.0]]
      >>> members = [[True, False], [True, False], [False, True], [False, True]]
      >>> jc.validate.membership.attacks.lira_online([4.5, 0.5], signals, members)
      array([15.442, -6.858])

    Source: Carlini et al. 2022, arXiv:2112.03570, algorithm 1.
    """
    target, signals, members = with_shadows(
        "lira_online", target, signals, members, "", ", queries"
    )
    check_takes("lira_online", "variance", variance, 2, _VARIANCE)
    enough_in("lira_online", members)
    enough_out("lira_online", members)
    with_, without = (
        log_density(target, mean_where(signals, side), variance(signals, side))
        for side in (members, ~members)
    )
    return over_queries(with_ - without)


def lira_offline(
    target: ArrayLike,
    signals: ArrayLike,
    members: ArrayLike,
    *,
    variance: Variance = variance_by_count,
) -> np.ndarray:
    """How unusually high the target's signal is among models without the example.

    Not for: shadow models that can be trained on the very examples, with which
    `lira_online` found twice as many.

        score_i = -log Pr[Z > target_i],  Z ~ N(mean_out_i, variance_out_i)

    For shadow models that were trained before the examples to ask about were known.

    Also known as: offline LiRA.

    Args:
      target: (n,) or (n, queries), finite, as `scaled_confidence` gives it.
      signals: (shadows, n) or (shadows, n, queries), the same of the shadow models.
      members: (shadows, n) bool, what each was trained on; none needs to be trained on
        any of the examples.
      variance: `variance(signals, inside) -> (n, …)` of one side.

    Returns:
      (n,) float64, at least 0, higher = member; of queries the sum.

    Raises:
      TypeError: an argument is no array of its kind, or `variance` no function.
      ValueError: shapes do not fit, a signal is not finite, an example is in all of the
        shadows, or there are too few of them for the variance.

    Example:
      >>> signals, members = [[0.0, 0.0], [2.0, 2.0]], np.zeros((2, 2), bool)
      >>> jc.validate.membership.attacks.lira_offline([1.0, 3.0], signals, members)
      array([0.693, 2.543])

    Source: Carlini et al. 2022, arXiv:2112.03570, section VI-A. Differs: the logarithm,
    which keeps the order where 1 - Pr[Z > target] rounds to 1.
    """
    from scipy import special

    target, signals, members = with_shadows(
        "lira_offline", target, signals, members, "", ", queries"
    )
    check_takes("lira_offline", "variance", variance, 2, _VARIANCE)
    enough_out("lira_offline", members)
    spread = np.sqrt(variance(signals, ~members))
    return over_queries(-special.log_ndtr((mean_where(signals, ~members) - target) / spread))


def log_density(values: np.ndarray, means: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Log density of a normal distribution, without the constant."""
    return -0.5 * (np.square(values - means) / variances + np.log(variances))


def over_queries(ratios: np.ndarray) -> np.ndarray:
    """The sum over queries, (n, queries) or (n,) to (n,)."""
    return ratios.reshape(len(ratios), -1).sum(-1)
