"""Robustness: accuracy on corrupted inputs, before and after compression."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxcompress.core.checks import check_concrete
from jaxcompress.core.kinds import check_each, check_key, check_kind, check_mapping
from jaxcompress.core.models import check_model
from jaxcompress.core.report import signed
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Key, Model, Params
from jaxcompress.validate.cards.findings import FAILS, HOLDS, UNDECIDED, Figure, Finding
from jaxcompress.validate.comparisons.corruptions import Graded, images
from jaxcompress.validate.examples import Examples
from jaxcompress.validate.intervals import paired_interval

_CLEAN = "none"


@dataclasses.dataclass(frozen=True)
class Robustness:
    """Accuracy of both models under one corruption at one severity.

    Args:
      corruption: its name; "none" for the examples as they are.
      severity: of the corruption.
      n: examples.
      before: accuracy of the reference, in [0, 1].
      after: accuracy of the candidate.
      gained: examples right in the candidate alone.
      lost: examples right in the reference alone.
      interval: (low, high) of after - before, exact, of confidence 0.95.
    """

    corruption: str
    severity: float
    n: int
    before: float
    after: float
    gained: int
    lost: int
    interval: tuple[float, float]

    @property
    def difference(self) -> float:
        """Accuracy after minus before."""
        return (self.gained - self.lost) / self.n


@dataclasses.dataclass(frozen=True)
class RobustnessTable:
    """Accuracy of both models under every corruption, the clean examples first.

    Args:
      rows: one per corruption and severity.
    """

    rows: tuple[Robustness, ...]

    @property
    def mean_before(self) -> float:
        """Mean accuracy of the reference over the corruptions, in [0, 1]."""
        return float(np.mean([row.before for row in self._corrupted]))

    @property
    def mean_after(self) -> float:
        """Mean accuracy of the candidate over the corruptions."""
        return float(np.mean([row.after for row in self._corrupted]))

    @property
    def _corrupted(self) -> tuple[Robustness, ...]:
        return self.rows[1:]

    def finding(self, margin: float = 0.01) -> Finding:
        """For a card: whether any corruption costs the candidate the margin or more."""
        worst = min(self._corrupted, key=lambda row: row.difference)
        lows = [row.interval[0] for row in self._corrupted]
        fails = any(row.interval[1] <= -margin for row in self._corrupted)
        verdict = FAILS if fails else HOLDS if min(lows) > -margin else UNDECIDED
        return Finding(
            "robustness",
            f"Under {len(self._corrupted)} corruptions the mean accuracy is {self.mean_after:.1%}, "
            f"the original's {self.mean_before:.1%}; furthest behind under {worst.corruption} "
            f"{worst.severity:g}.",
            (
                Figure(
                    f"accuracy difference under {worst.corruption} {worst.severity:g}",
                    worst.difference,
                    worst.interval,
                    format="+.2%",
                ),
            ),
            verdict,
        )

    def to_json(self) -> dict[str, Any]:
        """All rows and both means, as plain numbers, lists and words."""
        rows = [dataclasses.asdict(row) | {"interval": list(row.interval)} for row in self.rows]
        return {"rows": rows, "mean_before": self.mean_before, "mean_after": self.mean_after}

    def __str__(self) -> str:
        width = max(len(row.corruption) for row in self.rows)
        lines = [f"{'':{width}}  severity  before   after  difference (95 % interval)"]
        for row in self.rows:
            change, low, high = (signed(each, "+.2%") for each in (row.difference, *row.interval))
            lines.append(
                f"{row.corruption:{width}}  {row.severity:8.3g}  {row.before:6.2%}  "
                f"{row.after:6.2%}  {change} ({low} to {high})"
            )
        return "\n".join(lines)


def robustness(
    fn: Model,
    params: Params,
    candidate: Params,
    examples: Examples,
    key: Key,
    *,
    corruptions: Mapping[str, Graded] | None = None,
) -> RobustnessTable:
    """Accuracy of two models on corrupted inputs, in pairs.

    Not for: data from another source, for which no corruption stands; take
    `shift.external`.

    Both see the same corrupted examples, so their difference has the exact interval of
    `paired_interval`. Compressed models often lose more here than on clean examples.

    Also known as: corruption robustness, mean corruption error.

    Args:
      fn: classifier in evaluation mode, `fn(params, inputs) -> logits`, that takes both
        params; of compressed ones `materialized(fn)`.
      params: the original's.
      candidate: the compressed ones.
      examples: labelled ones, with the metric `accuracy`, as is the default.
      key: of the corruptions.
      corruptions: by name, a corruption and its severities, as `corruptions.images()`
        gives by default.

    Returns:
      One row for the clean examples and one for each corruption and severity.

    Raises:
      TypeError: an argument is of another kind.
      ValueError: no corruption; accuracy is none of the examples' metrics; and what
        `evaluate` raises.

    Example:
      >>> corruptions = jc.validate.comparisons.corruptions
      >>> fn = lambda params, x: params * x.reshape(len(x), -1)
      >>> examples = jc.validate.Examples(jnp.eye(4).reshape(4, 2, 2, 1), np.arange(4))
      >>> noise = {"noise": corruptions.Graded(corruptions.noise, (0.1,))}
      >>> robustness = jc.validate.comparisons.robustness
      >>> one, key = jnp.float32(1), jax.random.key(0)
      >>> table = robustness(fn, one, -one, examples, key, corruptions=noise)
      >>> [(row.corruption, row.before, row.after) for row in table.rows]
      [('none', 1.0, 0.0), ('noise', 1.0, 0.0)]

    Source: Hendrycks and Dietterich 2019, arXiv:1903.12261, section 4; for compressed
    models Hooker et al. 2019, arXiv:1911.05248, section 4.
    """
    caller = "robustness"
    check_model(caller, fn)
    check_arrays(caller, "params", params)
    check_arrays(caller, "candidate", candidate)
    check_kind(caller, "examples", examples, Examples, "Make it of inputs and labels.")
    check_concrete(caller, "", params=params, candidate=candidate, examples=examples._asdict())
    check_key(caller, "key", key)
    graded = images() if corruptions is None else corruptions
    mend = "It is Graded by name, as corruptions.images() gives."
    check_mapping(caller, "corruptions", graded, mend)
    check_each(caller, "corruptions", list(graded.values()), _check_graded)
    metrics = [each for each in examples.metrics if each.name == "accuracy"]
    if not metrics:
        raise ValueError(
            f"{caller}(examples) needs the metric accuracy among theirs, since accuracies are"
            " compared."
        )
    examples = examples._replace(metrics=metrics)
    if not graded:
        raise ValueError(f"{caller}(corruptions={{}}) needs a corruption. {mend}")
    rows = [_row(_CLEAN, 0.0, fn, (params, candidate), examples)]
    for place, (name, (corruption, severities)) in enumerate(graded.items()):
        changed = jax.jit(corruption)
        for severity in severities:
            # One key for all severities: a stronger one is the same noise, larger.
            inputs = changed(jax.random.fold_in(key, place), examples.inputs, severity)
            seen = examples._replace(inputs=jax.device_get(inputs))
            rows.append(_row(name, float(severity), fn, (params, candidate), seen))
    return RobustnessTable(tuple(rows))


def _row(
    name: str, severity: float, fn: Model, params: tuple[Params, Params], examples: Examples
) -> Robustness:
    before, after = (examples.judge(fn, each) for each in params)
    gained = int(np.sum(after.correct & ~before.correct))
    lost = int(np.sum(before.correct & ~after.correct))
    return Robustness(
        name,
        severity,
        before.n,
        before.accuracy,
        after.accuracy,
        gained,
        lost,
        paired_interval(gained, lost, before.n),
    )


def _check_graded(caller: str, argument: str, value: object) -> None:
    check_kind(caller, argument, value, Graded, "Make it of a corruption and its severities.")
