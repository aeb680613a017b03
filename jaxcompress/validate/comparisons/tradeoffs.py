"""What each of several models answers right, and what it costs, in one table."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxcompress.core.checks import check_size
from jaxcompress.core.kinds import check_kind, check_mapping
from jaxcompress.core.report import aligned, signed
from jaxcompress.validate.results import Evaluation

Interval = tuple[float, float, float]
"""Value, low, high."""


class Tradeoff(NamedTuple):
    """One model's row.

    Attributes:
      name: of the model.
      scores: by metric name (value, low, high), of confidence 0.95.
      size_bytes: of what is shipped.
      macs: multiply-adds of one example, on average.
    """

    name: str
    scores: Mapping[str, Interval]
    size_bytes: int
    macs: float


@dataclasses.dataclass(frozen=True)
class Tradeoffs:
    """Several models on the same examples: scores, bytes and operations.

    Args:
      rows: in the order given; the first is what shares are taken of.
      n: examples.
    """

    rows: tuple[Tradeoff, ...]
    n: int

    def to_json(self) -> dict[str, Any]:
        """All rows as plain values."""
        return {"n": self.n, "rows": [row._asdict() for row in self.rows]}

    def __str__(self) -> str:
        first = self.rows[0]
        header = ("model", *first.scores, "bytes", "of first", "multiply-adds", "of first")
        lines = [
            (
                row.name,
                *map(_score, row.scores.values()),
                f"{row.size_bytes:,}",
                f"{row.size_bytes / first.size_bytes:.2f}" if first.size_bytes else "",
                f"{row.macs:,.0f}",
                f"{row.macs / first.macs:.2f}" if first.macs else "",
            )
            for row in self.rows
        ]
        return "\n".join([f"{self.n:,} examples", *aligned([header, *lines])])


def _score(score: tuple[float, float, float]) -> str:
    value, low, high = (signed(each, ".4f") for each in score)
    return f"{value} [{low}, {high}]"


def tradeoffs(
    evaluations: Mapping[str, Evaluation],
    *,
    size_bytes: Mapping[str, float],
    macs: Mapping[str, float],
) -> Tradeoffs:
    """Puts quality and cost of several models of the same examples into one table.

    For mixtures, cascades and compressed variants beside the model they replace.
    Whether two rows differ is for `compare`, which takes examples in pairs.

    Args:
      evaluations: by name of the model, with the same metrics of the same examples.
      size_bytes: of each by the same names, at least 0: those of its file, or
        `storage.size(params)`; of a mixture or cascade, of all its members.
      macs: multiply-adds of one example, at least 0, as `graph.cost` counts them; of a
        cascade `CascadeFit.operations` of its members'.

    Returns:
      Tradeoffs, one row for each model.

    Raises:
      TypeError: an entry is no evaluation.
      ValueError: there is none, names, metrics or examples differ, or a number is
        negative.

    Example:
      >>> classifier, x = lambda params, x: x @ params, jnp.eye(4)
      >>> found = jc.validate.evaluate(classifier, 99 * x, x, jnp.arange(4))
      >>> tradeoffs = jc.validate.comparisons.tradeoffs
      >>> sizes, macs = {"dense": 64}, {"dense": 16}
      >>> table = tradeoffs({"dense": found}, size_bytes=sizes, macs=macs)
      >>> table.rows[0].scores["accuracy"][0], table.rows[0].macs
      (1.0, 16.0)
    """
    caller = "tradeoffs"
    check_mapping(caller, "evaluations", evaluations, "It is Evaluation by name of the model.")
    if not evaluations:
        raise ValueError(f"{caller}(evaluations={{}}) holds no evaluation.")
    for each in evaluations.values():
        check_kind(caller, "evaluations", each, Evaluation, "validate.evaluate makes them.")
    for argument, numbers in {"size_bytes": size_bytes, "macs": macs}.items():
        check_mapping(caller, argument, numbers, "It is a number by name of the model.")
        if set(numbers) != set(evaluations):
            raise ValueError(
                f"{caller}({argument} of {', '.join(map(repr, numbers))}) needs the names of the "
                f"evaluations, {', '.join(map(repr, evaluations))}."
            )
        for number in numbers.values():
            check_size(caller, argument, number)
    first = next(iter(evaluations.values()))
    for name, each in evaluations.items():
        same = each.n == first.n and (each.fingerprints == first.fingerprints).all()
        if not (same and each.scores.keys() == first.scores.keys()):
            raise ValueError(
                f"{caller}(evaluations): {name!r} is of other examples or metrics than the first. "
                "Evaluate all models alike."
            )
    rows = (
        Tradeoff(name, _intervals(each), int(size_bytes[name]), float(macs[name]))
        for name, each in evaluations.items()
    )
    return Tradeoffs(tuple(rows), first.n)


def _intervals(evaluation: Evaluation) -> dict[str, Interval]:
    return {name: (score.value, *score.interval()) for name, score in evaluation.items()}
