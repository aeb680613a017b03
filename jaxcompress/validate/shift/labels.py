"""Shares of classes in new data without labels, from a classifier's confusion."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.core.checks import check_count
from jaxcompress.validate.arrays import known
from jaxcompress.validate.cards.findings import FAILS, UNDECIDED, Figure, Finding, Result
from jaxcompress.validate.intervals import check_confidence

RESAMPLES = 1999
WORST_CONDITION = 1e4
"""Of the confusion matrix: errors of its shares grow by up to this factor."""


@dataclasses.dataclass(frozen=True, eq=False)
class LabelShift(Result):
    """Estimated shares of the classes in new data.

    Invariants:
      - Arrays have the shape (classes,), and intervals (classes, 2).

    Args:
      n: labelled examples of the reference.
      m: new examples.
      reference: shares of the classes among the labels; they sum to 1.
      new: estimated shares in the new data; they sum to 1, and lie outside of [0, 1]
        by no more than the error of the estimate.
      intervals: of the new shares, percentile bootstrap.
      p: of "the predictions have the same distribution in both", chi-squared.
      confidence: of each interval.
    """

    n: int
    m: int
    reference: np.ndarray
    new: np.ndarray
    intervals: np.ndarray
    p: float
    confidence: float

    @property
    def weights(self) -> np.ndarray:
        """(classes,), new share over reference share: weights of the training loss."""
        return self.new / self.reference

    def finding(self) -> Finding:
        """For a card: the class whose share moved most."""
        worst = int(np.argmax(np.abs(self.new - self.reference)))
        shifted = self.p <= 1 - self.confidence
        share = Figure(
            "its estimated share",
            float(self.new[worst]),
            (float(self.intervals[worst, 0]), float(self.intervals[worst, 1])),
            self.confidence,
            ".1%",
        )
        return Finding(
            "input shift",
            f"Predictions on {self.m:,} new examples are "
            + (
                "distributed otherwise than"
                if shifted
                else "not shown to be distributed other than"
            )
            + f" on {self.n:,} labelled ones. If only the shares of the classes changed, class "
            f"{worst} moved most, from {self.reference[worst]:.1%}.",
            (share, Figure("p", self.p, format=".2g")),
            FAILS if shifted else UNDECIDED,
        )

    def to_json(self) -> dict[str, Any]:
        """All fields as plain numbers and lists."""
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in dataclasses.asdict(self).items()
        }


def label_shift(
    predictions: ArrayLike,
    labels: ArrayLike,
    new_predictions: ArrayLike,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> LabelShift:
    """Estimates how often each class occurs in new data, without their labels.

    Not for: inputs that look otherwise within a class; take `drift`.

    If inputs of each class look as before and only shares of classes changed, then

        share of new predictions i = sum_j P(prediction i | class j) · share of class j

    which is solved for the shares; P is counted on labelled examples.

    Also known as: BBSE, black-box shift estimation; prior shift; quantification by
    adjusted counts.

    Args:
      predictions: (n,), integer, what the model answers on labelled examples that it
        was not trained on.
      labels: (n,), integer in [0, classes); each class occurs.
      new_predictions: (m,), integer, what it answers on the new ones.
      confidence: of the intervals, in (0, 1).
      seed: of the resampling.

    Returns:
      The shares with intervals. They are wrong where inputs of a class changed.

    Raises:
      TypeError: classes are not integers.
      ValueError: lengths differ, a class has no label, a prediction is out of range,
        the classifier cannot tell classes apart, or an option is out of range.

    Example:
      >>> labels = np.repeat([0, 1], 100)
      >>> predictions = np.where(np.arange(200) % 10, labels, 1 - labels)  # 90 % right
      >>> new_predictions = np.repeat([0, 1], [26, 74])
      >>> jc.validate.shift.label_shift(predictions, labels, new_predictions).new
      array([0.2, 0.8])

    Source: Lipton, Wang and Smola 2018, arXiv:1802.03916, sections 3 and 4; Saerens et
    al. 2002 call the shares priors. The bootstrap of both sets is ours.
    """
    caller = "label_shift"
    named = {"predictions": predictions, "labels": labels, "new_predictions": new_predictions}
    answers, truth, new = (_classes(caller, name, each) for name, each in named.items())
    confidence = check_confidence(caller, confidence)
    seed = check_count(caller, "seed", seed, least=0)
    if answers.shape != truth.shape:
        raise ValueError(
            f"{caller}(predictions of {answers.size} examples, labels of {truth.size}) needs the"
            " same examples in both."
        )
    classes = int(truth.max()) + 1
    for name, each in {"predictions": answers, "new_predictions": new}.items():
        if each.max() >= classes:
            raise ValueError(
                f"{caller}({name}) holds class {each.max()}, and the labels go to {classes - 1}."
            )
    totals = np.bincount(truth, minlength=classes)
    if classes < 2 or not totals.all():
        missing = int(np.argmin(totals))
        raise ValueError(
            f"{caller}(labels) needs two classes or more, each with examples; there is "
            + (f"none of class {missing}." if not totals.all() else "class 0 alone.")
        )
    confusion = np.zeros((classes, classes), np.int64)  # (prediction, class)
    np.add.at(confusion, (answers, truth), 1)
    condition = np.linalg.cond(confusion / totals)
    if condition > WORST_CONDITION:
        raise ValueError(
            f"{caller}(predictions): the model answers so alike on some classes (condition number "
            f"{condition:.0e} of its confusion) that their shares cannot be told apart. Merge them."
        )
    counts = np.bincount(new, minlength=classes)
    shares = np.linalg.solve(confusion / totals, counts / new.size)
    resampled = _resampled(confusion, counts, seed)
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    return LabelShift(
        n=truth.size,
        m=new.size,
        reference=totals / truth.size,
        new=shares,
        intervals=np.quantile(resampled, tails, axis=0).T,
        p=_same_predictions(confusion.sum(axis=1), counts),
        confidence=confidence,
    )


def _resampled(confusion: np.ndarray, counts: np.ndarray, seed: int) -> np.ndarray:
    """Shares from bootstrap samples of both sets, (resamples, classes).

    Each class keeps its number of labelled examples.
    """
    rng = np.random.default_rng(seed)
    totals = confusion.sum(axis=0)
    columns = rng.multinomial(totals, (confusion / totals).T, size=(RESAMPLES, len(totals)))
    drawn = rng.multinomial(counts.sum(), counts / counts.sum(), size=RESAMPLES)
    inverse = np.linalg.pinv(np.swapaxes(columns / totals[:, None], 1, 2))
    return np.einsum("rij,rj->ri", inverse, drawn / counts.sum())


def _same_predictions(before: np.ndarray, now: np.ndarray) -> float:
    from scipy import stats

    table = np.stack([before, now])
    table = table[:, table.any(axis=0)]
    if table.shape[1] < 2:
        return 1.0
    test: Any = stats.chi2_contingency(table)
    return float(test.pvalue)


def _classes(caller: str, argument: str, values: ArrayLike) -> np.ndarray:
    array = known(caller, argument, values)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{caller}({argument} of dtype {array.dtype}) needs integer classes.")
    if array.ndim != 1 or not array.size or array.min() < 0:
        raise ValueError(
            f"{caller}({argument} of shape {array.shape}) needs the shape (n,), n at least 1, and "
            "no class below 0."
        )
    return array.astype(np.int64)
