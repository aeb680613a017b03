"""Whole layers of a scanned stack replaced by the identity: a shorter scan."""

from collections.abc import Mapping

import jax
import numpy as np

from jaxcompress.core.checks import check_concrete, check_count
from jaxcompress.core.kinds import check_function
from jaxcompress.core.observers import as_reading
from jaxcompress.core.rules import Rules, as_rules
from jaxcompress.core.trees import check_call
from jaxcompress.core.types import Model, Params, PyTree
from jaxcompress.graph.surgery.check import checked_difference
from jaxcompress.graph.surgery.cutting import cut_params
from jaxcompress.graph.surgery.depth import without_layers
from jaxcompress.graph.surgery.stacks import Stack, Stacks, stacks, with_layer_gates
from jaxcompress.structure.importance.depth import DepthImportance, DepthScores
from jaxcompress.structure.parts import DepthReport, Part, parts
from jaxcompress.structure.smaller import SmallerModel


def remove_layers(
    fn: Model,
    params: Params,
    importance: DepthImportance,
    *inputs: PyTree,
    count: Rules[int] | int,
) -> SmallerModel[DepthReport]:
    """Removes the layers of a scanned stack with the lowest scores: a shorter scan.

    Not for: layers that no scan runs through; `remove_blocks` takes residual ones.

    Also known as: depth pruning, layer dropping, layer removal as in ShortGPT.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: its params, not compressed; unchanged.
      importance: what layers are worth. A layer that no data reached has no score; it
        stays, and the report says so.
      inputs: a batch of arrays.
      count: layers to remove from every stack, or `Rules` over stack names.

    Returns:
      SmallerModel; its report names layers "stack[layer]".

    Raises:
      ValueError: the model has no stack (each scan is named, and why it is none), a
        rule matches none, a stack would lose all its layers or more than have scores,
        or a score is not finite.
      ArithmeticError: the smaller program computes something else than the one that
        passes the layers by.

    Example:
      >>> def fn(params, x):
      ...     return jax.lax.scan(lambda x, w: (x + w, None), x, params["layers"])[0]
      >>> params, x = {"layers": jnp.array([[1.0], [2.0], [4.0]])}, jnp.zeros(1)
      >>> size = lambda fn, params, x: {"layers": params["layers"][:, 0]}
      >>> shallower = jc.structure.remove_layers(fn, params, size, x, count=1)
      >>> shallower.params["layers"].shape, shallower.fn(shallower.params, x)
      ((2, 1), Array([6.], dtype=float32))
    """
    check_call("remove_layers", fn, params, inputs)
    check_function(
        "remove_layers", "importance", importance, "For example importance.exact_layers(...)."
    )
    check_concrete("remove_layers", params=params, inputs=inputs)
    found = stacks(fn, params, *inputs)
    counts = _counts(found, count)
    scores = importance(fn, params, *inputs)
    rows = {
        stack.name: _layers(stack, scores, counts[stack.name])
        for stack in found.found
        if stack.name in counts
    }
    gone = {name: [i for i, row in enumerate(each) if row.removed] for name, each in rows.items()}
    smaller, removal = without_layers(fn, params, gone, *inputs)
    small = cut_params("remove_layers", params, removal)
    gates = {name: ~np.isin(np.arange(len(rows[name])), each) for name, each in gone.items()}
    skipped = jax.jit(lambda params, *inputs: with_layer_gates(fn)(params, *inputs, gates=gates))
    outputs = jax.jit(smaller)(small, *inputs)
    to_skipped = checked_difference("remove_layers", outputs, skipped(params, *inputs))
    every = tuple(row for each in rows.values() for row in each)
    return SmallerModel(smaller, small, removal, DepthReport(every, found.refused, to_skipped))


def _counts(found: Stacks, count: Rules[int] | int) -> Mapping[str, int]:
    """How many layers are removed, by stack name."""
    if not found.found:
        scans = " ".join(f"{reason}." for reason in found.refused)
        raise ValueError(
            f"remove_layers: the model has no scanned stack of layers. {scans}".strip()
        )
    lengths = {stack.name: stack.length for stack in found.found}
    rules = as_rules(count).map(lambda each: check_count("remove_layers", "count", each, least=0))
    counts = rules.assign(lengths)
    for name, number in counts.items():
        if number >= lengths[name]:
            raise ValueError(
                f"remove_layers(count={number}): stack {name!r} has {lengths[name]} layers, of "
                "which at least one stays."
            )
    return counts


def _layers(stack: Stack, scores: DepthScores, count: int) -> tuple[Part, ...]:
    """The layers of a stack, and which of them are removed."""
    if stack.name not in scores:
        raise ValueError(f"remove_layers(importance=...) scores no stack {stack.name!r}.")
    reading = as_reading(scores[stack.name])
    values = np.asarray(reading.value)
    if values.shape != (stack.length,):
        raise ValueError(
            f"remove_layers(importance=...) scores {stack.name!r} in shape {values.shape}; one "
            f"number per layer has shape ({stack.length},)."
        )
    reached = np.broadcast_to(np.asarray(reading.count) > 0, values.shape)
    names = [f"{stack.name}[{layer}]" for layer in range(stack.length)]
    return parts("remove_layers", names, values, reached, count)
