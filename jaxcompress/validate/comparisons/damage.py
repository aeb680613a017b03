"""Damage: which answers compression changed, which classes it hurt, which examples.

A difference of accuracy of 0 may hide that as many answers were gained as lost, and a
small one that a single class paid for it.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.core.kinds import check_takes
from jaxcompress.core.report import signed
from jaxcompress.validate.cards.findings import FAILS, MEASURED, Figure, Finding, Result
from jaxcompress.validate.comparisons.arguments import classes, same_length
from jaxcompress.validate.comparisons.corrections import holm
from jaxcompress.validate.comparisons.paired import mcnemar
from jaxcompress.validate.intervals import check_confidence, paired_interval, wilson

Correction = Callable[[np.ndarray], np.ndarray]
"""p-values (m,) to adjusted ones (m,), as those of `corrections`."""
_LEVEL = 0.05


@dataclasses.dataclass(frozen=True, eq=False)
class Changes(Result):
    """The examples whose prediction changed.

    Invariants:
      - The arrays have one entry per changed example, in the examples' order.

    Args:
      n: examples compared.
      indices: (changed,) int, which examples.
      before: (changed,) int, the class that the reference predicts.
      after: (changed,) int, the class that the candidate predicts.
      gained: (changed,) bool, wrong before and right after.
      lost: (changed,) bool, right before and wrong after.
    """

    n: int
    indices: np.ndarray
    before: np.ndarray
    after: np.ndarray
    gained: np.ndarray
    lost: np.ndarray

    @property
    def churn(self) -> float:
        """Share of examples whose prediction changed, in [0, 1]."""
        return self.indices.size / self.n

    @property
    def churn_interval(self) -> tuple[float, float]:
        """Wilson's interval of the churn, of confidence 0.95."""
        return wilson(self.indices.size, self.n)

    def transitions(self) -> dict[tuple[int, int], int]:
        """How many examples went from which class to which, most frequent first."""
        pairs, counts = np.unique(
            np.stack([self.before, self.after], axis=1), axis=0, return_counts=True
        )
        order = np.argsort(-counts, kind="stable")
        return {(int(pairs[i, 0]), int(pairs[i, 1])): int(counts[i]) for i in order}

    def finding(self) -> Finding:
        """For a card: how many answers changed, and how many were gained and lost."""
        gained, lost = int(self.gained.sum()), int(self.lost.sum())
        return Finding(
            "damage",
            f"{self.indices.size:,} of {self.n:,} predictions changed: {lost:,} right ones were "
            f"lost, {gained:,} gained, {self.indices.size - gained - lost:,} are wrong as before.",
            (Figure("churn", self.churn, self.churn_interval, format=".2%"),),
        )

    def to_json(self) -> dict[str, Any]:
        """All fields as plain numbers and lists."""
        return {
            field.name: np.asarray(getattr(self, field.name)).tolist()
            for field in dataclasses.fields(self)
        }


def changes(reference: ArrayLike, candidate: ArrayLike, labels: ArrayLike) -> Changes:
    """The examples whose predicted class changed, from what to what.

    Not for: whether accuracy held, since answers gained and lost both count; take
    `equivalence`.

    Also known as: churn, prediction flips, negative flips (those lost).

    Args:
      reference: (n,) integer, the classes that the reference predicts.
      candidate: (n,) integer, the classes that the candidate predicts.
      labels: (n,) integer, the right ones.

    Returns:
      Their indices, the classes before and after, which were gained and which lost.

    Raises:
      TypeError: classes are not integer.
      ValueError: the arrays do not have one shape (n,).

    Example:
      >>> comparisons, labels = jc.validate.comparisons, [0, 1, 1, 1]
      >>> found = comparisons.changes([0, 1, 2, 2], [0, 2, 1, 0], labels)
      >>> found.churn, found.indices, found.lost
      (0.75, array([1, 2, 3]), array([ True, False, False]))
      >>> found.transitions()
      {(1, 2): 1, (2, 0): 1, (2, 1): 1}

    Source: Milani Fard et al. 2016, Launch and Iterate: Reducing Prediction Churn,
    section 2; the lost ones are the negative flips of Yan et al. 2021,
    arXiv:2011.09161.
    """
    before, after, right = _paired("changes", reference, candidate, labels)
    changed = np.flatnonzero(before != after)
    n, (before, after, right) = right.size, (each[changed] for each in (before, after, right))
    return Changes(n, changed, before, after, after == right, before == right)


@dataclasses.dataclass(frozen=True)
class ClassDamage:
    """What happened to the examples of one class.

    Args:
      label: the class.
      n: its examples.
      before: accuracy on them of the reference, in [0, 1].
      after: accuracy on them of the candidate.
      gained: examples right in the candidate alone.
      lost: examples right in the reference alone.
      interval: (low, high) of after - before; over all classes together each holds.
      p: McNemar's, adjusted for the number of classes.
    """

    label: int
    n: int
    before: float
    after: float
    gained: int
    lost: int
    interval: tuple[float, float]
    p: float

    @property
    def difference(self) -> float:
        """Accuracy after minus before."""
        return (self.gained - self.lost) / self.n


@dataclasses.dataclass(frozen=True)
class DamageTable:
    """Damage by class, the class that was hurt most first.

    Args:
      rows: one per class that has examples.
      confidence: of all intervals together.
    """

    rows: tuple[ClassDamage, ...]
    confidence: float

    def hurt(self, level: float = _LEVEL) -> list[int]:
        """The classes with a loss that is shown: adjusted p at most `level`."""
        return [row.label for row in self.rows if row.difference < 0 and row.p <= level]

    def finding(self) -> Finding:
        """For a card: which classes lost accuracy."""
        hurt = self.hurt()
        worst = self.rows[0]
        if hurt:
            named = ", ".join(map(str, hurt))
            statement = f"Of {len(self.rows)} classes a loss of accuracy is shown for: {named}."
        else:
            statement = f"Of {len(self.rows)} classes no loss of accuracy is shown for any."
        figure = Figure(
            f"accuracy difference of class {worst.label}",
            worst.difference,
            worst.interval,
            self.confidence,
            "+.2%",
        )
        return Finding("damage", statement, (figure,), FAILS if hurt else MEASURED)

    def to_json(self) -> dict[str, Any]:
        """All rows as plain numbers and lists."""
        rows = [dataclasses.asdict(row) | {"interval": list(row.interval)} for row in self.rows]
        return {"rows": rows, "confidence": self.confidence}

    def __str__(self) -> str:
        lines = ["class      n  before   after  gained  lost  difference (interval)      p"]
        for row in self.rows:
            change, low, high = (signed(each, "+.2%") for each in (row.difference, *row.interval))
            lines.append(
                f"{row.label:5d} {row.n:6d}  {row.before:6.2%}  {row.after:6.2%}  {row.gained:6d} "
                f"{row.lost:5d}  {change} ({low} to {high})  {row.p:.3g}"
            )
        return "\n".join(lines)


def class_damage(
    reference: ArrayLike,
    candidate: ArrayLike,
    labels: ArrayLike,
    *,
    confidence: float = 0.95,
    correct: Correction = holm,
) -> DamageTable:
    """Accuracy of each class before and after, with intervals that hold together.

    Not for: groups that are no classes, such as regions; take `shift.subgroups`.

    Intervals are `paired_interval` at 1 - (1 - confidence) / classes, so that together
    they hold with the confidence (Bonferroni); p-values are McNemar's, corrected.

    Also known as: per-class damage, disparate impact of compression.

    Args:
      reference: (n,) integer, the classes that the reference predicts.
      candidate: (n,) integer, the classes that the candidate predicts.
      labels: (n,) integer, the right ones.
      confidence: of all intervals together, in (0, 1).
      correct: adjusts the p-values for the number of classes.

    Returns:
      One row per class among the labels, by rising difference: hurt most comes first.

    Raises:
      TypeError: classes are not integer.
      ValueError: the arrays do not have one shape (n,), or a wrong confidence.

    Example:
      >>> labels = np.repeat([0, 1], 20)
      >>> after = np.where(np.arange(40) < 32, labels, 0)
      >>> table = jc.validate.comparisons.class_damage(labels, after, labels)
      >>> [(row.label, row.difference, row.lost) for row in table.rows]
      [(1, -0.4, 8), (0, 0.0, 0)]
      >>> table.hurt()
      [1]

    Source: Hooker et al. 2020, arXiv:2010.03058, section 3, who test each class's loss
    against the overall one with a t test over retrained models; of one pair of models
    the examples are the sample, and the loss is tested itself.
    """
    caller = "class_damage"
    before, after, right = _paired(caller, reference, candidate, labels)
    confidence = check_confidence(caller, confidence)
    check_takes(caller, "correct", correct, 1, "For example comparisons.holm.")
    found = np.unique(right)
    each = 1 - (1 - confidence) / found.size
    counts = []
    for label in found:
        of_class = right == label
        was, now = before[of_class] == label, after[of_class] == label
        counts.append((int(of_class.sum()), was, int(np.sum(now & ~was)), int(np.sum(was & ~now))))
    adjusted = correct(np.array([mcnemar(gained, lost) for _, _, gained, lost in counts]))
    rows = [
        ClassDamage(
            label=int(label),
            n=n,
            before=float(was.mean()),
            after=float(was.mean()) + (gained - lost) / n,
            gained=gained,
            lost=lost,
            interval=paired_interval(gained, lost, n, confidence=each),
            p=float(p),
        )
        for label, (n, was, gained, lost), p in zip(found, counts, adjusted, strict=True)
    ]
    return DamageTable(tuple(sorted(rows, key=lambda row: row.difference)), confidence)


def _paired(
    caller: str, reference: ArrayLike, candidate: ArrayLike, labels: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    before = classes(caller, "reference", reference)
    after = classes(caller, "candidate", candidate)
    right = classes(caller, "labels", labels)
    same_length(caller, reference=before, candidate=after, labels=right)
    return before, after, right
