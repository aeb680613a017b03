"""What a search for leaks found, and what it looked at."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxcompress.core.kinds import check_text
from jaxcompress.validate.cards.findings import FAILS, HOLDS, Figure, Finding

KINDS = {
    "exact": "exact duplicates",
    "near": "near duplicates",
    "group": "groups in two sets",
    "time": "order in time",
    "target": "features that give the target away",
}
"""The kinds of leak, and what they are called in a report."""


@dataclasses.dataclass(frozen=True, eq=False)
class Overlap:
    """The leaks of one kind between two sets, or within one.

    Invariants:
      - There is one row of `pairs` for each example of the second set that is matched,
        ascending, beside the best match in the first, the earliest among equals.
      - Within one set the second of a pair lies after the first.
      - A search that found nothing has no pairs; it is kept, since it was made.

    Args:
      kind: one of "exact", "near", "group", "time".
      first: name of a set.
      second: name of the set whose examples are counted; the same for one set.
      n: number of examples in the second set.
      pairs: (k, 2) int64, indices in the first and in the second set.
      scores: (k,) float64. How alike the two are, 1 for equal; for "time" by how much
        the first lies after the second, in days where times are dates.
      touched: (m,) int64, every matched example of the first set, ascending.
    """

    kind: str
    first: str
    second: str
    n: int
    pairs: np.ndarray
    scores: np.ndarray
    touched: np.ndarray

    @property
    def count(self) -> int:
        """Examples of the second set that are matched."""
        return len(self.pairs)

    def __str__(self) -> str:
        where = f"{self.first} / {self.second}" if self.first != self.second else self.first
        if not self.count:
            return f"{self.kind:7}{where}: none of {self.n}"
        shown = ", ".join(
            f"{self.second}[{j}] ~ {self.first}[{i}]" for i, j in self.pairs[:3].tolist()
        )
        rest = ", …" if self.count > 3 else ""
        return f"{self.kind:7}{where}: {self.count} of {self.n} in {self.second}, {shown}{rest}"

    def to_json(self) -> dict[str, Any]:
        """All fields as plain numbers, lists and words."""
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in vars(self).items()
        } | {"count": self.count}


@dataclasses.dataclass(frozen=True)
class LeakingFeature:
    """A feature that gives the target away.

    Args:
      set: name of the set it was found in.
      feature: index of the feature, -1 for the order of the rows.
      name: its name, or its index as text.
      score: how well it predicts the target on examples held out, 0 for chance and 1
        for certainty.
      p: probability of such a score by chance, corrected for the number of features.
    """

    set: str
    feature: int
    name: str
    score: float
    p: float

    def __str__(self) -> str:
        return f"target {self.set}: feature {self.name} alone scores {self.score:.3f}"

    def to_json(self) -> dict[str, Any]:
        """All fields."""
        return dataclasses.asdict(self)


class Note(NamedTuple):
    """Something worth a look that is no leak, in words."""

    text: str


@dataclasses.dataclass(frozen=True, eq=False)
class LeakageReport:
    """What was looked for between named sets, and what was found.

    Invariants:
      - `overlaps` has one entry for each kind and pair of sets that was looked at, also
        where nothing was found.
      - `print` of it gives a readable page.

    Args:
      sets: number of examples by name of the set.
      checked: what was looked for, in words, in the order of the checks.
      overlaps: by kind and pair of sets.
      features: those that give the target away.
      notes: what else is worth a look, such as constant features.
    """

    sets: Mapping[str, int]
    checked: tuple[str, ...]
    overlaps: tuple[Overlap, ...]
    features: tuple[LeakingFeature, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def leaks(self) -> tuple[Overlap | LeakingFeature, ...]:
        """What was found: the overlaps that have a pair, and the features."""
        return (*(each for each in self.overlaps if each.count), *self.features)

    @property
    def clean(self) -> bool:
        """Whether nothing was found of what was looked for."""
        return not self.leaks

    @property
    def not_checked(self) -> tuple[str, ...]:
        """The kinds of leak that no check looked for, in words."""
        kinds = {what.partition(":")[0] for what in self.checked}
        return tuple(words for kind, words in KINDS.items() if kind not in kinds)

    def finding(self) -> Finding:
        """For a card: whether the sets are apart, as far as was looked."""
        sizes = ", ".join(f"{name} ({n:,})" for name, n in self.sets.items())
        kinds = {what.partition(":")[0] for what in self.checked}
        looked_for = ", ".join(words for kind, words in KINDS.items() if kind in kinds)
        found = [each for each in self.overlaps if each.count]
        figures = [
            Figure(f"{KINDS[each.kind]}, {each.first} / {each.second}", each.count, format=",d")
            for each in found
        ]
        figures += [Figure(f"{each.name} alone, {each.set}", each.score) for each in self.features]
        outcome = "Nothing was found" if self.clean else "The sets are not apart"
        return Finding(
            "data leakage",
            f"Looked for {looked_for} in {sizes}. {outcome}.",
            tuple(figures),
            HOLDS if self.clean else FAILS,
            tuple(f"A search for {words}." for words in self.not_checked),
        )

    def touched(self, name: str) -> np.ndarray:
        """Indices of the examples of a set that any overlap names, ascending.

        Remove them from one of two sets and nothing of what was found is left between
        the two.

        Args:
          name: of the set.

        Returns:
          int64 (k,).

        Raises:
          ValueError: there is no such set.
        """
        check_text("touched", "name", name)
        if name not in self.sets:
            raise ValueError(f"touched(name={name!r}): the sets are {', '.join(self.sets)}.")
        parts = [each.touched for each in self.overlaps if each.first == name]
        parts += [each.pairs[:, 1] for each in self.overlaps if each.second == name]
        return np.unique(np.concatenate([np.empty(0, np.int64), *parts]))

    def __str__(self) -> str:
        sizes = ", ".join(f"{name} ({n})" for name, n in self.sets.items())
        lines = [f"Leakage between {sizes}", *(f"  {each}" for each in self.overlaps)]
        lines += [f"  {each}" for each in self.features]
        if not self.features and any(what.startswith("target") for what in self.checked):
            lines.append("  target no feature gives the target away")
        lines += [f"  note   {note}" for note in self.notes]
        lines += ["checked:", *(f"  {what}" for what in self.checked)]
        if self.not_checked:
            lines.append(f"not checked: {', '.join(self.not_checked)}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """All fields as plain numbers, lists and words."""
        return {
            "sets": dict(self.sets),
            "checked": list(self.checked),
            "not_checked": list(self.not_checked),
            "overlaps": [each.to_json() for each in self.overlaps],
            "features": [each.to_json() for each in self.features],
            "notes": list(self.notes),
        }
