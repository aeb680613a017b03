"""What an evaluation keeps: the scores of several metrics on one set of examples.

A paired comparison needs them example by example.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jaxcompress.core.digests import DIGEST_BYTES
from jaxcompress.core.kinds import check_kind, check_mapping
from jaxcompress.validate.cards.findings import Finding
from jaxcompress.validate.metrics.metric import Metric
from jaxcompress.validate.scores import Score


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Evaluation(Mapping[str, Score]):
    """The scores of a model by the names of the metrics, on one set of examples.

    `print` it for accuracy and the other figures with their intervals.

    `accuracy`, `correct`, `predictions` and `labels` are there with the metric
    `accuracy`, `mean_loss` and `loss` with a metric named "loss"; every other is
    `evaluation["name"]`.

    Invariants:
      - All scores are of the same n examples, in one order.

    Args:
      scores: by metric name.
      fingerprints: uint8 (n, 16), what `leakage.fingerprints` gives for the inputs in
        the dtypes that the model gets them in. By these comparisons know that two
        models were given the same examples, and that calibration data hold none.
      target_fingerprints: uint8 (n, 16), the same of the targets, by which comparisons
        know that both models were judged by the same ones.

    Raises:
      TypeError: a field is of another kind.
      ValueError: there is no score, one has another name than its metric, or numbers of
        examples differ.
    """

    scores: Mapping[str, Score]
    fingerprints: np.ndarray
    target_fingerprints: np.ndarray

    def __post_init__(self) -> None:
        check_mapping("Evaluation", "scores", self.scores, "It is Score by metric name.")
        for name, score in self.scores.items():
            check_kind("Evaluation", "scores", score, Score, "validate.evaluate makes them.")
            if score.metric.name != name:
                raise ValueError(
                    f"Evaluation(scores): the score {name!r} is of the metric"
                    f" {score.metric.name!r}. Give it under its own name."
                )
        counts = {name: score.n for name, score in self.scores.items()}
        shape = (next(iter(counts.values()), 0), DIGEST_BYTES)
        for field, source in {"fingerprints": "inputs", "target_fingerprints": "targets"}.items():
            digests, mend = getattr(self, field), f"leakage.fingerprints makes it of the {source}."
            check_kind("Evaluation", field, digests, np.ndarray, mend)
            if digests.dtype != np.uint8:
                raise TypeError(
                    f"Evaluation({field} of dtype {digests.dtype}) must be uint8. {mend}"
                )
            if len(set(counts.values())) != 1 or digests.shape != shape:
                raise ValueError(
                    f"Evaluation({field} of shape {digests.shape}, scores of {counts} examples)"
                    " needs one score or more, all of the same examples."
                )

    def __getitem__(self, name: str) -> Score:
        """The score of a metric.

        Raises:
          KeyError: it was not measured.
        """
        if name not in self.scores:
            raise KeyError(f"the evaluation has no {name!r}, but {', '.join(self.scores)}")
        return self.scores[name]

    def __repr__(self) -> str:
        figures = ", ".join(f"{name} {score.value:.4g}" for name, score in self.items())
        return f"Evaluation({figures} of {self.n:,} examples)"

    def __str__(self) -> str:
        """Accuracy or the first metric with its interval, then a line of the others."""
        first, *others = sorted(self, key=lambda name: name != "accuracy")
        lines = [f"{self[first]}", "; ".join(f"{self[name]}" for name in others)]
        told = f"{self.n:,} example{'s' * (self.n != 1)}; 95 % intervals in parentheses"
        return "\n".join([*filter(None, lines), told])

    def __iter__(self) -> Iterator[str]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def n(self) -> int:
        """Number of examples."""
        return len(self.fingerprints)

    @property
    def accuracy(self) -> float:
        """Fraction of examples answered correctly, in [0, 1]."""
        return self["accuracy"].value

    @property
    def correct(self) -> np.ndarray:
        """(n,) bool, whether the answer is the label."""
        return self["accuracy"].per_example

    @property
    def predictions(self) -> np.ndarray:
        """(n,) int32, the class answered."""
        return self._answers["predicted"]

    @property
    def labels(self) -> np.ndarray:
        """(n,) int32, the class it should be."""
        return self._answers["label"]

    @property
    def _answers(self) -> Mapping[str, np.ndarray]:
        answers = self["accuracy"].statistics
        if not isinstance(answers, Mapping) or not {"predicted", "label"} <= answers.keys():
            raise ValueError(
                "Evaluation: the metric 'accuracy' is not that of validate.metrics, so it has no"
                " predictions and labels. Give yours another name."
            )
        return answers

    @property
    def mean_loss(self) -> float:
        """Mean of the losses, in their unit."""
        return self["loss"].value

    @property
    def loss(self) -> np.ndarray:
        """(n,) the loss of each example, in nats where it is cross-entropy."""
        return self["loss"].per_example

    def finding(self) -> Finding:
        """For a card: every metric with its interval."""
        were = "were" if len(self) > 1 else "was"
        statement = f"{', '.join(self)} {were} measured on {self.n:,} examples."
        if "accuracy" in self:
            right = int(self.correct.sum())
            statement = f"Answers {right:,} of {self.n:,} examples correctly."
        figures = tuple(score.figure() for score in self.values())
        return Finding("held-out performance", statement, figures)

    def to_json(self) -> dict[str, Any]:
        """Scores and digests as plain values, which `from_json` reads back exactly."""
        return {
            "scores": {name: score.to_json() for name, score in self.scores.items()},
            "fingerprints": _hex(self.fingerprints),
            "target_fingerprints": _hex(self.target_fingerprints),
        }

    @classmethod
    def from_json(cls, record: dict[str, Any], metrics: Sequence[Metric]) -> "Evaluation":
        """The evaluation that `to_json` described.

        Args:
          record: what it gave.
          metrics: those that were measured, since functions are not in the record.

        Returns:
          The evaluation, with the scores of these metrics.

        Raises:
          KeyError: a metric is not in the record.
        """
        return cls(
            {each.name: Score.from_json(record["scores"][each.name], each) for each in metrics},
            _digests(record["fingerprints"]),
            _digests(record["target_fingerprints"]),
        )


def _hex(fingerprints: np.ndarray) -> list[str]:
    return [digest.tobytes().hex() for digest in fingerprints]


def _digests(lines: list[str]) -> np.ndarray:
    return np.frombuffer(bytes.fromhex("".join(lines)), np.uint8).reshape(-1, DIGEST_BYTES)
