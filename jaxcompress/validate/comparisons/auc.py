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
    from scipy import stats

    scores = finite_rows("auc_covariance", "scores", scores)
    positive = check_two_groups("auc_covariance", positive)
    same_length("auc_covariance", scores=scores, positive=positive)
    positives, negatives = int(positive.sum()), int((~positive).sum())
    ranks = stats.rankdata(scores, axis=1)
    among_positives = stats.rankdata(scores[:, positive], axis=1)
    among_negatives = stats.rankdata(scores[:, ~positive], axis=1)
    above = (ranks[:, positive] - among_positives) / negatives
    below = 1 - (ranks[:, ~positive] - among_negatives) / positives
    covariance = np.atleast_2d(np.cov(above)) / positives + np.atleast_2d(np.cov(below)) / negatives
    return above.mean(axis=1), covariance


def auc_interval(
    scores: ArrayLike, positive: ArrayLike, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Interval of the area under the ROC curve of one model, on the logit scale.

        logit(AUC) ± z · s / (AUC (1 - AUC)),  s² DeLong's variance

    It stays inside (0, 1), where the plain AUC ± z · s is too narrow near the ends.
    With all positives above all negatives, s is 0 and the low end is instead
    ((1 - confidence) / 2)^(1 / k), k the size of the smaller group: k separate pairs
    would all be in order with probability AUC^k.

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
      (0.295, 0.781)

    Source: DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44; the logit is that of
    Pepe 2003, The Statistical Evaluation of Medical Tests, section 5.2.4; the end for
    complete separation is ours.
    """
    from scipy import special, stats

    scores = finite_values("auc_interval", scores, "scores")
    positive = check_two_groups("auc_interval", positive)
    same_length("auc_interval", scores=scores, positive=positive)
    confidence = check_confidence("auc_interval", confidence)
    (auc,), ((variance,),) = auc_covariance(scores[None], positive)
    tail = (1 - confidence) / 2
    if variance == 0 and auc in (0, 1):
        far = tail ** (1 / min(positive.sum(), (~positive).sum()))
        return (float(far), 1.0) if auc else (0.0, float(1 - far))
    half = stats.norm.isf(tail) * math.sqrt(variance) / (auc * (1 - auc))
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

        z = difference / sqrt(v_reference + v_candidate - 2 · covariance)

    The interval is difference ± z(confidence) · the same root, and p is two-sided.

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
      (1.0, 0.778, 0.37)

    Source: DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44.
    """
    from scipy import stats

    reference = finite_values("compare_auc", reference, "reference")
    candidate = finite_values("compare_auc", candidate, "candidate")
    positive = check_two_groups("compare_auc", positive)
    same_length("compare_auc", reference=reference, candidate=candidate, positive=positive)
    confidence = check_confidence("compare_auc", confidence)
    aucs, covariance = auc_covariance(np.stack([reference, candidate]), positive)
    difference = float(aucs[1] - aucs[0])
    # Rounding can take the variance of equal models just below 0.
    deviation = math.sqrt(max(0.0, float(np.array([-1, 1]) @ covariance @ np.array([-1, 1]))))
    half = float(stats.norm.isf((1 - confidence) / 2)) * deviation
    p = (
        float(2 * stats.norm.sf(abs(difference) / deviation))
        if deviation
        else float(not difference)
    )
    return AUCComparison(
        reference=float(aucs[0]),
        candidate=float(aucs[1]),
        variances=(float(covariance[0, 0]), float(covariance[1, 1])),
        covariance=float(covariance[0, 1]),
        difference=Difference(
            difference,
            (max(-1.0, difference - half), min(1.0, difference + half)),
            p,
            confidence,
        ),
    )
