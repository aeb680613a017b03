"""One row per metric: what it is tried on, and what scikit-learn or scipy give for it.

Outputs lie on a coarse grid, so that many tie.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from scipy import special, stats
from sklearn import calibration
from sklearn import metrics as sk

from jaxcompress.validate import metrics
from jaxcompress.validate.metrics import Metric

N, CLASSES, TIME = 30, 3, 4
IGNORED = -100
Arrays = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Case:
    """A metric and how to know that it is right.

    Args:
      metric: the metric.
      made: a generator to outputs and targets of N examples.
      oracle: (outputs, targets) to its figure, in float64.
      perfect: targets to outputs that no other beats.
      undefined: outputs and targets for which it is not defined, None where always is.
    """

    metric: Metric
    made: Callable[[np.random.Generator], Arrays]
    oracle: Callable[[np.ndarray, np.ndarray], float]
    perfect: Callable[[np.ndarray], np.ndarray]
    undefined: Arrays | None = None

    def __str__(self) -> str:
        return self.metric.name


def grid(rng, *shape) -> np.ndarray:
    return rng.integers(-3, 4, shape).astype(np.float32)


def classified(rng, classes: int = CLASSES) -> Arrays:
    return grid(rng, N, classes), rng.integers(0, classes, N)


def doubled(rng) -> Arrays:
    """Equal examples, since sums in another order round otherwise and break ties."""
    logits = rng.standard_normal((N // 2, CLASSES)).astype(np.float32)
    return np.tile(logits, (2, 1)), rng.integers(0, CLASSES, N)


def binary(rng) -> Arrays:
    return classified(rng, 2)


def scored(rng) -> Arrays:
    return grid(rng, N), rng.integers(0, 2, N)


def tokens(rng) -> Arrays:
    labels = rng.integers(0, CLASSES, (N, TIME))
    labels[rng.random((N, TIME)) < 0.3] = IGNORED
    return grid(rng, N, TIME, CLASSES), labels


def numbers(rng) -> Arrays:
    return grid(rng, N, 2), grid(rng, N, 2)


def pairs(rng) -> Arrays:
    return grid(rng, N), grid(rng, N)


def two_models(rng) -> Arrays:
    return grid(rng, N, CLASSES), grid(rng, N, CLASSES)


def many_labels(rng) -> Arrays:
    return grid(rng, N, CLASSES), rng.integers(0, 2, (N, CLASSES))


def hot(labels) -> np.ndarray:
    """Logits that are sure of the label, and as right as float32 can be."""
    classes = max(CLASSES, labels.max() + 1)
    return np.where(np.arange(classes) == labels[..., None], 200, -200).astype(np.float32)


def hot_tokens(labels) -> np.ndarray:
    return hot(np.maximum(labels, 0))


def chances(logits) -> np.ndarray:
    return special.softmax(logits.astype(np.float64), axis=-1)


def itself(targets) -> np.ndarray:
    return targets.astype(np.float32)


def answer(logits) -> np.ndarray:
    return logits.argmax(-1)


def by_answers(figure, **options):
    """A figure of scikit-learn's of labels and predictions."""
    return lambda logits, labels: figure(labels, answer(logits), **options)


def by_chance(figure, **options):
    return lambda logits, labels: figure(
        labels, chances(logits), labels=np.arange(logits.shape[-1]), **options
    )


def top_2(logits, labels) -> float:
    """scikit-learn breaks ties the other way; ranks here are by (-logit, class)."""
    return np.mean(
        [
            label in np.argsort(-row, kind="stable")[:2]
            for row, label in zip(logits, labels, strict=True)
        ]
    )


def brier(logits, labels) -> float:
    return np.mean(np.sum((chances(logits) - np.eye(logits.shape[-1])[labels]) ** 2, axis=-1))


def equal_width(logits, labels) -> float:
    """From scikit-learn's curve, whose empty bins are left out."""
    confidence, right = chances(logits).max(-1), answer(logits) == labels
    shares, means = calibration.calibration_curve(right, confidence, n_bins=5)
    # Stored in float32, as the metric has it, so that none changes its bin.
    places = np.searchsorted(np.linspace(0, 1, 6)[1:-1], confidence.astype(np.float32))
    counts = np.bincount(places)
    return np.sum(counts[counts > 0] * np.abs(shares - means)) / labels.size


def equal_mass(logits, labels) -> float:
    """A loop over examples: each is poured into bins as into glasses of one size."""
    confidence, right = chances(logits).max(-1), answer(logits) == labels
    level = {value: right[confidence == value].mean() for value in np.unique(confidence)}
    bins, size, room, current = [0.0], labels.size / 4, labels.size / 4, 0
    for value in np.sort(confidence):
        left = 1.0
        while left > 1e-12:
            poured = min(left, room)
            bins[current] += poured * (level[value] - value)
            left, room = left - poured, room - poured
            if room <= 1e-12:
                bins.append(0.0)
                current, room = current + 1, size
    return np.abs(bins).sum() / labels.size


def difference(logits) -> np.ndarray:
    return logits[:, 1] - logits[:, 0]


def divergence(logits, others) -> float:
    return np.mean(stats.entropy(chances(others), chances(logits), axis=-1))


def of_tokens(logits, labels) -> float:
    log_chances = special.log_softmax(logits.astype(np.float64), axis=-1)
    losses = [
        -log_chances[i, t, label]
        for i, row in enumerate(labels)
        for t, label in enumerate(row)
        if label != IGNORED
    ]
    return np.exp(np.mean(losses))


LOGITS, ONE_CLASS = grid(np.random.default_rng(1), N, 2), np.zeros(N, int)
NO_TOKENS = np.zeros((N, TIME, CLASSES), np.float32), np.full((N, TIME), IGNORED)
CASES = [
    Case(metrics.accuracy(), classified, by_answers(sk.accuracy_score), hot),
    Case(metrics.top_k(2), classified, top_2, hot),
    Case(
        metrics.agreement(),
        two_models,
        lambda logits, others: sk.accuracy_score(answer(logits), answer(others)),
        itself,
    ),
    Case(
        metrics.balanced_accuracy(),
        classified,
        by_answers(sk.balanced_accuracy_score),
        hot,
        (LOGITS, ONE_CLASS),
    ),
    Case(metrics.precision(), binary, by_answers(sk.precision_score), hot, (LOGITS, ONE_CLASS)),
    Case(metrics.recall(), binary, by_answers(sk.recall_score), hot, (LOGITS, ONE_CLASS)),
    Case(metrics.f1(), binary, by_answers(sk.f1_score), hot, (LOGITS, ONE_CLASS)),
    Case(metrics.macro_f1(), classified, by_answers(sk.f1_score, average="macro"), hot),
    Case(
        metrics.micro_f1(),
        many_labels,
        lambda logits, labels: sk.f1_score(labels, logits > 0, average="micro"),
        lambda labels: 2.0 * labels - 1,
        (np.ones((N, CLASSES), np.float32), np.zeros((N, CLASSES), int)),
    ),
    Case(
        metrics.matthews(),
        classified,
        by_answers(sk.matthews_corrcoef),
        hot,
        (LOGITS, ONE_CLASS),
    ),
    Case(metrics.cross_entropy(), classified, by_chance(sk.log_loss), hot),
    Case(metrics.brier(), classified, brier, hot),
    Case(metrics.calibration_error(bins=5), classified, equal_width, hot),
    Case(metrics.adaptive_calibration_error(bins=4), classified, equal_mass, hot),
    Case(metrics.kl_divergence(), two_models, divergence, itself),
    Case(
        metrics.roc_auc(),
        scored,
        lambda scores, labels: sk.roc_auc_score(labels, scores),
        itself,
        (LOGITS, ONE_CLASS),
    ),
    Case(
        metrics.macro_roc_auc(),
        doubled,
        lambda logits, labels: sk.roc_auc_score(labels, chances(logits), multi_class="ovr"),
        hot,
        (LOGITS, ONE_CLASS),
    ),
    Case(
        metrics.average_precision(),
        binary,
        lambda logits, labels: sk.average_precision_score(labels, difference(logits)),
        lambda labels: hot(labels)[:, :2],
        (LOGITS, ONE_CLASS),
    ),
    Case(metrics.perplexity(ignore=IGNORED), tokens, of_tokens, hot_tokens, NO_TOKENS),
    Case(
        metrics.mean_squared_error(),
        numbers,
        lambda outputs, targets: sk.mean_squared_error(targets, outputs),
        itself,
    ),
    Case(
        metrics.root_mean_squared_error(),
        pairs,
        lambda outputs, targets: sk.root_mean_squared_error(targets, outputs),
        itself,
    ),
    Case(
        metrics.mean_absolute_error(),
        numbers,
        lambda outputs, targets: sk.mean_absolute_error(targets, outputs),
        itself,
    ),
    Case(
        metrics.max_error(),
        pairs,
        lambda outputs, targets: sk.max_error(targets, outputs),
        itself,
    ),
    Case(
        metrics.r2(),
        numbers,
        lambda outputs, targets: sk.r2_score(targets, outputs),
        itself,
        (np.ones((N, 2)), np.full((N, 2), 0.1)),
    ),
    Case(
        metrics.spearman(),
        pairs,
        lambda outputs, targets: stats.spearmanr(outputs, targets)[0],
        itself,
        (np.arange(float(N)), np.ones(N)),
    ),
    Case(
        metrics.kendall(),
        pairs,
        lambda outputs, targets: stats.kendalltau(outputs, targets)[0],
        itself,
        (np.ones(N), np.arange(float(N))),
    ),
]
