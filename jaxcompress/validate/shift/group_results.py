"""What was found in each of many groups, and in words what may be said of it."""

import dataclasses
from typing import Any, NamedTuple

from jaxcompress.core.report import aligned, signed
from jaxcompress.validate.cards.findings import FAILS, HOLDS, UNDECIDED, Figure, Finding

WORSE, WORSE_BY_MARGIN = "worse", "worse by the margin or more"
NOT_WORSE, SLIGHTLY_WORSE = "not worse by the margin", "worse by less than the margin"
TOO_FEW = "too few examples to tell"


class Group(NamedTuple):
    """One group against all other examples.

    Attributes:
      name: as the labels give it.
      n: examples of the group.
      value: the metric in the group.
      interval: (low, high) of it; those of all groups hold together.
      rest: the metric in all other examples.
      difference: group minus rest.
      difference_interval: (low, high); those of all groups hold together.
      p: of "no difference", of this group alone.
      adjusted: the same, corrected for the number of groups by Holm.
      verdict: in words.
      examples_needed: about how many examples of the group it would take to tell; None
        where it can be told.
    """

    name: str
    n: int
    value: float
    interval: tuple[float, float]
    rest: float
    difference: float
    difference_interval: tuple[float, float]
    p: float
    adjusted: float
    verdict: str
    examples_needed: int | None


@dataclasses.dataclass(frozen=True)
class Subgroups:
    """A metric in each group against the rest.

    Invariants:
      - Intervals hold for all groups together with the confidence, by Bonferroni.
      - Differences are group minus rest, in the metric's unit.

    Args:
      metric: its name.
      higher_is_better: whether a higher figure is a better model.
      n: examples in all.
      value: the metric on all examples.
      groups: in the order of their names.
      margin: difference that matters, in the metric's unit.
      confidence: of all intervals together.
    """

    metric: str
    higher_is_better: bool
    n: int
    value: float
    groups: tuple[Group, ...]
    margin: float
    confidence: float

    @property
    def worst(self) -> Group:
        """The group with the worst figure; of many small ones one is bad by chance."""
        sign = 1 if self.higher_is_better else -1
        return min(self.groups, key=lambda group: sign * group.value)

    @property
    def different(self) -> tuple[Group, ...]:
        """Groups that differ from the rest after the correction, in any direction."""
        return tuple(group for group in self.groups if group.adjusted <= 1 - self.confidence)

    @property
    def too_small(self) -> tuple[Group, ...]:
        """Groups of which nothing can be told; each says how many examples it takes."""
        return tuple(group for group in self.groups if group.examples_needed is not None)

    def finding(self) -> Finding:
        """For a card: whether a group is worse than the rest by the margin or more."""
        verdicts = [group.verdict for group in self.groups]
        counts = [f"{verdicts.count(each)} {each}" for each in dict.fromkeys(verdicts)]
        worst = self.worst
        failed = WORSE_BY_MARGIN in verdicts
        holds = set(verdicts) <= {NOT_WORSE, SLIGHTLY_WORSE}
        return Finding(
            "subgroups",
            f"{self.metric} in {len(self.groups)} groups of {self.n:,} examples, each against the "
            f"rest with a margin of {self.margin:g}: {'; '.join(counts)}. The worst is "
            f"{worst.name!r} with {worst.value:.4g} against {worst.rest:.4g}.",
            (
                Figure("the worst group's", worst.value, worst.interval, self.confidence),
                Figure(
                    "minus the rest",
                    worst.difference,
                    worst.difference_interval,
                    self.confidence,
                    "+.4g",
                ),
                Figure("its p, corrected", worst.adjusted, format=".2g"),
            ),
            FAILS if failed else HOLDS if holds else UNDECIDED,
            self._needs,
        )

    @property
    def _needs(self) -> tuple[str, ...]:
        """How many examples the groups lack of which nothing can be told."""
        small = sorted(self.too_small, key=lambda group: group.examples_needed or 0)
        if not small:
            return ()
        least, most = (
            f"about {group.examples_needed:,} of {group.name!r}, which has {group.n:,}"
            for group in (small[0], small[-1])
        )
        if len(small) == 1:
            return (f"More examples of a group: {least}.",)
        return (f"More examples of {len(small)} groups: from {least}, to {most}.",)

    def __str__(self) -> str:
        header = ("group", "examples", self.metric, "interval", "minus the rest", "interval", "")
        rows = [
            (
                group.name,
                f"{group.n:,}",
                signed(group.value, ".4g"),
                _ends(group.interval, ".4g"),
                signed(group.difference, "+.4g"),
                _ends(group.difference_interval, "+.4g"),
                group.verdict,
            )
            for group in self.groups
        ]
        title = (
            f"{self.metric} {signed(self.value, '.4g')} of {self.n:,} examples, by group; margin "
            f"{self.margin:g}, {self.confidence:.0%} intervals that hold together"
        )
        return "\n".join([title, *aligned([header, *rows])])

    def to_json(self) -> dict[str, Any]:
        """All fields as plain numbers, lists and words."""
        groups = [
            {key: list(each) if isinstance(each, tuple) else each for key, each in pairs}
            for pairs in (group._asdict().items() for group in self.groups)
        ]
        return dataclasses.asdict(self) | {"groups": groups}


def _ends(interval: tuple[float, float], form: str) -> str:
    low, high = (signed(end, form) for end in interval)
    return f"{low} to {high}"
