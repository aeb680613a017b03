"""The plan of execution: a form for each site, and which leaves stay dense."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.report import KEPT, LeafReport, Report
from jaxcompress.core.sizes import size_bytes
from jaxcompress.core.types import Params
from jaxcompress.quantize.execution.activations import Activations

DENSE = "dense"
"""The name of what plain arrays take, which forms and plans are judged against."""

PLANNED = "planned"
"""The name of what the model takes as planned."""

OWN_RANGES = "no data reached all of it in calibration, so ranges are those of the data"
"""Of a site whose static ranges are not known."""


@dataclasses.dataclass(frozen=True)
class ChosenForm:
    """The form that was fastest at one site, and what each form took.

    Attributes:
      site: name of the site.
      leaf: name of its leaf.
      form: the fastest form that reads the codes: "bits", "integer", "scaled" or
        "materialized".
      reason: why there was nothing to choose; empty where forms were timed.
      seconds: what one call of the site takes by itself, by form,
        with "dense" for the plain array.
      repeats: executions of the site per call of the model.
    """

    site: str
    leaf: str
    form: str
    reason: str
    seconds: Mapping[str, float]
    repeats: int

    @property
    def speedup(self) -> float:
        """How many times as fast as the plain array; above 1 is faster."""
        return self.seconds[DENSE] / self.seconds[self.form]

    @property
    def gain(self) -> float:
        """Seconds that a call of the model saves by it, going by the site alone."""
        return (self.seconds[DENSE] - self.seconds[self.form]) * self.repeats


@dataclasses.dataclass(frozen=True)
class ExecutionPlan:
    """How a quantized model runs on one device: the measured choice of each site.

    Invariants:
      - One choice per site whose leaf holds codes.
      - `dense_leaves` are held as plain arrays, since the model is faster so.
      - `seconds` are what one call of the whole model takes, "dense" and "planned";
        empty where no leaf runs on codes, since then the two are one program.
      - Times are medians of interleaved calls on `device`, at the shapes of the planned
        call. Other shapes run the same forms.
      - Without `activations` no form rounds the data.
    """

    choices: tuple[ChosenForm, ...]
    dense_leaves: tuple[str, ...]
    seconds: Mapping[str, float]
    activations: Activations | None
    device: str
    report: Report

    @property
    def speedup(self) -> float:
        """How many times as fast as dense the model is with `hold(params)`."""
        return self.seconds[DENSE] / self.seconds[PLANNED] if self.seconds else 1.0

    def hold(self, params: Params) -> Params:
        """Forms plain arrays of the leaves that are slower on codes.

        Costs the memory of those arrays. With the params as they are, `run` gives the
        same outputs up to rounding, but forms the arrays in every call, which no plan
        has found fast.
        """
        dense = set(self.dense_leaves)
        return map_named(lambda name, leaf: leaf.materialize() if name in dense else leaf, params)

    def __str__(self) -> str:
        return str(self.report)


def gains(choices: Sequence[ChosenForm]) -> dict[str, float]:
    """The seconds that each leaf saves on codes, by its sites alone; least first."""
    saved: dict[str, float] = {}
    for choice in choices:
        saved[choice.leaf] = saved.get(choice.leaf, 0.0) + choice.gain
    return dict(sorted(saved.items(), key=lambda item: item[1]))


def plan_report(
    params: Params,
    choices: Sequence[ChosenForm],
    dense_leaves: Sequence[str],
    seconds: Mapping[str, float],
    unreached: Collection[str] = (),
) -> Report:
    """Reports what was timed and chosen: one row per site and leaf.

    The rows of sites in `unreached` say that their ranges are not calibrated.
    """
    rows = (
        _row(name, leaf, choice, name in dense_leaves, unreached)
        for (name, leaf), choice in _met(params, choices)
    )
    return Report(_title(seconds), tuple(rows))


def _title(seconds: Mapping[str, float]) -> str:
    if not seconds:
        return "plan: no leaf runs on codes"
    ratio = seconds[DENSE] / seconds[PLANNED]
    return (
        f"plan: {ratio:.2f} x dense, the model takes {seconds[PLANNED] * 1e3:.3g} ms instead of "
        f"{seconds[DENSE] * 1e3:.3g}"
    )


def _met(params: Params, choices: Sequence[ChosenForm]):
    """Pairs each choice with its leaf, and a leaf that no site meets with None."""
    by_leaf: dict[str, list[ChosenForm]] = {}
    for choice in choices:
        by_leaf.setdefault(choice.leaf, []).append(choice)
    for name, leaf in named_leaves(params).items():
        for choice in by_leaf.get(name, [None]):
            yield (name, leaf), choice


def _row(
    name: str, leaf, choice: ChosenForm | None, dense: bool, unreached: Collection[str]
) -> LeafReport:
    compressed = is_compressed(leaf)
    before = leaf.size * leaf.dtype.itemsize if compressed else size_bytes(leaf)
    after = leaf.size_bytes if compressed and not dense else before
    if choice is None:
        reason = "meets no data as codes" if compressed else "not quantized"
        return LeafReport(name, np.shape(leaf), KEPT, reason, before, after)
    told = f"{choice.form} alone {choice.speedup:.2f} x dense"
    told += f", {choice.seconds[choice.form] * 1e3:.3g} ms"
    own = OWN_RANGES if choice.site in unreached else ""
    reason = "; ".join(part for part in (choice.reason, told, own) if part)
    action = DENSE if dense else choice.form
    return LeafReport(choice.site, tuple(leaf.shape), action, reason, before, after)
