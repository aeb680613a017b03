"""What an evaluation keeps: losses and answers per example, and their means.

A paired comparison needs them example by example.
"""

import dataclasses
from typing import Any

import numpy as np

from jaxcompress.core.kinds import check_kind
from jaxcompress.validate.cards.findings import Figure, Finding
from jaxcompress.validate.intervals import mean_interval, wilson

ONE_EACH = "It has one entry per example."


class PerExample:
    """What follows from the losses of examples alone."""

    loss: np.ndarray

    @property
    def n(self) -> int:
        """Number of examples."""
        return self.loss.size

    @property
    def mean_loss(self) -> float:
        """Mean of the losses, in their unit."""
        return float(self.loss.mean(dtype=np.float64))

    @property
    def mean_loss_interval(self) -> tuple[float, float]:
        """Student's interval of the mean loss; needs two examples."""
        return mean_interval(self.loss)

    def finding(self) -> Finding:
        """For a card: the mean loss."""
        statement = f"The mean loss over {self.n:,} examples is {self.mean_loss:.4g}."
        return Finding("held-out performance", statement, (self._loss_figure,))

    @property
    def _loss_figure(self) -> Figure:
        interval = self.mean_loss_interval if self.n > 1 else None
        return Figure("mean loss", self.mean_loss, interval, format=".4g")


@dataclasses.dataclass(frozen=True, eq=False)
class Losses(PerExample):
    """Losses per example by a loss of the caller's own, and their mean.

    Invariants:
      - `loss` is NumPy, of shape (n,), n at least 1, finite, in the order of the
        examples.

    Args:
      loss: (n,) float32, in the unit of the loss.
    """

    loss: np.ndarray

    def __post_init__(self):
        check_kind("Losses", "loss", self.loss, np.ndarray, ONE_EACH)
        if self.loss.ndim != 1 or not self.loss.size:
            raise ValueError(f"Losses(loss {np.shape(self.loss)}) needs the shape (n,), n >= 1.")
        _check_finite("Losses", self.loss, "Check model, targets and loss there.")

    def to_json(self) -> dict[str, Any]:
        """The losses as plain numbers; `from_json` reads them back exactly."""
        return {"loss": self.loss.tolist()}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Losses":
        """The losses that `to_json` described."""
        return cls(np.asarray(record["loss"], np.float32))


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation(PerExample):
    """A classifier's predictions and losses per example, and their means.

    Invariants:
      - The three arrays are NumPy, of shape (n,), n at least 1, in the order
        of the examples.
      - `correct` is bool; `loss` is finite, in nats; `predictions` are integer classes.
      - Figures are computed from the arrays; intervals have confidence 0.95.

    Args:
      correct: (n,) bool, whether the answer is the label.
      loss: (n,) float32, cross-entropy.
      predictions: (n,) integer, the class answered.
    """

    correct: np.ndarray
    loss: np.ndarray
    predictions: np.ndarray

    def __post_init__(self):
        for field in ("correct", "loss", "predictions"):
            check_kind("Evaluation", field, getattr(self, field), np.ndarray, ONE_EACH)
        shapes = {np.shape(value) for value in (self.correct, self.loss, self.predictions)}
        if len(shapes) > 1 or self.correct.ndim != 1 or not self.correct.size:
            raise ValueError(
                f"Evaluation(correct {np.shape(self.correct)}, loss {np.shape(self.loss)},"
                f" predictions {np.shape(self.predictions)}): all need one shape (n,), n >= 1."
            )
        if self.correct.dtype != np.bool_:
            raise TypeError(f"Evaluation(correct of dtype {self.correct.dtype}) must be bool.")
        _check_finite("Evaluation", self.loss, "The model rules out the label there.")

    @property
    def accuracy(self) -> float:
        """Fraction of examples answered correctly, in [0, 1]."""
        return float(self.correct.mean())

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """Wilson's interval of the accuracy."""
        return wilson(int(self.correct.sum()), self.n)

    def finding(self) -> Finding:
        """For a card: the accuracy and the mean loss."""
        statement = f"Answers {int(self.correct.sum()):,} of {self.n:,} examples correctly."
        accuracy = Figure("accuracy", self.accuracy, self.accuracy_interval, format=".2%")
        return Finding("held-out performance", statement, (accuracy, self._loss_figure))

    def to_json(self) -> dict[str, Any]:
        """The arrays as lists of plain numbers; `from_json` reads them back exactly."""
        return {
            "correct": self.correct.tolist(),
            "loss": self.loss.tolist(),
            "predictions": self.predictions.tolist(),
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Evaluation":
        """The evaluation that `to_json` described."""
        return cls(
            correct=np.asarray(record["correct"], np.bool_),
            loss=np.asarray(record["loss"], np.float32),
            predictions=np.asarray(record["predictions"], np.int32),
        )


def _check_finite(caller: str, losses: np.ndarray, mend: str) -> None:
    bad = np.flatnonzero(~np.isfinite(losses))
    if bad.size:
        raise ValueError(
            f"{caller}(loss): {bad.size} of {losses.size} losses are not finite, the first is"
            f" loss[{bad[0]}] = {losses[bad[0]]}. {mend}"
        )
