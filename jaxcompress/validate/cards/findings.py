"""What one test showed, in one form for all tests: a statement, figures and a verdict.

Results of this package offer `finding()`, and a card collects them. Nothing here tests.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any, Protocol, runtime_checkable

from jaxcompress.core.checks import check_inside, check_number
from jaxcompress.core.kinds import check_each, check_kind, check_text
from jaxcompress.core.messages import shown
from jaxcompress.core.report import signed
from jaxcompress.validate.cards.topics import check_topic

HOLDS, FAILS, UNDECIDED, MEASURED = "holds", "fails", "undecided", "measured"
VERDICTS = {
    HOLDS: "the data support the claim",
    FAILS: "the data speak against the claim",
    UNDECIDED: "the data are too few to tell",
    MEASURED: "a figure with its interval, and no claim about it",
}
"""Every verdict that a finding can have, and what it means."""


@dataclasses.dataclass(frozen=True)
class Figure:
    """A number that a test gave, and its confidence interval where there is one.

    Invariants:
      - All numbers are finite. An interval without one end (None) is one-sided.

    Args:
      name: what it is: "accuracy".
      value: the number.
      interval: (low, high) of it; either end may be None. None where it has none.
      confidence: of the interval, in (0, 1).
      format: Python's format specification for people to read: ".1%", "+.3f", ",d".

    Example:
      >>> str(jc.validate.Figure("accuracy", 0.9, (0.83, 0.94), format=".0%"))
      'accuracy 90% (83% to 94%)'
      >>> str(jc.validate.Figure("epsilon", 0.8, (0.5, None), format=".1f"))
      'epsilon 0.8 (at least 0.5)'
    """

    name: str
    value: float
    interval: tuple[float | None, float | None] | None = None
    confidence: float = 0.95
    format: str = ".4g"

    def __post_init__(self) -> None:
        check_text("Figure", "name", self.name)
        check_number("Figure", "value", self.value)
        check_inside("Figure", "confidence", self.confidence, 0, 1)
        check_text("Figure", "format", self.format)
        if self.interval is not None:
            _check_interval(self.interval)
        try:
            str(self)
        except ValueError as error:
            raise ValueError(
                f"Figure(format={self.format!r}) cannot write its numbers: {error}."
            ) from error

    def __str__(self) -> str:
        return f"{self.name} {self._written(self.value)}{self._interval}"

    @property
    def _interval(self) -> str:
        low, high = self.interval or (None, None)
        if low is None:
            return "" if high is None else f" (at most {self._written(high)})"
        if high is None:
            return f" (at least {self._written(low)})"
        return f" ({self._written(low)} to {self._written(high)})"

    def _written(self, number: float) -> str:
        return signed(number, self.format)

    def to_json(self) -> dict[str, Any]:
        """All fields as plain values; `from_json` reads them back exactly."""
        interval = None if self.interval is None else [_plain(end) for end in self.interval]
        numbers = {
            "value": _plain(self.value),
            "interval": interval,
            "confidence": float(self.confidence),
        }
        return dataclasses.asdict(self) | numbers

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Figure":
        """The figure that `to_json` described."""
        fields = record_of(cls, record)
        if fields["interval"] is not None:
            fields["interval"] = tuple(fields["interval"])
        return cls(**fields)


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one test showed.

    Invariants:
      - `topic` is the name of one of `validate.cards.TOPICS`, `verdict` one of
        `validate.cards.VERDICTS`.

    Args:
      topic: what was tested: "held-out performance".
      statement: what was found, one plain sentence for who did not run the test.
      figures: the numbers behind it.
      verdict: "holds", "fails" or "undecided" of a claim; "measured" where none is
        made.
      needs: what it would take to claim more, one sentence each.
      about: the model and the data that it speaks of, such as "int8 on test".

    Example:
      >>> accuracy = jc.validate.Figure("accuracy", 0.9, (0.83, 0.94), format=".0%")
      >>> statement = "Answers 90 of 100 examples correctly."
      >>> finding = jc.validate.Finding("held-out performance", statement, (accuracy,))
      >>> finding.verdict
      'measured'
    """

    topic: str
    statement: str
    figures: tuple[Figure, ...] = ()
    verdict: str = MEASURED
    needs: tuple[str, ...] = ()
    about: str = ""

    def __post_init__(self) -> None:
        check_topic("Finding", self.topic)
        for field in ("statement", "verdict", "about"):
            check_text("Finding", field, getattr(self, field))
        for field in ("figures", "needs"):
            check_kind("Finding", field, getattr(self, field), tuple, "End one entry by a comma.")
        check_each("Finding", "figures", self.figures, _check_figure)
        check_each("Finding", "needs", self.needs, check_text)
        if not self.statement.strip():
            raise ValueError("Finding(statement='') needs a sentence that says what was found.")
        if self.verdict not in VERDICTS:
            raise ValueError(
                f"Finding(verdict={shown(self.verdict)}) must be one of: {', '.join(VERDICTS)}."
            )

    def __str__(self) -> str:
        """The statement, its figures, and what it would take to claim more."""
        about = f"{self.about}: " if self.about else ""
        figures = "; ".join(map(str, self.figures))
        return "\n".join([about + self.statement, *filter(None, [figures]), *self.needs])

    def finding(self) -> "Finding":
        """Itself, so that a finding is taken wherever a result is."""
        return self

    def to_json(self) -> dict[str, Any]:
        """All fields as plain values; `from_json` reads them back exactly."""
        return dataclasses.asdict(self) | {
            "figures": [figure.to_json() for figure in self.figures],
            "needs": list(self.needs),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Finding":
        """The finding that `to_json` described."""
        fields = record_of(cls, record)
        figures = tuple(map(Figure.from_json, fields["figures"]))
        return cls(**fields | {"figures": figures, "needs": tuple(fields["needs"])})


@runtime_checkable
class Found(Protocol):
    """A result that says what it showed: any object with `finding()`."""

    def finding(self) -> Finding:
        """What the result showed."""
        ...


class Result:
    """A result that prints as its finding does, and not as its fields."""

    def finding(self) -> Finding:
        """What the result showed, which each result says for itself."""
        raise NotImplementedError

    def __str__(self) -> str:
        return str(self.finding())


def examples_for(n: int, difference: float, worst: float, margin: float) -> int | None:
    """Examples from which an interval would stay above -margin, were nothing else new.

    The distance from a figure to the end of its interval shrinks as 1 / sqrt(n):

        n · ((difference - worst) / (difference + margin))²

    Args:
      n: examples that gave the interval.
      difference: the figure, candidate minus reference, where higher is better.
      worst: the low end of its interval.
      margin: the difference that matters, above 0.

    Returns:
      The number, rounded up; None where the figure itself is at -margin or below.
    """
    if difference <= -margin:
        return None
    return math.ceil(n * ((difference - worst) / (difference + margin)) ** 2)


def record_of(kind: Any, record: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass in a record of JSON; a ValueError where one is missing.

    Raises:
      TypeError: the record is no mapping.
      ValueError: a field is missing.
    """
    check_kind(kind.__name__, "record", record, Mapping, "It is what to_json gave.")
    known = [field.name for field in dataclasses.fields(kind)]
    missing = [name for name in known if name not in record]
    if missing:
        raise ValueError(
            f"{kind.__name__}.from_json(record) lacks {', '.join(missing)}. Pass what to_json gave."
        )
    return {name: record[name] for name in known}


def gathered(caller: str, results: Iterable[object]) -> tuple[Finding, ...]:
    """The findings of results.

    Raises:
      TypeError: a result has no `finding()`, or it gives no `Finding`.
    """
    found = []
    for result in results:
        if isinstance(result, type) or not isinstance(result, Found):
            raise TypeError(
                f"{caller}(results={shown(result)}) holds what has no finding(). Pass results of "
                "validate, or a validate.Finding."
            )
        finding = result.finding()
        check_kind(caller, "results", finding, Finding, "finding() gives a validate.Finding.")
        found.append(finding)
    return tuple(found)


def _plain(number: Any) -> int | float | None:
    """A number as Python writes it exactly, of whatever scalar type it was."""
    if number is None or isinstance(number, Integral):
        return None if number is None else int(number)
    return float(number)


def _check_interval(interval: Any) -> None:
    if not (isinstance(interval, tuple) and len(interval) == 2) or interval == (None, None):
        raise TypeError(f"Figure(interval={shown(interval)}) must be (low, high) or None.")
    low, high = interval
    for end in (low, high):
        if end is not None:
            check_number("Figure", "interval", end)
    if low is not None and high is not None and low > high:
        raise ValueError(f"Figure(interval={shown(interval)}) needs low <= high.")


def _check_figure(caller: str, argument: str, value: object) -> None:
    check_kind(caller, argument, value, Figure, "Make it with validate.Figure.")
