"""Two recipes on the same folds: the difference of their scores, corrected."""

import dataclasses
from typing import Any

import numpy as np

from jaxcompress.core.kinds import check_kind, check_text
from jaxcompress.validate.cards.findings import Figure, Finding
from jaxcompress.validate.cross_validation.results import CrossValidation
from jaxcompress.validate.cross_validation.statistics import corrected
from jaxcompress.validate.intervals import check_confidence


@dataclasses.dataclass(frozen=True)
class FoldComparison:
    """How a candidate's scores differ from a reference's on the same folds.

    Invariants:
      - Differences are candidate minus reference, in the unit of the score.
      - `interval` has 0 inside exactly where `p_value` > 1 - confidence.

    Args:
      name: of the score.
      differences: one per fold.
      difference: their mean.
      standard_error: corrected, see `corrected_interval`.
      interval: (low, high), corrected.
      p_value: of "both recipes have the same expected score", two-sided.
      confidence: of the interval.
    """

    name: str
    differences: tuple[float, ...]
    difference: float
    standard_error: float
    interval: tuple[float, float]
    p_value: float
    confidence: float

    @property
    def verdict(self) -> str:
        """What the interval allows to say, in words."""
        low, high = self.interval
        if not any(self.differences):
            return f"no difference of {self.name} on these folds"
        if low > 0:
            return f"{self.name} higher by {low:.3g} to {high:.3g}"
        if high < 0:
            return f"{self.name} lower by {-high:.3g} to {-low:.3g}"
        return f"no difference of {self.name} shown: {low:.3g} to {high:.3g}"

    def finding(self) -> Finding:
        """For a card: the difference, without a claim, since no margin was set."""
        difference = Figure(
            f"{self.name} difference", self.difference, self.interval, self.confidence, "+.4g"
        )
        return Finding(
            "cross-validation",
            f"Against the reference recipe on the same {len(self.differences)} folds: "
            f"{self.verdict}.",
            (difference, Figure("p", self.p_value, format=".2g")),
        )

    def to_json(self) -> dict[str, Any]:
        """All fields and the verdict, as plain numbers, lists and words."""
        lists = {"differences": list(self.differences), "interval": list(self.interval)}
        return dataclasses.asdict(self) | lists | {"verdict": self.verdict}


def compare_folds(
    reference: CrossValidation,
    candidate: CrossValidation,
    name: str,
    *,
    confidence: float = 0.95,
) -> FoldComparison:
    """How a score of two recipes differs, fold by fold.

    Not for: two given models on one test set; `compare` tells more.

    What makes a fold hard for both cancels. The difference is one of recipes trained on
    other examples of the same kind; of two given models `compare` tells more.

        t = mean / sqrt(s² · (1 / k + n_test / n_train)),  k - 1 degrees of freedom

    Args:
      reference: of the recipe compared against, usually without compression.
      candidate: of the other recipe on the same folds; take the same key for both.
      name: of the score.
      confidence: of the interval, in (0, 1).

    Returns:
      The comparison; `.verdict` says it in words.

    Raises:
      TypeError: an argument is of another kind.
      ValueError: other folds, fewer than two, no scores of this name, or a wrong
        confidence.

    Example:
      >>> folds = tuple(jc.validate.splits.k_fold(8, folds=4))
      >>> values = [{"error": np.full(2, 1.0 + k)} for k in range(4)]
      >>> result = jc.validate.cross_validation.CrossValidation(folds, tuple(values))
      >>> compared = jc.validate.cross_validation.compare_folds(result, result, "error")
      >>> compared.p_value, compared.verdict
      (1.0, 'no difference of error on these folds')

    Also known as: corrected resampled paired t-test.

    Source: Nadeau and Bengio 2003, Machine Learning 52, section 3; of repeated folds
    Bouckaert and Frank 2004, PAKDD.
    """
    for argument, given in {"reference": reference, "candidate": candidate}.items():
        check_kind("compare_folds", argument, given, CrossValidation, "cross_validate gives it.")
    check_text("compare_folds", "name", name)
    confidence = check_confidence("compare_folds", confidence)
    _check_same(reference, candidate)
    for argument, given in {"reference": reference, "candidate": candidate}.items():
        if name not in given.scored:
            raise ValueError(
                f"compare_folds(name={name!r}): {argument} has scores of "
                f"{', '.join(given.scored) or 'nothing'}."
            )
    differences = candidate.scores(name) - reference.scores(name)
    found = corrected(differences, reference.test_over_train, confidence)
    return FoldComparison(
        name=name,
        differences=tuple(differences.tolist()),
        difference=found.mean,
        standard_error=found.standard_error,
        interval=found.interval,
        p_value=found.p_value,
        confidence=confidence,
    )


def _check_same(reference: CrossValidation, candidate: CrossValidation) -> None:
    counts = len(reference.folds), len(candidate.folds)
    if counts[0] != counts[1] or counts[0] < 2:
        raise ValueError(
            f"compare_folds(reference of {counts[0]} folds, candidate of {counts[1]}) needs the "
            "same folds in both, at least two."
        )
    for number, pair in enumerate(zip(reference.folds, candidate.folds, strict=True)):
        for part, one, other in zip(("trains", "tests"), *pair, strict=True):
            if not np.array_equal(one, other):
                raise ValueError(
                    f"compare_folds(reference, candidate): fold {number} {part} on other examples "
                    "in each. Pass the same splits to both."
                )
