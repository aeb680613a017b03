"""Two recipes on the same folds: the difference of their scores, corrected."""

import dataclasses
from typing import Any

import numpy as np

from jaxcompress.core.checks import check_positive
from jaxcompress.core.kinds import check_kind, check_text
from jaxcompress.core.report import signed
from jaxcompress.validate.cards.findings import FAILS, HOLDS, UNDECIDED, Figure, Finding
from jaxcompress.validate.cross_validation.results import CrossValidation
from jaxcompress.validate.cross_validation.statistics import corrected
from jaxcompress.validate.intervals import check_confidence
from jaxcompress.validate.words import against_margin, not_decided


@dataclasses.dataclass(frozen=True)
class FoldComparison:
    """How a candidate's scores differ from a reference's on the same folds.

    Invariants:
      - Differences are candidate minus reference, in the unit of the score.
      - `interval` has 0 inside exactly where `p_value` > 1 - confidence.
      - `margin` and `higher_is_better` are both given, or both None.

    Args:
      name: of the score.
      differences: one per fold.
      difference: their mean.
      standard_error: corrected, see `corrected_interval`.
      interval: (low, high), corrected.
      p_value: of "both recipes have the same expected score", two-sided.
      confidence: of the interval.
      margin: difference of the score that matters; None where none was set.
      higher_is_better: the direction of the score; None without a margin.
    """

    name: str
    differences: tuple[float, ...]
    difference: float
    standard_error: float
    interval: tuple[float, float]
    p_value: float
    confidence: float
    margin: float | None = None
    higher_is_better: bool | None = None

    @property
    def gain(self) -> tuple[float, float]:
        """The interval where more is better, (low, high); as it is without a margin."""
        low, high = self.interval
        return (-high, -low) if self.higher_is_better is False else (low, high)

    @property
    def verdict(self) -> str:
        """The interval, against the margin where one was set, in words."""
        low, high = self.interval
        if not any(self.differences):
            return f"no difference of {self.name} on these folds"
        if self.margin is not None:
            return against_margin(*self.gain, self.margin, _span, f"{self.margin:g}")
        if low > 0:
            return f"{self.name} higher by {_span(low, high)}"
        if high < 0:
            return f"{self.name} lower by {_span(-high, -low)}"
        return not_decided(self.name, low, high)

    def __str__(self) -> str:
        change, low, high = (signed(value, "+.4g") for value in (self.difference, *self.interval))
        folds = len(self.differences)
        return f"{self.name} {change} [{low}, {high}] on {folds} folds: {self.verdict}"

    def finding(self) -> Finding:
        """For a card: whether a loss of the margin is ruled out, where one was set."""
        difference = Figure(
            f"{self.name} difference", self.difference, self.interval, self.confidence, "+.4g"
        )
        statement = (
            f"Against the reference recipe on the same {len(self.differences)} folds: "
            f"{self.verdict}."
        )
        figures = (difference, Figure("p", self.p_value, format=".2g"))
        if self.margin is None:
            return Finding("cross-validation", statement, figures)
        ruled_out = f" A loss of {self.margin:g} or more was to be ruled out."
        outcome, needs = self._judged(self.margin)
        return Finding("cross-validation", statement + ruled_out, figures, outcome, needs)

    def _judged(self, margin: float) -> tuple[str, tuple[str, ...]]:
        """The finding's verdict, and what it would take to decide."""
        low, high = self.gain
        if high <= -margin:
            return FAILS, ()
        if not self.standard_error:
            return UNDECIDED, ("Folds that all differ alike have no spread to judge a margin by.",)
        if low > -margin:
            return HOLDS, ()
        if (low + high) / 2 <= -margin:
            more = "More examples would not help: the loss seen is the margin or more."
        else:
            more = "More examples in the folds: more folds of the same narrow the interval less."
        return UNDECIDED, (more,)

    def to_json(self) -> dict[str, Any]:
        """All fields and the verdict, as plain numbers, lists and words."""
        lists = {"differences": list(self.differences), "interval": list(self.interval)}
        return dataclasses.asdict(self) | lists | {"verdict": self.verdict}


def compare_folds(
    reference: CrossValidation,
    candidate: CrossValidation,
    name: str,
    *,
    margin: float | None = None,
    higher_is_better: bool | None = None,
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
      margin: difference of the score that matters, above 0, in its unit; set before
        looking. The verdict then says whether a loss of it is ruled out, as that of
        `compare` does. Without one the interval is given and nothing is claimed.
      higher_is_better: the direction of the score, needed with a margin: True of an
        accuracy, False of a loss.
      confidence: of the interval, in (0, 1).

    Returns:
      The comparison; `.verdict` says it in words.

    Raises:
      TypeError: an argument is of another kind.
      ValueError: other folds, fewer than two, no scores of this name, a margin without
        a direction or the other way round, or a wrong margin or confidence.

    Example:
      >>> folds = tuple(jc.validate.splits.k_fold(8, folds=4))
      >>> values = [{"error": np.full(2, 1.0 + k)} for k in range(4)]
      >>> result = jc.validate.cross_validation.CrossValidation(folds, tuple(values))
      >>> compared = jc.validate.cross_validation.compare_folds(result, result, "error")
      >>> compared.p_value, compared.verdict
      (1.0, 'no difference of error on these folds')
      >>> values = [{"error": np.full(2, 1.0 + 1.01 * k)} for k in range(4)]
      >>> other = jc.validate.cross_validation.CrossValidation(folds, tuple(values))
      >>> within = {"margin": 0.1, "higher_is_better": False}
      >>> compare_folds = jc.validate.cross_validation.compare_folds
      >>> compare_folds(result, other, "error", **within).verdict
      'the same within 0.1'

    Also known as: corrected resampled paired t-test.

    Source: Nadeau and Bengio 2003, Machine Learning 52, section 3; of repeated folds
    Bouckaert and Frank 2004, PAKDD.
    """
    for argument, given in {"reference": reference, "candidate": candidate}.items():
        check_kind("compare_folds", argument, given, CrossValidation, "cross_validate gives it.")
    check_text("compare_folds", "name", name)
    _check_margin(margin, higher_is_better)
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
        margin=None if margin is None else float(margin),
        higher_is_better=higher_is_better,
    )


def _span(near: float, far: float) -> str:
    return f"{near:.3g} to {far:.3g}"


def _check_margin(margin: float | None, higher_is_better: bool | None) -> None:
    """Which way a score is better is not guessed: the claim would be turned round."""
    if margin is not None:
        check_positive("compare_folds", "margin", margin)
    if higher_is_better is not None:
        check_kind(
            "compare_folds", "higher_is_better", higher_is_better, bool, "False of a loss or error."
        )
    if (margin is None) != (higher_is_better is None):
        raise ValueError(
            f"compare_folds(margin={margin}, higher_is_better={higher_is_better}) needs both or "
            "neither: with a margin say whether a higher score is better, as of an accuracy, or "
            "not, as of a loss."
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
