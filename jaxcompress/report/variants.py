"""The models that a report speaks of: one reference, and what was made of it."""

import dataclasses
from collections.abc import Sequence

from jaxcompress.core.checks import check_positive
from jaxcompress.core.kinds import check_each, check_kind, check_text
from jaxcompress.report.plots import Point
from jaxcompress.validate import Comparison, Evaluation, Figure

REFERENCE, HELD, OPEN, LOST = "reference", "held", "open", "lost"
"""What the test of a variant shows: no loss that matters, no loss but too few examples
to rule one out, a loss."""


@dataclasses.dataclass(frozen=True)
class Variant:
    """One model of a report: its file, its answers, and its test against the original.

    Args:
      name: what the report calls it.
      size_bytes: of its file, above 0.
      evaluation: its answers, as `validate.evaluate` gives them, with accuracy; or the
        accuracy alone, as a `validate.Figure` with both ends of its interval.
      comparison: with the original, as `validate.compare` gives it; None for the
        original itself.
    """

    name: str
    size_bytes: int
    evaluation: Evaluation | Figure
    comparison: Comparison | None = None

    def __post_init__(self) -> None:
        check_text("Variant", "name", self.name)
        check_positive("Variant", "size_bytes", self.size_bytes)
        mend = "validate.evaluate gives one."
        check_kind("Variant", "evaluation", self.evaluation, Evaluation | Figure, mend)
        mend = "validate.compare gives one; the original has None."
        check_kind("Variant", "comparison", self.comparison, Comparison | None, mend)
        if isinstance(self.evaluation, Evaluation) and "accuracy" not in self.evaluation:
            raise ValueError(
                f"Variant(evaluation) of {self.name!r} has no accuracy, but "
                f"{', '.join(self.evaluation)}. Evaluate with validate.metrics.accuracy()."
            )
        _ = self.point  # what it refuses is refused now

    @property
    def point(self) -> Point:
        """Its size and its accuracy with the interval."""
        found = self.evaluation
        figure = found if isinstance(found, Figure) else found["accuracy"].figure()
        low, high = figure.interval or (None, None)
        if low is None or high is None:
            raise ValueError(
                f"Variant(evaluation={figure}) of {self.name!r} needs both ends of its interval."
            )
        return Point(self.name, self.size_bytes, figure.value, low, high)

    @property
    def outcome(self) -> str:
        """What its test shows: "reference", "held", "open" or "lost"."""
        if self.comparison is None:
            return REFERENCE
        low, high = self.comparison.accuracy_interval
        if high < 0:
            return LOST
        return HELD if low > -self.comparison.margin else OPEN


def reference(caller: str, variants: Sequence[Variant]) -> Variant:
    """The one variant that has no comparison.

    Raises:
      TypeError: one is no variant.
      ValueError: there is none, or several, or two of one name, or examples differ in
        number.
    """
    check_each(caller, "variants", variants, _check_variant)
    names = [variant.name for variant in variants]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise ValueError(f"{caller}(variants) holds {twice[0]!r} twice. Name them apart.")
    found = [variant for variant in variants if variant.comparison is None]
    if len(found) != 1:
        names = ", ".join(variant.name for variant in found) or "none"
        raise ValueError(
            f"{caller}(variants) needs one without a comparison, the original; {names} found."
        )
    counts = {variant.comparison.n for variant in variants if variant.comparison is not None}
    if isinstance(found[0].evaluation, Evaluation) and counts:
        counts.add(found[0].evaluation.n)
    if len(counts) > 1:
        raise ValueError(
            f"{caller}(variants) were judged on {sorted(counts)} examples. Judge all on the same."
        )
    return found[0]


def named(variants: Sequence[Variant]) -> Variant | None:
    """The smallest variant below the original's size in which no loss was found.

    Its interval is not wholly below 0. None where there is no such variant.
    """
    original = reference("named", variants)
    found = [
        variant
        for variant in variants
        if variant.outcome in (HELD, OPEN) and variant.size_bytes < original.size_bytes
    ]
    return min(found, key=lambda variant: variant.size_bytes, default=None)


def _check_variant(caller: str, argument: str, variant: object) -> None:
    check_kind(caller, argument, variant, Variant, "Make it with report.Variant.")
