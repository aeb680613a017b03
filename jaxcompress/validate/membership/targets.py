"""Shadow models that take the target's place in turn: many targets for one training."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from jaxcompress.core.checks import check_count
from jaxcompress.core.kinds import check_iterable, check_kind, check_takes
from jaxcompress.validate.membership.inputs import real
from jaxcompress.validate.membership.shadow_record import Shadows

Attack = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""(target (n, …), signals (shadows, n, …), members (shadows, n)) to scores (n,)."""


class Attacked(NamedTuple):
    """Scores of several targets, and the truth: what `audit` takes.

    Attributes:
      scores: (targets, n) float64, higher = member.
      members: (targets, n) bool.
    """

    scores: np.ndarray
    members: np.ndarray


def leave_one_out(
    attack: Attack, shadows: Shadows, *, targets: Iterable[int] | None = None
) -> Attacked:
    """Attacks each shadow model with the others as its shadows.

    One model has too few members to show what is found at 0.1 % false positives; the
    mean over all of them shows it. Beside the target its complement is left out,
    the model that was trained on exactly the other examples: otherwise members
    would have one model less on their side, which gives them away.

    Args:
      attack: `attack(target, signals, members) -> (n,)`, one of `attacks`, with what
        else it takes filled in by a lambda.
      shadows: of all models. An attack gets all examples; scores are kept of those
        that vary.
      targets: indices of the models to attack, for attacks that take long; None for
        all of them.

    Returns:
      Scores and members, a row per target: `audit(*leave_one_out(attack, shadows))`.

    Raises:
      TypeError: an argument is not of its kind.
      ValueError: there are fewer than four models, no example varies, a target is no
        index, or the attack gives no finite score per example.

    Example:
      >>> membership, key = jc.validate.membership, jax.random.key(0)
      >>> members = membership.halves(8, 40, key)
      >>> signals = np.random.default_rng(0).normal(size=(8, 40)) + 3 * members
      >>> shadows = membership.Shadows(signals, members)
      >>> attacked = membership.leave_one_out(membership.attacks.lira_online, shadows)
      >>> attacked.scores.shape, membership.audit(*attacked, rates=(0.05,)).targets
      ((8, 40), 8)

    Source: Carlini et al. 2022, arXiv:2112.03570, section V-A. Differs: complements.
    """
    check_takes("leave_one_out", "attack", attack, 3, "For example attacks.lira_online.")
    check_kind("leave_one_out", "shadows", shadows, Shadows, "membership.shadows gives one.")
    count, n = shadows.members.shape
    varying = shadows.varying
    if count < 4 or not varying.any():
        raise ValueError(
            f"leave_one_out(shadows of {count} models, {varying.sum()} of {n} examples varying)"
            " needs four models or more, and examples that some were trained on and others not."
        )
    targets = _checked_targets(targets, count)
    scores = []
    for held in targets:
        inside = shadows.members[held]
        complement = (shadows.members ^ inside)[:, varying].all(1)
        rest = np.flatnonzero((np.arange(count) != held) & ~complement)
        found = attack(shadows.signals[held], shadows.signals[rest], shadows.members[rest])
        found = real("leave_one_out", "attack's scores", found, "(n,)")
        if len(found) != n:
            raise ValueError(f"leave_one_out(attack): {len(found)} scores for {n} examples.")
        scores.append(found[varying])
    return Attacked(np.stack(scores), shadows.members[targets][:, varying])


def _checked_targets(targets: Iterable[int] | None, count: int) -> list[int]:
    if targets is None:
        return list(range(count))
    check_iterable("leave_one_out", "targets", targets, "Its entries are indices of models.")
    targets = [check_count("leave_one_out", "targets", each, least=0) for each in targets]
    if not targets or max(targets) >= count:
        raise ValueError(
            f"leave_one_out(targets={targets}) needs indices of models below {count}, at least one."
        )
    return targets
