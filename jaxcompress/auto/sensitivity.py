"""How much the loss, or any metric, changes when one leaf alone is quantized."""

import math
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import jax

from jaxcompress.core.axes import Axes
from jaxcompress.core.checks import check_concrete
from jaxcompress.core.kinds import check_function, check_kind, check_select
from jaxcompress.core.left_out import left_out, without_data
from jaxcompress.core.names import leaf_names
from jaxcompress.core.selectors import weights
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.trees import check_arrays, chosen_by, named_axes
from jaxcompress.core.types import Model, Params, Selector
from jaxcompress.graph.calibrate import unreached
from jaxcompress.quantize import quantize
from jaxcompress.quantize.assignment import Assignment, assign
from jaxcompress.validate import Examples
from jaxcompress.validate.evaluate import in_batches


class LeafSensitivity(NamedTuple):
    """What compressing one leaf alone changes.

    Attributes:
      name: the leaf.
      changes: by metric, its figure with this leaf alone compressed minus that without;
        empty where nothing is known of the leaf.
      reason: why nothing is known, such as that no data reached it or that the spec
        does not fit it; empty for one that was measured.
    """

    name: str
    changes: Mapping[str, float]
    reason: str = ""

    @property
    def loss_increase(self) -> float:
        """Of the metric "loss", in its unit; NaN where it is not known."""
        return self.changes.get("loss", math.nan)

    @property
    def accuracy_change(self) -> float:
        """Of accuracy, a fraction, negative is worse; NaN where it is not known."""
        return self.changes.get("accuracy", math.nan)


def sensitivity(
    fn: Model,
    params: Params,
    spec: QuantSpec,
    examples: Examples,
    *,
    axes: Axes | None = None,
    select: Selector | None = None,
) -> list[LeafSensitivity]:
    """Measures what quantizing one leaf at a time does to the loss, worst first.

    Args:
      fn: model in evaluation mode, `fn(params, inputs) -> outputs`, for the examples'
        default metrics logits (n, classes).
      params: tree of arrays.
      spec: the format each leaf is tried in.
      examples: held-out ones, with the metrics to measure; not the test set, since
        choices follow from this.
      axes: what `graph.axes` found; without it the layout default.
      select: leaves to try; the default is every weight that data reach.

    Returns:
      One row per selected leaf, those first that harm the first metric most, by default
      the loss. Before them come leaves that are not tried, and their rows say why: the
      spec does not fit them, or no data reached them, in a branch never taken or as an
      expert without tokens: the loss would not rise without these, which is not to say
      that they are safe.

    Raises:
      ValueError: no leaf is selected; the spec does not fit a leaf that `select` names,
        no data reached it, or all are such; and what `quantize` and `evaluate` raise.

    Example:
      >>> fn = lambda params, x: x @ params["a"] @ params["b"]
      >>> params = {"a": jnp.eye(3), "b": jnp.eye(3)}
      >>> examples = jc.validate.Examples(jnp.eye(3), jnp.arange(3))
      >>> rows = jc.auto.sensitivity(fn, params, jc.quantize.int4(), examples)
      >>> [row.loss_increase for row in rows]
      [0.0, 0.0]

    Also known as: layer-wise sensitivity analysis, sensitivity scan.

    Source: the layer-wise scan of Dong et al. 2019, arXiv:1905.03696, with the exact
    loss difference in place of the Hessian's estimate.
    """
    check_scan("sensitivity", fn, params, spec, examples)
    check_leaves_of("sensitivity", axes, select)
    assigned = assign("sensitivity", params, spec, axes, select)
    names = [name for name, choice in assigned.items() if isinstance(choice, Assignment)]
    selected = chosen_by("sensitivity", select or weights(axes), params)
    unknown = {
        name: choice
        for name, choice in assigned.items()
        if selected[name] and isinstance(choice, str)
    }
    judged = partial(examples.judge, fn)
    reference = judged(params)
    first = reference[next(iter(reference))].metric
    judging = examples.counting()
    batches = ((batch,) for batch, _ in in_batches(examples.inputs, judging, examples.batch_size))
    untold = without_data(unreached(fn, params, batches))
    unknown |= left_out("sensitivity", untold, names, select, spec)
    rows = [LeafSensitivity(name, {}, reason) for name, reason in unknown.items()]
    measured = []
    for name in (name for name in names if name not in unknown):
        compressed, _ = quantize(params, spec, axes=axes, select=_only(name))
        candidate = judged(compressed)
        changes = {
            metric: candidate[metric].value - reference[metric].value for metric in reference
        }
        measured.append(LeafSensitivity(name, changes))
    best_last = 1 if first.higher_is_better else -1
    return rows + sorted(measured, key=lambda row: best_last * row.changes[first.name])


def _only(name: str) -> Selector:
    return lambda params: jax.tree.map(lambda other: other == name, leaf_names(params))


def check_scan(caller: str, fn: Model, params: Params, spec: QuantSpec, examples: Examples) -> None:
    """Raises a TypeError unless it is a model with params, a spec, and examples."""
    check_function(caller, "fn", fn, "It is the model, fn(params, inputs).")
    check_arrays(caller, "params", params)
    check_kind(caller, "spec", spec, QuantSpec, "For example quantize.formats.int8().")
    check_kind(caller, "examples", examples, Examples, "Make it of inputs and labels.")
    check_concrete(caller, params=params, examples=examples._asdict())


def check_leaves_of(caller: str, axes: Axes | None, select: Selector | None) -> None:
    """Raises a TypeError unless axes and selector are such, or None."""
    check_select(caller, select)
    named_axes(caller, axes)
