"""Metrics of the order in which scores put examples, whatever their scale."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.checks import KnownValueError
from jaxcompress.core.kinds import check_numeric
from jaxcompress.core.types import Array
from jaxcompress.validate.logits import checked_labels, checked_logits
from jaxcompress.validate.metrics.counting import at, divided, sums_up_to
from jaxcompress.validate.metrics.metric import Metric, PerExample, Statistics, Summary

BOTH = "a positive and a negative example"


def roc_auc() -> Metric:
    """The chance that a positive example scores above a negative one, ties by half.

    Not for: rare positives, among which many false alarms hardly show; take
    `average_precision`.

        AUC = (pairs in order + half of the pairs that tie) / (positives · negatives)

    Outputs are scores (n,) or logits of two classes (n, 2), whose difference is the
    score; targets (n,) are 0 and 1, or bools.

    Returns:
      The metric, in [0, 1], by the name "roc_auc".

    Its interval is the bootstrap's on the logit scale. With AUC* of a bootstrap sample
    and k examples in the smaller group, the ends are quantiles of

        expit(logit(AUC) + c (AUC* - AUC) / (AUC (1 - AUC))),  c² = k / (k - 1)

    where c makes up for the variance of a resampled group, which is too small by c².
    With all positives above all negatives the low end is, as in
    `comparisons.auc_interval`, ((1 - confidence) / 2)^(1 / k). That one is by DeLong's
    variance and needs no resampling.

    Also known as: area under the ROC curve, AUROC, c-statistic, Mann-Whitney U.

    Example:
      >>> scores, labels = jnp.array([0.1, 0.4, 0.35, 0.8]), jnp.array([0, 0, 1, 1])
      >>> jc.validate.metrics.roc_auc()(scores, labels)
      0.75

    Source: Hanley and McNeil 1982, Radiology 143. The logit is that of Pepe 2003, The
    Statistical Evaluation of Medical Tests, section 5.2.4; quantiles on it are ours.
    """

    def summary(statistics: Statistics, counts: np.ndarray) -> np.ndarray:
        return area(statistics["score"], statistics["positive"], counts)

    return Metric("roc_auc", _binary("roc_auc"), summary, needs=BOTH, limits=on_logits)


def macro_roc_auc() -> Metric:
    """The mean over classes of `roc_auc` of each against all others.

    Not for: the answers that are given, since it judges the order in each class alone;
    take `balanced_accuracy`.

    Outputs are logits (n, classes), targets labels (n,). Examples are put in the order
    of the class's probability, by its log odds, which saturate nowhere.

    Returns:
      The metric, in [0, 1], by the name "macro_roc_auc".

    Also known as: one-vs-rest AUC, OvR AUC.

    Example:
      >>> metric = jc.validate.metrics.macro_roc_auc()
      >>> metric(jnp.eye(3), jnp.array([0, 1, 2]))
      1.0

    Source: Provost and Domingos 2000, section 3, with classes of equal weight.
    """

    def per_example(logits: Array, labels: Array) -> dict[str, Array]:
        logits = checked_logits("macro_roc_auc", "logits", logits)
        return {
            "score": _finite(_log_odds(logits.astype(jnp.float32))),
            "label": checked_labels("macro_roc_auc", labels, logits),
        }

    def summary(statistics: Statistics, counts: np.ndarray) -> np.ndarray:
        scores, label = statistics["score"], statistics["label"]
        areas = [area(score, label == each, counts) for each, score in enumerate(scores.T)]
        return np.mean(areas, axis=0)

    return Metric("macro_roc_auc", per_example, summary, needs="an example of each class")


def average_precision() -> Metric:
    """The mean of the precision at each positive example, from the highest score down.

    Not for: sets with other shares of positives, with which it moves; take `roc_auc`.

        AP = sum_t (recall_t - recall_{t-1}) · precision_t,  t over distinct scores

    Outputs and targets are those of `roc_auc`, and so is its interval.

    Returns:
      The metric, in (0, 1], by the name "average_precision".

    Also known as: area under the precision-recall curve, AUPRC, AP.

    Example:
      >>> scores, labels = jnp.array([0.1, 0.4, 0.35, 0.8]), jnp.array([0, 0, 1, 1])
      >>> round(jc.validate.metrics.average_precision()(scores, labels), 3)
      0.833

    Source: Manning, Raghavan and Schütze 2008, Introduction to Information Retrieval,
    section 8.4. Not interpolated.
    """

    def summary(statistics: Statistics, counts: np.ndarray) -> np.ndarray:
        found, others = _up_to_each(-statistics["score"], statistics["positive"], counts)
        precision = found / np.maximum(found + others, 1)
        gained = np.diff(found, axis=-1, prepend=0)
        return divided(np.sum(gained * precision, axis=-1), found[..., -1])

    name, needs = "average_precision", "a positive example"
    return Metric(name, _binary(name), summary, needs=needs, limits=on_logits)


def on_logits(
    summary: Summary, statistics: Statistics, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Figures of resamples, their distances from the figure taken on the logit scale.

    Of a figure of 1 the low ends are draws of Beta(k, 1), the law of a share of which k
    trials of k succeed, with k examples in the smaller group. Each draw follows from
    its counts, so that samples may come in blocks of any size.

    Args:
      summary: a figure in [0, 1] of `positive`, (n,) bool, and other statistics.
      statistics: of the examples.
      counts: (…, n), how often each counts.

    Returns:
      What low ends are taken of and what high ends are, (…) each.
    """
    from scipy import special

    positive = statistics["positive"]
    k = min(each for each in (positive.sum(), (~positive).sum()) if each)
    value = summary(statistics, np.ones((1, positive.size)))[0]
    values = summary(statistics, counts)
    if value in (0, 1):
        # The sum of numbers drawn from [0, 1) is uniform modulo 1.
        uniform = counts @ np.random.default_rng(0).random(positive.size) % 1
        far = np.where(np.isnan(values), np.nan, uniform ** (1 / k))
        return (far, np.ones_like(far)) if value else (np.zeros_like(far), 1 - far)
    wider = np.sqrt(k / max(k - 1, 1))
    moved = wider * (values - value) / (value * (1 - value))
    ends = special.expit(special.logit(value) + moved)
    return ends, ends


def area(scores: np.ndarray, positive: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Areas under the ROC curve, (…); NaN where one class is missing.

    Args:
      scores: (n,), higher means positive.
      positive: (n,) bool.
      counts: (…, n), how often each example counts.
    """
    above, others = np.flatnonzero(positive), np.flatnonzero(~positive)
    others = others[np.argsort(scores[others], kind="stable")]
    below, level = (
        np.searchsorted(scores[others], scores[above], side=side) for side in ("left", "right")
    )
    negatives = np.cumsum(counts[..., others], axis=-1)
    positives = counts[..., above]
    ordered = np.sum(positives * at(negatives, below), axis=-1)
    # Mostly none, and then the second half of the work is saved.
    ties = np.flatnonzero(level > below)
    within = at(negatives, level[ties]) - at(negatives, below[ties])
    ordered += np.sum(positives[..., ties] * within, axis=-1) / 2
    return divided(ordered, positives.sum(axis=-1) * at(negatives, np.array([others.size]))[..., 0])


def _up_to_each(
    scores: np.ndarray, positive: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Counts of positives and of negatives up to each distinct score, (…, distinct)."""
    order = np.argsort(scores, kind="stable")
    scores, counts = scores[order], counts[..., order]
    ends = np.append(np.flatnonzero(scores[1:] != scores[:-1]) + 1, scores.size)
    positives = sums_up_to(counts * positive[order], ends)
    return positives, sums_up_to(counts, ends) - positives


def _binary(name: str) -> PerExample:
    def per_example(outputs: Array, targets: Array) -> dict[str, Array]:
        check_numeric(name, "outputs", outputs)
        outputs = jnp.asarray(outputs)
        n = outputs.shape[0] if outputs.ndim else 0
        if outputs.shape not in ((n,), (n, 2)):
            raise ValueError(
                f"{name}(outputs of shape {outputs.shape}) needs scores (n,), or logits of two"
                " classes (n, 2)."
            )
        if jnp.shape(targets) != (n,):
            raise ValueError(f"{name}(targets of shape {jnp.shape(targets)}) needs shape ({n},).")
        if isinstance(targets, np.ndarray) and not np.isin(targets, (0, 1)).all():
            raise KnownValueError(f"{name}(targets) must be 0 and 1, or bools.")
        scores = outputs.astype(jnp.float32)
        if scores.ndim == 2:
            scores = _finite(scores[:, 1] - scores[:, 0])
        return {"score": _finite(scores), "positive": jnp.asarray(targets) == 1}

    return per_example


def _log_odds(logits: Array) -> Array:
    """The log odds of each class: its logit less the log sum of all others."""
    # Summed from both sides, since a sum of all less the class's own would cancel.
    none = jnp.full_like(logits[:, :1], -jnp.inf)
    before = jnp.concatenate([none, jax.lax.cumlogsumexp(logits, axis=1)[:, :-1]], axis=1)
    after = jax.lax.cumlogsumexp(logits, axis=1, reverse=True)
    after = jnp.concatenate([after[:, 1:], none], axis=1)
    return logits - jnp.logaddexp(before, after)


def _finite(scores: Array) -> Array:
    """Infinite scores as the largest finite ones, which keep their order."""
    limit = jnp.finfo(scores.dtype).max
    return jnp.clip(scores, -limit, limit)
