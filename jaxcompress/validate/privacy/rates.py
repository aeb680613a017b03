"""Lower bounds on epsilon from the rates of true and false positives at thresholds."""

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.core.checks import check_count, check_range
from jaxcompress.validate.cards.findings import Finding, Result
from jaxcompress.validate.intervals import check_confidence
from jaxcompress.validate.privacy.findings import of_bound
from jaxcompress.validate.privacy.scores import checked_members, checked_scores

_LIMITS = 4
"""One-sided limits of a threshold: a lower and an upper one of either rate."""


@dataclasses.dataclass(frozen=True)
class RateAudit(Result):
    """A lower bound on epsilon, and the counts that it comes from.

    Invariants:
      - `epsilon` is 0 where nothing was refuted; 0 never means that a model is private.
      - members_above <= members, nonmembers_above <= nonmembers.

    Args:
      epsilon: the bound, at least 0.
      delta: in [0, 1).
      confidence: of the bound, after the correction for `tried`.
      threshold: scores of at least this are called members.
      members: number of members counted.
      members_above: those of them that were called members.
      nonmembers: number of non-members counted.
      nonmembers_above: those of them that were called members.
      tried: thresholds among which this was chosen.
    """

    epsilon: float
    delta: float
    confidence: float
    threshold: float
    members: int
    members_above: int
    nonmembers: int
    nonmembers_above: int
    tried: int

    def finding(self) -> Finding:
        """For a card: the bound, which speaks against a claim and never for one."""
        how = (
            f"{self.members_above} of {self.members} members and {self.nonmembers_above} of "
            f"{self.nonmembers} others above one threshold"
        )
        return of_bound(self.epsilon, self.delta, self.confidence, how)

    def to_json(self) -> dict[str, Any]:
        """All fields as plain numbers."""
        return dataclasses.asdict(self)


def rate_audit(
    scores: ArrayLike,
    members: ArrayLike,
    *,
    delta: float = 0.0,
    confidence: float = 0.95,
    thresholds: ArrayLike | None = None,
    seed: int = 0,
) -> RateAudit:
    """Lower bound on epsilon from true and false positive rates at thresholds.

    Not for: canaries of one training, whose answers depend on one another; take
    `one_run_audit`.

    Differential privacy bounds the rates of every attack; their limits are exact:

        epsilon >= log((TPR_low - delta) / FPR_high)
        epsilon >= log((TNR_low - delta) / FNR_high)

    with the one-sided limits of Clopper and Pearson, each at 1 - (1 - confidence) / 4
    of the thresholds' number (Bonferroni). It takes the answers for independent, as
    those of many trainings are. For many canaries in one training `one_run_audit` needs
    no such assumption.

    Also known as: epsilon from membership inference, Clopper-Pearson audit.

    Args:
      scores: (m,), higher means member.
      members: (m,) bool.
      delta: of the claim, in [0, 1).
      confidence: of the bound, in (0, 1).
      thresholds: (t,), chosen without a look at these members. By default one
        threshold, the best for a random half of the scores; the other half gives the
        bound.
      seed: of the halves.

    Returns:
      The best bound, its threshold and counts.

    Raises:
      ValueError: scores or thresholds that are not finite, or no membership for each;
        all in or all out; so few members or non-members that even a perfect attack
        would give no bound (the message says how many it takes); a wrong delta,
        confidence or seed.

    Example:
      >>> members = np.arange(200) < 100
      >>> audit = jc.validate.privacy.rate_audit(members, members, thresholds=[0.5])
      >>> round(audit.epsilon, 2)
      3.11

    Source: Jagielski, Ullman and Oprea 2020, arXiv:2006.07709, section 3; Nasr et al.
    2021, arXiv:2101.04535. Differs: the correction for several thresholds and for both
    directions.
    """
    name = "rate_audit"
    scores = checked_scores(name, "scores", scores)
    members = checked_members(name, members, scores.size)
    check_range(name, "delta", delta, 0, 1)
    level = 1 - check_confidence(name, confidence)
    seed = check_count(name, "seed", seed, least=0)
    if thresholds is None:
        half = np.random.default_rng(seed).permutation(scores.size) < scores.size // 2
        known = np.unique(scores[half])
        first = _counts(scores[half], members[half], known)
        chosen = known[np.argmax(_bounds(first, float(delta), level / _LIMITS))]
        scores, members, tried = scores[~half], members[~half], np.array([chosen])
    else:
        tried = _checked_thresholds(name, thresholds)
    each = level / (_LIMITS * tried.size)
    counts = _counts(scores, members, tried)
    _check_enough(name, counts, float(delta), each)
    bounds = _bounds(counts, float(delta), each)
    best = int(np.argmax(bounds))
    return RateAudit(
        epsilon=float(bounds[best]),
        delta=float(delta),
        confidence=1 - level,
        threshold=float(tried[best]),
        members=counts.members,
        members_above=int(counts.members_above[best]),
        nonmembers=counts.nonmembers,
        nonmembers_above=int(counts.nonmembers_above[best]),
        tried=tried.size,
    )


class _Counts(NamedTuple):
    """Of all, and of those at or above each threshold (t,)."""

    members: int
    members_above: np.ndarray
    nonmembers: int
    nonmembers_above: np.ndarray


def _counts(scores: np.ndarray, members: np.ndarray, thresholds: np.ndarray) -> _Counts:
    inside, outside = np.sort(scores[members]), np.sort(scores[~members])
    above = [each.size - np.searchsorted(each, thresholds) for each in (inside, outside)]
    return _Counts(inside.size, above[0], outside.size, above[1])


def _bounds(counts: _Counts, delta: float, level: float) -> np.ndarray:
    """(t,), the better of both directions at each threshold, at least 0."""
    m, n = counts.members, counts.nonmembers
    by_members = _bound(counts.members_above, m, counts.nonmembers_above, n, delta, level)
    by_others = _bound(n - counts.nonmembers_above, n, m - counts.members_above, m, delta, level)
    return np.maximum(np.maximum(by_members, by_others), 0.0)


def _bound(hits, of_hits: int, alarms, of_alarms: int, delta: float, level: float) -> np.ndarray:
    """log((least hit rate - delta) / largest false alarm rate), or -inf."""
    from scipy import stats

    # A beta distribution with a parameter of 0 does not exist: its limits are 0 and 1.
    low = np.where(hits > 0, stats.beta.ppf(level, np.maximum(hits, 1), of_hits - hits + 1), 0.0)
    high = np.where(
        alarms < of_alarms,
        stats.beta.isf(level, alarms + 1, np.maximum(of_alarms - alarms, 1)),
        1.0,
    )
    above = low > delta
    return np.where(above, np.log(np.where(above, low - delta, 1.0) / high), -np.inf)


def _checked_thresholds(caller: str, thresholds: ArrayLike) -> np.ndarray:
    values = np.atleast_1d(np.asarray(thresholds))
    numeric = np.issubdtype(values.dtype, np.number)
    if not numeric or values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise ValueError(f"{caller}(thresholds) must be a list of finite numbers, at least one.")
    return values.astype(np.float64)


def _check_enough(caller: str, counts: _Counts, delta: float, level: float) -> None:
    """A perfect attack on n of each has the limits level^(1/n) and 1 - level^(1/n)."""
    m, n = counts.members, counts.nonmembers
    low, high = level ** (1 / max(m, 1)), 1 - level ** (1 / max(n, 1))
    if not (m and n and low - delta > high):
        needs = math.floor(math.log(level) / math.log((1 + delta) / 2)) + 1
        raise ValueError(
            f"{caller}(scores): {m} members and {n} non-members are too few for any bound at"
            f" delta={delta:g}. It takes at least {needs} of each, and twice as many where one"
            " half chooses the threshold."
        )
