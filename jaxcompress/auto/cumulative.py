"""How the loss grows as leaves are quantized one after another, cheapest first."""

import dataclasses
from typing import Any

import jax

from jaxcompress.auto.sensitivity import check_leaves_of, check_scan, scan
from jaxcompress.core.axes import Axes
from jaxcompress.core.kinds import check_kind
from jaxcompress.core.leaf import materialize
from jaxcompress.core.names import leaf_names, named_leaves
from jaxcompress.core.report import aligned, signed
from jaxcompress.core.selectors import weights
from jaxcompress.core.sizes import size_bytes
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.trees import chosen_by
from jaxcompress.core.types import Model, Params, Selector
from jaxcompress.quantize import quantize
from jaxcompress.validate import Examples

_SUSPECTS = 3
"""Leaves that are left out once, of those that harm most alone and as a step."""


@dataclasses.dataclass(frozen=True)
class Step:
    """What one more quantized leaf costs.

    Args:
      name: the leaf that is quantized here, those of all steps before with it.
      alone: change of the metric with this leaf alone quantized.
      together: change of the metric with all leaves up to this one quantized.
      saved_bytes: what the leaf takes less, in memory.
    """

    name: str
    alone: float
    together: float
    saved_bytes: int


@dataclasses.dataclass(frozen=True)
class CumulativeSensitivity:
    """The path from the original to the model with all leaves quantized.

    Args:
      metric: what is measured, by default the loss.
      higher_is_better: its direction.
      original: of the model before.
      steps: leaf by leaf, those that harm least alone first.
      exception: the leaf that is best left out: without it the metric of all others is
        the best.
      kept: change of the metric with all leaves but that one quantized.
      left_out: leaves that were not tried, by name, and why.
    """

    metric: str
    higher_is_better: bool
    original: float
    steps: tuple[Step, ...]
    exception: str
    kept: float
    left_out: dict[str, str]

    @property
    def exception_bytes(self) -> int:
        """What it costs in memory to leave the exception as it is."""
        return next(step.saved_bytes for step in self.steps if step.name == self.exception)

    @property
    def won_back(self) -> float:
        """What the exception wins of the metric, above 0 where it is better without."""
        change = self.kept - self.steps[-1].together
        return change if self.higher_is_better else -change

    def to_json(self) -> dict[str, Any]:
        """All fields, what the exception costs and wins, as plain numbers and words."""
        return dataclasses.asdict(self) | {
            "steps": [dataclasses.asdict(step) for step in self.steps],
            "exception_bytes": self.exception_bytes,
            "won_back": self.won_back,
        }

    def __str__(self) -> str:
        header = ("leaf", "alone", "together", "saved bytes")
        rows = [
            (
                step.name,
                signed(step.alone, "+.4g"),
                signed(step.together, "+.4g"),
                signed(step.saved_bytes, ","),
            )
            for step in self.steps
        ]
        kept, together = (signed(each, "+.4g") for each in (self.kept, self.steps[-1].together))
        return "\n".join(
            [
                f"change of {self.metric} as leaves are quantized, one after another",
                *aligned([header, *rows]),
                f"Leaving {self.exception} as it is changes {self.metric} by {kept} in all instead "
                f"of {together}, for {signed(self.exception_bytes, ',')} bytes.",
            ]
        )


def cumulative_sensitivity(
    fn: Model,
    params: Params,
    spec: QuantSpec,
    examples: Examples,
    *,
    axes: Axes | None = None,
    select: Selector | None = None,
) -> CumulativeSensitivity:
    """Quantizes leaves one after another, those that harm least first.

    Not for: a first look, since it takes twice as many evaluations; take
    `auto.sensitivity`.

    Errors of single leaves do not add up, so what all of them do together is measured,
    and each of the three leaves that harm most alone, and of the three that harm most
    as a step, is left out once: the one without which the others do best is the
    suggested exception. It takes twice as many evaluations as `sensitivity`, and six.

    Args:
      fn: model in evaluation mode, as in `sensitivity`.
      params: tree of arrays.
      spec: the format.
      examples: held-out ones, judged by their first metric, by default the loss; not
        the test set, since choices follow from this.
      axes: what `graph.axes` found; without it the layout default.
      select: leaves to quantize; the default is every weight that data reach.

    Returns:
      The steps, the suggested exception, and what it costs in bytes.

    Raises:
      ValueError: what `sensitivity` raises.

    Example:
      >>> fn = lambda params, x: jax.nn.relu(x @ params["a"]) @ params["b"]
      >>> params = {"a": jnp.eye(4), "b": jnp.diag(jnp.array([1.0, 1.1, 1.2, 9.0]))}
      >>> examples = jc.validate.Examples(jnp.eye(4), jnp.arange(4))
      >>> int4, path_of = jc.quantize.int4(), jc.auto.cumulative_sensitivity
      >>> path = path_of(fn, params, int4, examples)
      >>> sorted(step.name for step in path.steps), path.exception
      (['a', 'b'], 'b')

    Also known as: cumulative sensitivity analysis, greedy layer-wise mixed precision.

    Source: Wu et al. 2020, arXiv:2004.09602, on partial quantization: layers are left
    out by falling sensitivity; to measure which of the worst is best left out is ours.
    """
    mend = "For example quantize.formats.int8()."
    check_kind("cumulative_sensitivity", "spec", spec, QuantSpec, mend)
    check_scan("cumulative_sensitivity", fn, params, spec, examples)
    check_leaves_of("cumulative_sensitivity", axes, select)
    chosen_by("cumulative_sensitivity", select or weights(axes), params)
    rows = scan("cumulative_sensitivity", fn, params, spec, examples, (axes, select, {}))
    reference = examples.judge(fn, params)
    first = next(iter(reference))
    metric = reference[first].metric
    left_out = {row.name: row.reason for row in rows if row.reason}
    # A table has those that harm most first.
    order = [row for row in rows if not row.reason][::-1]
    whole = {row.name for row in order}

    def quantized(names: set[str]) -> Params:
        return quantize(params, spec, axes=axes, select=_these(names))[0] if names else params

    def change(names: set[str]) -> float:
        # As arrays, as single leaves are measured: one program serves all, and no two
        # changes differ by how a processor sums.
        judged = examples.judge(fn, materialize(quantized(names)))
        return judged[first].value - reference[first].value

    together = [change({row.name for row in order[:count]}) for count in range(1, len(order) + 1)]
    dense, small = named_leaves(params), named_leaves(quantized(whole))
    steps = tuple(
        Step(
            row.name,
            row.changes[first],
            value,
            size_bytes(dense[row.name]) - size_bytes(small[row.name]),
        )
        for row, value in zip(order, together, strict=True)
    )
    better = 1 if metric.higher_is_better else -1
    kept = {name: change(whole - {name}) for name in _suspects(steps, better)}
    exception = max(kept, key=lambda name: better * kept[name])
    return CumulativeSensitivity(
        metric=first,
        higher_is_better=metric.higher_is_better,
        original=reference[first].value,
        steps=steps,
        exception=exception,
        kept=kept[exception],
        left_out=left_out,
    )


def _suspects(steps: tuple[Step, ...], better: int) -> list[str]:
    """The leaves that harm most alone, and those that harm most as a step."""
    before = (0.0, *(step.together for step in steps[:-1]))
    as_step = {
        step.name: better * (step.together - last) for step, last in zip(steps, before, strict=True)
    }
    alone = {step.name: better * step.alone for step in steps}
    worst = [sorted(harm, key=harm.__getitem__)[:_SUSPECTS] for harm in (alone, as_step)]
    return list(dict.fromkeys(worst[0] + worst[1]))


def _these(names: set[str]) -> Selector:
    return lambda params: jax.tree.map(lambda name: name in names, leaf_names(params))
