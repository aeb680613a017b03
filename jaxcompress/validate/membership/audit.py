"""What an attack's scores say: true positives at low false positive rates, and chance.

One target model, or several with a row of scores each: a shadow model takes the
target's place in turn, see `leave_one_out`.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.core.checks import check_count, check_inside
from jaxcompress.core.kinds import check_each
from jaxcompress.validate.comparisons.auc import auc_interval
from jaxcompress.validate.intervals import check_confidence, mean_interval
from jaxcompress.validate.membership import operating
from jaxcompress.validate.membership.inputs import both_sides, flags, real
from jaxcompress.validate.membership.results import Audit, Found

RATES = (0.001, 0.01)
CURVE_POINTS = 61


def needed_others(rate: float) -> int:
    """Non-members that it takes to speak of a false positive rate: 1 / rate.

    Args:
      rate: in (0, 1).

    Returns:
      The count, with which one false positive is allowed.

    Raises:
      ValueError: the rate is out of range.

    Example:
      >>> jc.validate.membership.needed_others(0.001)
      1000
    """
    check_inside("needed_others", "rate", rate, 0, 1)
    return math.ceil(1 / float(rate) * (1 - 1e-12))


def audit(
    scores: ArrayLike,
    members: ArrayLike,
    *,
    rates: Sequence[float] = RATES,
    confidence: float = 0.95,
) -> Audit:
    """What an attack's scores give away, at low false positive rates first.

    At a rate r, with k = r · non-members, a member is found where it scores above the
    k-th highest non-member; scores that say nothing find k / (non-members + 1).
    An average over all examples hides the few that leak: an attack can be right about
    some beyond doubt at an accuracy of 0.51, hence the low rates.

    Args:
      scores: (n,) or (targets, n), finite, higher = member.
      members: bool of the same shape, what each target was trained on; some of each.
      rates: false positive rates, each in (0, 1) and at least 1 / non-members.
      confidence: of the intervals, in (0, 1).

    Returns:
      The audit; `.verdict` says it in words. Of one target the interval of what was
      found is Clopper and Pearson's, at the threshold as it is, and `chance` is exact
      at the rates: the tail of a hypergeometric distribution. Of two targets or more
      both are Student's over targets, which take them as independent: targets from
      one set of examples are so only nearly. Where all targets give one share, which
      leaves Student no spread, what a target alone shows stands.

    Raises:
      TypeError: an argument is no array of its kind, or `rates` no list of numbers.
      ValueError: shapes differ, a score is not finite, one side is missing, or a
        number is out of range, among them a rate that so few non-members cannot show.

    Example:
      >>> scores, members = np.arange(40.0), np.arange(40) >= 20
      >>> result = jc.validate.membership.audit(scores, members, rates=(0.05,))
      >>> result.found[0].true_positives, result.auc
      (1.0, 1.0)

    Source: Carlini et al. 2022, arXiv:2112.03570, sections III and IV; Clopper and
    Pearson 1934, Biometrika 26; DeLong et al. 1988, Biometrics 44.
    """
    scores, members = _checked("audit", scores, members)
    return _audited("audit", scores, members, rates, confidence)


def control(
    scores: ArrayLike,
    members: ArrayLike,
    *,
    rates: Sequence[float] = RATES,
    confidence: float = 0.95,
    seed: int = 0,
) -> Audit:
    """The audit of two halves that the target never saw: it has to stay within chance.

    Non-members are drawn into two halves of which one is called the members. Where the
    audit tells these apart, something but membership does: the way of counting, or
    scores that know the answer.

    Args:
      scores: (n,) or (targets, n), finite, as for `audit`.
      members: bool of the same shape.
      rates: false positive rates, each at least 2 / non-members.
      confidence: of the intervals, in (0, 1).
      seed: of the halves.

    Returns:
      The audit of the halves.

    Raises:
      TypeError: an argument is no array of its kind, or `rates` no list of numbers.
      ValueError: what `audit` raises; the seed is no count.

    Example:
      >>> scores, members = np.arange(60.0) % 7, np.arange(60) >= 40
      >>> result = jc.validate.membership.control(scores, members, rates=(0.05,))
      >>> result.members, result.others, result.verdict
      (20, 20, 'no better than chance on 20 members and 20 others (p = 0.69)')
    """
    scores, members = _checked("control", scores, members)
    check_count("control", "seed", seed, least=0)
    generator = np.random.default_rng(seed)
    size = int((~members).sum(1).min()) // 2
    if not size:
        raise ValueError("control(members) has a target with one non-member, and halves need two.")
    drawn = np.stack([generator.permutation(np.flatnonzero(~row))[: 2 * size] for row in members])
    halves = np.broadcast_to(np.arange(2 * size) < size, drawn.shape)
    return _audited("control", np.take_along_axis(scores, drawn, axis=1), halves, rates, confidence)


def _audited(
    caller: str,
    scores: np.ndarray,
    members: np.ndarray,
    rates: Sequence[float],
    confidence: float,
) -> Audit:
    """The audit of scores and members (targets, n)."""
    confidence = check_confidence(caller, confidence)
    least = int((~members).sum(1).min())
    rates = _checked_rates(caller, rates, least)
    judged = _of_one if len(scores) == 1 else _over_targets
    found, area, interval, tails = judged(scores, members, rates, confidence)
    rows = list(zip(scores, members, strict=True))
    places = np.geomspace(1 / least, 1, CURVE_POINTS)
    heights = np.mean([operating.curve(*row, places) for row in rows], axis=0)
    return Audit(
        targets=len(scores),
        members=int(members.sum(1).min()),
        others=least,
        found=tuple(found),
        auc=area,
        auc_interval=interval,
        advantage=float(np.mean([operating.advantage(*row) for row in rows])),
        curve=(tuple(places.tolist()), tuple(heights.tolist())),
        chance=_corrected(tails),
        confidence=confidence,
    )


class _Judged(NamedTuple):
    """What scores show: the members found at each rate, the area, and chance."""

    found: list[Found]
    area: float
    area_interval: tuple[float, float]
    tails: list[float]


def _of_one(
    scores: np.ndarray, members: np.ndarray, rates: Sequence[float], confidence: float
) -> _Judged:
    """Of one target: exact intervals of shares, DeLong's of the area."""
    from scipy import stats

    values, inside = scores[0], members[0]
    n, others = int(inside.sum()), int((~inside).sum())
    counts = [operating.found(values, inside, rate) for rate in rates]
    found = []
    for rate, count in zip(rates, counts, strict=True):
        limits = stats.binomtest(count, n).proportion_ci(confidence, method="exact")
        found.append(Found(rate, count / n, float(limits.low), float(limits.high)))
    # The placements of one example have no variance to estimate.
    several = min(n, others) > 1
    interval = auc_interval(values, inside, confidence=confidence) if several else (0.0, 1.0)
    tails = [operating.chance_of_found(c, n, others, r) for r, c in zip(rates, counts, strict=True)]
    tails.append(operating.chance_of_area(values, inside))
    return _Judged(found, operating.auc(values, inside), interval, tails)


def _over_targets(
    scores: np.ndarray, members: np.ndarray, rates: Sequence[float], confidence: float
) -> _Judged:
    """Over several targets: means with Student's intervals."""
    alone = [
        _of_one(row[None], inside[None], rates, confidence)
        for row, inside in zip(scores, members, strict=True)
    ]
    of_rates = [
        _of_mean(
            [each.found[i].true_positives for each in alone],
            [(each.found[i].low, each.found[i].high) for each in alone],
            (rate, [each.tails[i] for each in alone]),
            confidence,
        )
        for i, rate in enumerate(rates)
    ]
    area, interval, tail = _of_mean(
        [each.area for each in alone],
        [each.area_interval for each in alone],
        (0.5, [each.tails[-1] for each in alone]),
        confidence,
    )
    found = [Found(rate, each[0], *each[1]) for rate, each in zip(rates, of_rates, strict=True)]
    return _Judged(found, area, interval, [*(each[2] for each in of_rates), tail])


def _of_mean(
    values: list[float],
    intervals: list[tuple[float, float]],
    chance: tuple[float, list[float]],
    confidence: float,
) -> tuple[float, tuple[float, float], float]:
    """The mean over targets, Student's interval of it, and the p-value of chance.

    Equal values have no spread, as shares of few members often are: then what each
    target shows alone stands, and of it the widest interval and the largest p-value.

    Args:
      values: of each target.
      intervals: of each target alone.
      chance: the level that chance reaches, and the p-value of each target alone.
      confidence: of the interval.
    """
    from scipy import stats

    (level, tails), mean = chance, float(np.mean(values))
    if np.ptp(values) == 0:
        lows, highs = zip(*intervals, strict=True)
        return mean, (min(lows), max(highs)), max(tails)
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    tail = float(stats.t.sf((mean - level) / error, len(values) - 1))
    return mean, mean_interval(values, confidence=confidence), tail


def _corrected(tails: Sequence[float]) -> float:
    """Bonferroni's: the least of several p-values, times their number."""
    return min(1.0, len(tails) * min(tails))


def _checked(caller: str, scores: ArrayLike, members: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Scores and members, (targets, n), with both sides in each row."""
    scores = real(caller, "scores", scores, "(n,)", "(targets, n)")
    members = flags(caller, "members", members, "(n,)", "(targets, n)")
    if scores.shape != members.shape:
        raise ValueError(
            f"{caller}(scores of shape {scores.shape}, members of shape {members.shape}): both"
            " need the same shape."
        )
    if members.ndim == 2 and members.shape[1] == 1:
        raise ValueError(
            f"{caller}(scores of shape {scores.shape}) are {len(scores)} targets with one example"
            " each. Of one target pass scores[:, 0] and members[:, 0]."
        )
    both_sides(caller, members)
    return np.atleast_2d(scores), np.atleast_2d(members)


def _checked_rates(caller: str, rates: Sequence[float], others: int) -> tuple[float, ...]:
    check_each(caller, "rates", rates, lambda who, name, rate: check_inside(who, name, rate, 0, 1))
    if not rates:
        raise ValueError(f"{caller}(rates) is empty. Give at least one, such as 0.01.")
    for rate in rates:
        if not operating.false_positives_allowed(rate, others):
            raise ValueError(
                f"{caller}(rates={list(rates)}): a false positive rate of {100 * rate:g} % needs"
                f" {needed_others(rate):,} non-members or more, and there are {others:,}. Ask more"
                f" examples that no model saw, or give rates of {1 / others:.2g} and above."
            )
    return tuple(sorted(float(rate) for rate in rates))
