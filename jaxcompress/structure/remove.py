"""Removes units: a smaller program, smaller params, and a report of what that did.

`plan` chooses the units. Whole layers and residual blocks are removed by
`remove_layers` and `remove_blocks`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxcompress.core.checks import check_concrete
from jaxcompress.core.names import named_leaves
from jaxcompress.core.report import KEPT, LeafReport, Report
from jaxcompress.core.sizes import size_bytes
from jaxcompress.core.trees import check_call
from jaxcompress.core.types import Model, Params, PyTree
from jaxcompress.graph.surgery.check import checked_difference, difference
from jaxcompress.graph.surgery.cutting import cut_params, zero_params
from jaxcompress.graph.surgery.divisors import Divisors, means_over
from jaxcompress.graph.surgery.removal import Removal
from jaxcompress.graph.surgery.resolving import resolve
from jaxcompress.graph.surgery.shrink import masked_program, shrunk_by, shrunk_program
from jaxcompress.structure.amounts.amount import Amount
from jaxcompress.structure.cut import Cut, as_cut, check_cut
from jaxcompress.structure.importance.scores import Importance, check_importance
from jaxcompress.structure.plan import candidates_for, plan_among
from jaxcompress.structure.planned import RemovalPlan
from jaxcompress.structure.smaller import SmallerModel
from jaxcompress.structure.widths import Candidates


@dataclasses.dataclass(frozen=True)
class RemovalReport:
    """The report of a removal of units; prints as tables.

    Attributes:
      plan: what was removed and what that saved.
      leaves: what became of each leaf.
      to_masked: largest difference of the outputs on the batch to those of the masked
        program, relative to the largest output; rounding alone.
      to_zeroed: the same to the model with zeros for what was removed, which is another
        model where a norm or softmax runs over removed units.
      to_whole: the same of the smaller model to the whole one, by what means over
        removed units divide by, "kept" and "new"; empty where there are none.
    """

    plan: RemovalPlan
    leaves: Report
    to_masked: float
    to_zeroed: float
    to_whole: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        text = (
            f"{self.plan}\n\n{self.leaves}\n\n"
            f"Relative difference of the outputs: {self.to_masked:.1e} to the masked program, "
            f"{self.to_zeroed:.1e} to zeroed weights."
        )
        if self.to_whole:
            apart = " and ".join(
                f"{found:.1e} with {name}" for name, found in self.to_whole.items()
            )
            text += f"\nMeans run over removed units: {apart} divisors to the whole model."
        return text


def remove(
    fn: Model,
    params: Params,
    importance: Importance,
    *inputs: PyTree,
    cut: Cut | Amount,
) -> SmallerModel[RemovalReport]:
    """Removes the units with the lowest scores, so that arrays become smaller.

    Not for: keeping accuracy without training after it, where much is removed.

    Also known as: structured pruning, channel, filter, neuron and head pruning, width
    pruning.

    On the batch the smaller program is checked against the masked one, which defines
    what a removal means. `graph.surgery.compensate(fn, params, removal, *inputs)` adds
    the removed units' mean contribution to the layers that read them.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: its params, not compressed; unchanged.
      importance: what units are worth.
      inputs: a batch of arrays.
      cut: as in `plan`. Where means run over removed units, the report says how far
        the model with either of its `divisors` is from the whole one.

    Returns:
      SmallerModel.

    Raises:
      ValueError: as `plan`.
      TypeError: a leaf is compressed.
      ArithmeticError: the smaller program computes something else than the masked one
        by more than half of the digits of the outputs' dtype.

    Example:
      >>> fn = lambda params, x: jax.nn.relu(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.eye(4), "out": jnp.array([[1.0], [4.0], [3.0], [2.0]])}
      >>> x = jnp.ones((1, 4))
      >>> half = jc.structure.amounts.fraction(0.5)
      >>> score = jc.structure.importance.magnitude()
      >>> removed = jc.structure.remove(fn, params, score, x, cut=half)
      >>> removed.params["in"].shape, removed.fn(removed.params, x)
      ((4, 2), Array([[7.]], dtype=float32))
    """
    check_call("remove", fn, params, inputs)
    check_importance("remove", importance)
    check_cut("remove", "cut", cut)
    check_concrete("remove", params=params, inputs=inputs)
    cut = as_cut(cut)
    candidates = candidates_for(cut, fn, params, inputs)
    planned = plan_among(candidates, importance, cut)
    removal = planned.removal
    smaller, small = shrunk_by("remove", fn, removal), cut_params("remove", params, removal)
    expected = jax.jit(masked_program(candidates.coupled, removal))(params, *inputs)
    # The very function that is returned is checked: jitted again by the caller, for
    # these shapes, it is not compiled twice.
    outputs = jax.jit(smaller)(small, *inputs)
    report = RemovalReport(
        planned,
        _leaves(params, small, removal),
        to_masked=checked_difference("remove", outputs, expected),
        to_zeroed=difference(jax.jit(fn)(zero_params(params, removal), *inputs), expected),
        to_whole=_to_whole(candidates, removal, small, outputs),
    )
    return SmallerModel(smaller, small, removal, report)


def _to_whole(
    candidates: Candidates, removal: Removal, small: Params, outputs: PyTree
) -> dict[str, float]:
    """The difference to the whole model, by divisor of means over removed units.

    Args:
      candidates: the whole model.
      removal: what was removed.
      small: the params without it.
      outputs: what the smaller model gives for them.
    """
    coupled, inputs = candidates.coupled, candidates.inputs
    if not means_over(coupled.body, resolve("remove", removal, coupled.leaves)):
        return {}
    whole = jax.jit(candidates.fn)(candidates.params, *inputs)
    found = {}
    for divisors in Divisors:
        if divisors is removal.divisors:
            given = outputs
        else:
            other = dataclasses.replace(removal, divisors=divisors)
            given = jax.jit(shrunk_program("remove", coupled, other))(small, *inputs)
        found[divisors.value] = difference(given, whole)
    return found


def _leaves(params: Params, small: Params, removal: Removal) -> Report:
    after = named_leaves(small)

    def row(name: str, leaf: Any) -> LeafReport:
        cuts = removal.of(name)
        lost = ", ".join(f"axis {cut.axis}: {cut.size} to {cut.size - cut.count}" for cut in cuts)
        reason = "units removed" if cuts else "no units removed"
        return LeafReport(
            name, np.shape(leaf), lost or KEPT, reason, size_bytes(leaf), size_bytes(after[name])
        )

    rows = tuple(row(name, leaf) for name, leaf in named_leaves(params).items())
    return Report("remove", rows)
