"""What cross-validation keeps: the values of all tested examples, fold by fold."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxcompress.core.kinds import check_function, check_kind
from jaxcompress.core.messages import shown
from jaxcompress.core.report import signed
from jaxcompress.validate.cards.findings import Figure, Finding
from jaxcompress.validate.cross_validation.statistics import Corrected, corrected
from jaxcompress.validate.intervals import check_confidence, wilson
from jaxcompress.validate.metrics.metric import Mean, Metric
from jaxcompress.validate.splits.fold import Fold

Values = dict[str, np.ndarray]
"""Of one fold, by name: arrays whose first axis is that of the fold's test examples."""


@dataclasses.dataclass(frozen=True, eq=False)
class CrossValidation:
    """The values that models of all folds gave the examples they were not trained on.

    Invariants:
      - Each fold has values of the same names; each array is NumPy and finite, with
        first axis n_test in the order of the fold's test indices.
      - A *score* is the mean of a fold's values (n_test,). Values of more axes, such as
        outputs, have none, see `by_fold`; nor have parts of a metric's statistics,
        whose names hold a "/", see `by_metric`.
      - Statistics weigh folds alike. Standard errors and intervals are corrected for
        training sets that overlap, see `corrected_interval`; no estimator of this
        variance is unbiased.

    Args:
      folds: what was trained and tested on.
      values: one dict per fold.
      in_turn: why folds ran one after the other; empty where one program ran them.
    """

    folds: tuple[Fold, ...]
    values: tuple[Values, ...]
    in_turn: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all values, also of those without scores."""
        return tuple(self.values[0])

    @property
    def scored(self) -> tuple[str, ...]:
        """The names of the values that have scores."""
        first = self.values[0]
        return tuple(name for name in first if first[name].ndim == 1 and "/" not in name)

    @property
    def test_over_train(self) -> float:
        """Tested examples per training example, n_test / n_train over all folds."""
        tested = sum(fold.test.size for fold in self.folds)
        return tested / sum(fold.train.size for fold in self.folds)

    def scores(self, name: str) -> np.ndarray:
        """The scores of the folds, (k,) float64.

        Raises:
          KeyError: there is no value of this name.
          ValueError: it has no scores.
        """
        self._check_name("scores", name)
        if name not in self.scored:
            shape = self.values[0][name].shape
            raise ValueError(
                f"CrossValidation.scores({name!r}): values of shape {shape} have no mean. Take "
                "by_fold with a function of them, or by_metric of statistics."
            )
        return np.array([fold[name].mean(dtype=np.float64) for fold in self.values])

    def by_fold(self, function: Callable[[Values, Fold], float]) -> np.ndarray:
        """A figure of each fold that is no mean over examples, such as an AUC.

        Args:
          function: `function(values, fold) -> number`; `fold.test` says which examples
            the values are of.

        Returns:
          (k,) float64; `corrected_interval` takes it with `test_over_train`.
        """
        check_function("by_fold", "function", function, "It is function(values, fold) -> number.")
        pairs = zip(self.values, self.folds, strict=True)
        return np.array([function(values, fold) for values, fold in pairs], np.float64)

    def by_metric(self, metric: Metric) -> np.ndarray:
        """The figure of each fold by one of the metrics given to `evaluating`.

        Returns:
          (k,) float64; `corrected_interval` takes it with `test_over_train`.

        Raises:
          TypeError: it is no metric.
          KeyError: there are no values of its name.
          ValueError: it is not defined for the examples of a fold.
        """
        check_kind("by_metric", "metric", metric, Metric, "Such as metrics.accuracy().")
        prefix = f"{metric.name}/"
        parts = {name.removeprefix(prefix): name for name in self.names if name.startswith(prefix)}
        if parts:
            return self.by_fold(
                lambda values, fold: metric.value({part: values[parts[part]] for part in parts})
            )
        self._check_name("by_metric", metric.name)
        if isinstance(metric.summary, Mean):
            return self.scores(metric.name)
        return self.by_fold(lambda values, fold: metric.value(values[metric.name]))

    def mean(self, name: str) -> float:
        """The mean of the scores."""
        return float(self.scores(name).mean())

    def standard_error(self, name: str) -> float:
        """The corrected standard error of the mean score; needs two folds."""
        return self._corrected(name, 0.95).standard_error

    def interval(self, name: str, *, confidence: float = 0.95) -> tuple[float, float]:
        """The corrected interval of the mean score; needs two folds.

        That of a share, whose values are all 0 or 1, ends at 0 and 1. Where all folds
        have the same share, their spread tells nothing: it is `wilson` of all examples
        that were tested, of which each counts once.
        """
        confidence = check_confidence("interval", confidence)
        found = self._corrected(name, confidence)
        if not all(np.isin(fold[name], (0, 1)).all() for fold in self.values):
            return found.interval
        if not found.standard_error:
            return wilson(
                round(found.mean * self.tested.size), self.tested.size, confidence=confidence
            )
        low, high = found.interval
        return max(low, 0.0), min(high, 1.0)

    @property
    def tested(self) -> np.ndarray:
        """The examples that were tested at least once, ascending int64 indices."""
        return np.unique(np.concatenate([fold.test for fold in self.folds]))

    def out_of_fold(self, name: str) -> np.ndarray:
        """The values of the tested examples in their order, by models without them.

        Returns:
          (tested, …), the i-th of example `tested[i]`; the mean of its values where an
          example was tested several times.

        Raises:
          KeyError: there is no value of this name.
        """
        self._check_name("out_of_fold", name)
        examples = np.concatenate([fold.test for fold in self.folds])
        given = np.concatenate([fold[name] for fold in self.values])
        _, places, counts = np.unique(examples, return_inverse=True, return_counts=True)
        if counts.max() == 1:
            return given[np.argsort(examples)]
        sums = np.zeros((counts.size, *given.shape[1:]))
        np.add.at(sums, places.reshape(-1), given)
        return sums / counts.reshape(-1, *[1] * (given.ndim - 1))

    def __str__(self) -> str:
        """A line on the folds, and why they ran in turn if so; one line per score."""
        way = f"in turn: {self.in_turn}" if self.in_turn else "in one program"
        lines = [f"{len(self.folds)} fold{'s' * (len(self.folds) > 1)} {way}"]
        width = max(map(len, self.scored), default=0)
        for name in self.scored:
            line = f"{name:{width}}  {signed(self.mean(name), '.4g')}"
            if len(self.folds) > 1:
                low, high = (signed(end, ".4g") for end in self.interval(name))
                line += f"  ({low} to {high})"
            lines.append(line)
        return "\n".join(lines)

    def finding(self) -> Finding:
        """For a card: the mean scores and their intervals, without a claim."""
        several = len(self.folds) > 1
        figures = tuple(
            Figure(name, self.mean(name), self.interval(name) if several else None)
            for name in self.scored
        )
        tested = f"{self.tested.size:,} example{'s' * (self.tested.size > 1)}"
        times = f"{len(self.folds)} times" if several else "once"
        return Finding(
            "cross-validation",
            f"The recipe was carried out {times} and judged on examples that it had left out, "
            f"{tested} in all.",
            figures,
            needs=() if several else ("Two folds or more, from whose spread an interval comes.",),
        )

    def to_json(self) -> dict[str, Any]:
        """All fields and the statistics of the scores, as plain values."""
        statistics = {name: self._statistics(name) for name in self.scored}
        return {
            "folds": [
                {"train": train.tolist(), "test": test.tolist()} for train, test in self.folds
            ],
            "values": [
                {
                    name: {"dtype": str(value.dtype), "values": value.tolist()}
                    for name, value in fold.items()
                }
                for fold in self.values
            ],
            "in_turn": self.in_turn,
            "statistics": statistics,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "CrossValidation":
        """What `to_json` described."""
        return cls(
            tuple(
                Fold(np.asarray(fold["train"], np.int64), np.asarray(fold["test"], np.int64))
                for fold in record["folds"]
            ),
            tuple(
                {name: np.asarray(value["values"], value["dtype"]) for name, value in fold.items()}
                for fold in record["values"]
            ),
            record["in_turn"],
        )

    def _statistics(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = {"scores": self.scores(name).tolist(), "mean": self.mean(name)}
        if len(self.folds) > 1:
            found |= {
                "standard_error": self.standard_error(name),
                "interval": list(self.interval(name)),
            }
        return found

    def _corrected(self, name: str, confidence: float) -> Corrected:
        scores = self.scores(name)
        if scores.size < 2:
            raise ValueError(
                "CrossValidation: one fold has no spread, from which an interval could come. Take "
                "two folds or more, or an interval of its values: validate.mean_interval."
            )
        return corrected(scores, self.test_over_train, confidence)

    def _check_name(self, method: str, name: object) -> None:
        if name not in self.names:
            raise KeyError(
                f"CrossValidation.{method}({shown(name)}): the values are named "
                f"{', '.join(self.names)}."
            )
