"""The target's signal against what models say that never saw the example."""

import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.validate.membership.inputs import enough_out, with_shadows


def calibrated(target: ArrayLike, signals: ArrayLike, members: ArrayLike) -> np.ndarray:
    """How much better the target does than models trained without the example.

    Not for: the strongest audit: at 0.1 % false positives it found 7 % of an overfitted
    net's members, `lira_online` 28 %.

        score_i = target_i - mean over shadows without i of signal_i

    So an example that every model finds easy is no longer taken for a member.

    Also known as: difficulty calibration, calibrated loss.

    Args:
      target: (n,) real and finite, higher = member, as `log_probability` gives it.
      signals: (shadows, n), the same of the shadow models.
      members: (shadows, n) bool, what each was trained on.

    Returns:
      (n,) float64, higher = member.

    Raises:
      TypeError: an argument is no array of its kind.
      ValueError: shapes do not fit, a signal is not finite, or every shadow model was
        trained on one of the examples.

    Example:
      >>> signals, members = [[-0.5, -1.0], [-0.1, -3.0]], np.eye(2) < 1
      >>> jc.validate.membership.attacks.calibrated([-0.1, -1.0], signals, members)
      array([0.4, 2. ])

    Source: Watson et al. 2022, arXiv:2111.08440, section 3; Sablayrolles et al. 2019,
    arXiv:1908.11229, section 4.4 (MALT).
    """
    target, signals, members = with_shadows("calibrated", target, signals, members)
    enough_out("calibrated", members)
    return target - mean_where(signals, ~members)


def mean_where(signals: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The mean over the shadows of one side, (shadows, n, …) to (n, …)."""
    counts = inside.sum(0).reshape(-1, *[1] * (signals.ndim - 2))
    return np.einsum("sn...,sn->n...", signals, inside.astype(np.float64)) / counts
