"""DeLong's variance of the area under the ROC curve, of one model and of two."""

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.validate.comparisons.arguments import check_two_groups, finite_rows, same_length
from jaxcompress.validate.comparisons.paired import Difference
from jaxcompress.validate.intervals import check_confidence, finite_values


def auc_covariance(scores: ArrayLike, positive: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """AUCs of several models on the same examples, and their covariance.

    Not for: one model's interval, which `auc_interval` keeps inside (0, 1).

    With p positive and q negative examples, and midranks R among all, P among positives
    and Q among negatives, of each model:

        above_i = (R_i - P_i) / q         share of negatives below the positive i
        below_j = 1 - (R_j - Q_j) / p     share of positives above the negative j
        AUC     = mean of above
        covariance = cov(above) / p + cov(below) / q

    Ties count by half. Time grows as n log n for each model.

    Also known as: DeLong's method, structural components of the Mann-Whitney statistic.

    Args:
      scores: (models, n), real and finite; higher means positive.
      positive: (n,) bool, or 0 and 1; at least two of each.

    Returns:
      The AUCs (models,) in [0, 1] and their covariance (models, models), float64.

    Raises:
      ValueError: a shape does not fit, a score is not finite, fewer than two examples
        of a kind.

    Example:
      >>> positive = np.array([0, 0, 1, 1])
      >>> aucs, covariance = jc.validate.comparisons.auc_covariance(
      ...     [[0.1, 0.4, 0.35, 0.8]], positive
      ... )
      >>> aucs, covariance
      (array([0.75]), array([[0.125]]))

    Source: DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44, by the midranks of
    Sun and Xu 2014, IEEE Signal Process. Lett. 21.
    """
    scores = finite_rows("auc_covariance", "scores", scores)
    positive = check_two_groups("auc_covariance", positive)
    same_length("auc_covariance", scores=scores, positive=positive)
    above, below = _components(scores, positive)
    covariance = np.cov(above) / above.shape[1] + np.cov(below) / below.shape[1]
    return above.mean(axis=1), np.atleast_2d(covariance)


def _components(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What each positive and each negative adds: (models, p) and (models, q)."""
    from scipy import stats

    positives, negatives = int(positive.sum()), int((~positive).sum())
    ranks = stats.rankdata(scores, axis=1)
    among_positives = stats.rankdata(scores[:, positive], axis=1)
    among_negatives = stats.rankdata(scores[:, ~positive], axis=1)
    above = (ranks[:, positive] - among_positives) / negatives
    return above, 1 - (ranks[:, ~positive] - among_negatives) / positives


def _spread(above: np.ndarray, below: np.ndarray) -> tuple[float, float]:
    """Standard error of a mean of both components, and its degrees of freedom.

    Those of Welch and Satterthwaite, since the smaller group alone often decides.
    """
    parts = [each.var(ddof=1) / each.size for each in (above, below)]
    variance = float(sum(parts))
    if not variance:
        return 0.0, 1.0
    freedom = variance**2 / sum(
        part**2 / (each.size - 1) for part, each in zip(parts, (above, below), strict=True)
    )
    return math.sqrt(variance), float(freedom)


def auc_interval(
    scores: ArrayLike, positive: ArrayLike, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Interval of the area under the ROC curve of one model, on the logit scale.

        logit(AUC) ± t · s / (AUC (1 - AUC)),  s² = v + AUC (1 - AUC) / k²

    with DeLong's variance v, the size k of the smaller group, and Student's t of
    Welch's degrees of freedom. It stays inside (0, 1), where AUC ± t · sqrt(v) is too
    narrow near the ends: with 30 positives of 300 and an AUC of 0.97 or 0.99, v alone
    covers in 92 and 91 % of the cases where 95 are promised, s² in 96 and 98 (without
    a record).
    With all positives above all negatives the low end is instead
    ((1 - confidence) / 2)^(1 / k): k separate pairs would all be in order with
    probability AUC^k.

    Args:
      scores: (n,), real and finite; higher means positive.
      positive: (n,) bool, or 0 and 1; at least two of each.
      confidence: in (0, 1).

    Returns:
      (low, high), floats in [0, 1].

    Raises:
      ValueError: what `auc_covariance` raises, or a wrong confidence.

    Example:
      >>> low, high = jc.validate.comparisons.auc_interval(np.arange(20), [0, 1] * 10)
      >>> round(low, 3), round(high, 3)
      (0.264, 0.806)

    Source: DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44; the logit is that of
    Pepe 2003, The Statistical Evaluation of Medical Tests, section 5.2.4; the
    term of 1 / k², t for z and the end for complete separation are ours.
    """
    from scipy import special, stats

    scores = finite_values("auc_interval", scores, "scores")
    positive = check_two_groups("auc_interval", positive)
    same_length("auc_interval", scores=scores, positive=positive)
    confidence = check_confidence("auc_interval", confidence)
    above, below = _components(scores[None], positive)
    auc, (error, freedom) = float(above.mean()), _spread(above[0], below[0])
    tail, smaller = (1 - confidence) / 2, int(min(positive.sum(), (~positive).sum()))
    if auc in (0, 1):
        far = tail ** (1 / smaller)
        return (float(far), 1.0) if auc else (0.0, float(1 - far))
    deviation = math.sqrt(error**2 + auc * (1 - auc) / smaller**2)
    half = stats.t.isf(tail, freedom) * deviation / (auc * (1 - auc))
    centre = special.logit(auc)
    return float(special.expit(centre - half)), float(special.expit(centre + half))


@dataclasses.dataclass(frozen=True)
class AUCComparison:
    """The AUCs of a reference and of a candidate on the same examples.

    Args:
      reference: AUC of the reference, in [0, 1].
      candidate: AUC of the candidate, in [0, 1].
      variances: DeLong's, of the reference and of the candidate.
      covariance: of the two.
      difference: candidate minus reference, with interval and p-value.
    """

    reference: float
    candidate: float
    variances: tuple[float, float]
    covariance: float
    difference: Difference

    def to_json(self) -> dict[str, Any]:
        """All fields as plain numbers, lists and dicts."""
        record = dataclasses.asdict(self) | {"variances": list(self.variances)}
        return record | {"difference": self.difference.to_json()}


def compare_auc(
    reference: ArrayLike, candidate: ArrayLike, positive: ArrayLike, *, confidence: float = 0.95
) -> AUCComparison:
    """DeLong's test of two AUCs on the same examples.

    Not for: AUCs on different examples, which `shift.external` compares.

        t = difference / sqrt(v_reference + v_candidate - 2 · covariance)

    The interval is difference ± t(confidence) · the same root, and p is two-sided, from
    Student's distribution with Welch's degrees of freedom. The root is 0 where one
    model separates all examples and the other gives them one score, or turns their
    order round. Then k separate pairs are counted, k the size of the smaller group, as
    by `auc_interval`: p = 2 · (1/2)^k, and the interval reaches from the difference to
    difference · (2 · ((1 - confidence) / 2)^(1 / k) - 1).

    Also known as: DeLong test, paired comparison of correlated ROC curves.

    Args:
      reference: (n,) scores of the reference, real and finite; higher means positive.
      candidate: (n,) scores of the other model on the same examples in one order.
      positive: (n,) bool, or 0 and 1; at least two of each.
      confidence: of the interval, in (0, 1).

    Returns:
      Both AUCs, their variances and covariance, the difference with interval and p.

    Raises:
      ValueError: what `auc_covariance` raises, or a wrong confidence.

    Example:
      >>> positive = np.array([0, 0, 0, 1, 1, 1])
      >>> before, after = [1, 2, 3, 4, 5, 6], [1, 2, 5, 3, 4, 6]
      >>> result = jc.validate.comparisons.compare_auc(before, after, positive)
      >>> result.reference, round(result.candidate, 3), round(result.difference.p, 2)
      (1.0, 0.778, 0.44)

    Source: DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44, with t for their z,
    which rejects too often where there are few positives or few negatives.
    """
    from scipy import stats

    reference = finite_values("compare_auc", reference, "reference")
    candidate = finite_values("compare_auc", candidate, "candidate")
    positive = check_two_groups("compare_auc", positive)
    same_length("compare_auc", reference=reference, candidate=candidate, positive=positive)
    confidence = check_confidence("compare_auc", confidence)
    aucs, covariance = auc_covariance(np.stack([reference, candidate]), positive)
    difference = float(aucs[1] - aucs[0])
    above, below = _components(np.stack([reference, candidate]), positive)
    error, freedom = _spread(above[1] - above[0], below[1] - below[0])
    if error or not difference:
        half = float(stats.t.isf((1 - confidence) / 2, freedom)) * error
        interval = max(-1.0, difference - half), min(1.0, difference + half)
        p = 2 * float(stats.t.sf(abs(difference) / error, freedom)) if error else 1.0
    else:
        pairs = int(min(positive.sum(), (~positive).sum()))
        near = difference * (2 * ((1 - confidence) / 2) ** (1 / pairs) - 1)
        interval = min(difference, near), max(difference, near)
        p = 2 * 0.5**pairs
    return AUCComparison(
        reference=float(aucs[0]),
        candidate=float(aucs[1]),
        variances=(float(covariance[0, 0]), float(covariance[1, 1])),
        covariance=float(covariance[0, 1]),
        difference=Difference(difference, interval, p, confidence),
    )
