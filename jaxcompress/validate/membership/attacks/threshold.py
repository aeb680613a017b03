"""One threshold for all examples, on the signal itself: no shadow models."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.validate.membership.inputs import both_sides, flags, real, same_length


class Decisions(NamedTuple):
    """How often a rule that says "member" or "not" is right.

    Attributes:
      threshold: what the rule compares with.
      true_positives: share of the members it finds, in [0, 1].
      false_positives: share of the non-members it takes for members.
      advantage: their difference; 0 by guessing.
      accuracy: share of right answers where both are equally many, (1 + advantage) / 2.
    """

    threshold: float
    true_positives: float
    false_positives: float
    advantage: float
    accuracy: float


def loss_threshold(losses: ArrayLike, members: ArrayLike) -> Decisions:
    """Decisions by the mean training loss: what has less is called a member.

    Not for: few false alarms, at which it finds next to nothing; take `rmia` or
    `lira_online`.

        member_i = loss_i < mean loss of the members

    It knows one number, the mean training loss, which is often published. As an attack
    by scores it is the negative loss itself, for `audit`; and there it is the baseline
    that every other attack has to beat. Where few false alarms are allowed it finds
    next to nothing: an easy example has a low loss whether it was trained on or not.

    Also known as: Yeom attack, global loss threshold.

    Args:
      losses: (n,) real and finite, of the target on members and non-members.
      members: (n,) bool; some of each.

    Returns:
      The decisions' shares of right and wrong.

    Raises:
      TypeError: an argument is no array of its kind.
      ValueError: lengths differ, a loss is not finite, or one of the sides is missing.

    Example:
      >>> members = np.array([True, True, False, False])
      >>> jc.validate.membership.attacks.loss_threshold([0.1, 0.2, 0.1, 0.9], members)
      Decisions(threshold=0.15, true_positives=0.5, false_positives=0.5, advantage=0.0,
      accuracy=0.5)

    Source: Yeom et al. 2018, arXiv:1709.01604, section 3.2, adversary 2.
    """
    losses = real("loss_threshold", "losses", losses, "(n,)")
    members = flags("loss_threshold", "members", members, "(n,)")
    same_length("loss_threshold", losses=len(losses), members=len(members))
    both_sides("loss_threshold", members)
    threshold = float(losses[members].mean())
    called = losses < threshold
    found, alarms = float(np.mean(called[members])), float(np.mean(called[~members]))
    return Decisions(threshold, found, alarms, found - alarms, (1 + found - alarms) / 2)


def uncalibrated(target: ArrayLike, signals: ArrayLike, members: ArrayLike) -> np.ndarray:
    """The target's own signal as the score, beside the attacks that use shadow models.

    Args:
      target: (n,) real and finite, higher = member.
      signals: (shadows, n), not used.
      members: (shadows, n), not used.

    Returns:
      (n,) float64, higher = member.

    Raises:
      TypeError: `target` is no array of numbers.
      ValueError: its shape does not fit, or a number is not finite.

    Example:
      >>> jc.validate.membership.attacks.uncalibrated([-0.5, -2.0], None, None)
      array([-0.5, -2. ])
    """
    del signals, members
    return real("uncalibrated", "target", target, "(n,)")
