"""The equations that read removed units, and the units' mean contribution to them."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.types import Array
from jaxcompress.graph.primitives import PLAIN_CALLS
from jaxcompress.graph.surgery.axis_rules import rule_of
from jaxcompress.graph.surgery.axis_rules.rule import Body, Record, bind
from jaxcompress.graph.surgery.bodies import plain_records
from jaxcompress.graph.surgery.kept import RemovedIndices, keep
from jaxcompress.graph.surgery.walk import Coupled
from jaxcompress.graph.traversal import forward


class Contribution(NamedTuple):
    """The mean contribution of removed units to an equation that reads them.

    Attributes:
      correction: of the consumer's output's rank.
      spread: () the largest standard deviation of a removed input.
      reached: () whether it read anything but zeros.
    """

    correction: Array
    spread: Array
    reached: Array


def consumers(coupled: Coupled, removed: RemovedIndices) -> dict[Record, int]:
    """The equations that can be compensated, and which operand of each is the data."""
    leaves = len(coupled.leaves)
    of_params = [index < leaves for index in range(len(coupled.body.operands))]
    found: list[tuple[Record, list[bool]]] = []
    _of_params(coupled.body, of_params, found)
    summing = set(summing_records(coupled.body, removed))
    return {
        record: operands.index(False)
        for record, operands in found
        if record in summing
        and operands.count(False) == 1
        and _is_linear(record, operands, removed)
    }


def _of_params(
    body: Body, operands: Sequence[bool], found: list[tuple[Record, list[bool]]]
) -> list[bool]:
    """Which results depend on params alone; adds every equation outside of loops."""

    def through(index: int, given: list[bool]) -> list[bool]:
        record = body.records[index]
        if record.eqn.primitive.name in PLAIN_CALLS:
            return _of_params(record.bodies[0], given, found)
        found.append((record, given))
        return [all(given)] * len(record.eqn.outvars)

    consts = [True] * len(body.consts)
    return forward(body.jaxpr.jaxpr, consts, operands, through, lambda literal: True)


def _is_linear(record: Record, operands: Sequence[bool], removed: RemovedIndices) -> bool:
    """A dot or a convolution over its data, of which all layers lose the same units."""
    if record.eqn.primitive.name not in ("dot_general", "conv_general_dilated"):
        return False
    if record.eqn.primitive.name == "conv_general_dilated" and operands[0]:
        return False
    return all(indices.ndim == 1 for indices in removed.values())


def summing_records(body: Body, removed: RemovedIndices) -> Iterator[Record]:
    """The records, at any depth, that sum over something removed."""
    for record in plain_records(body):
        reductions = rule_of(record.eqn.primitive.name).reduces(record)
        if any(not keep(record.inputs[r.operand][r.axis], removed).all() for r in reductions):
            yield record


def contribution(
    record: Record, operand: int, values: Sequence[Any], removed: RemovedIndices
) -> Contribution:
    """The equation run on the mean of its removed inputs alone, and their spread."""
    value = values[operand]
    summed = _summed_axes(record, operand)
    averaged = tuple(axis for axis in range(value.ndim) if axis not in _kept_axes(record, operand))
    mean = jnp.mean(value.astype(jnp.float32), axis=averaged, keepdims=True)
    deviation = jnp.std(value.astype(jnp.float32), axis=averaged, keepdims=True)
    stays = np.ones((1,) * value.ndim, bool)
    for axis in summed:
        kept = keep(record.inputs[operand][axis], removed)
        stays = stays & np.expand_dims(kept, [i for i in range(value.ndim) if i != axis])
    constant = jnp.where(stays, 0, mean).astype(value.dtype)
    operands = list(values)
    operands[operand] = jnp.broadcast_to(constant, _shape_of_one(record, value.shape, constant))
    (correction,) = bind(record, operands)
    return Contribution(correction, jnp.max(jnp.where(stays, 0, deviation)), jnp.any(value != 0))


def _summed_axes(record: Record, operand: int) -> list[int]:
    reductions = rule_of(record.eqn.primitive.name).reduces(record)
    return [reduction.axis for reduction in reductions if reduction.operand == operand]


def _kept_axes(record: Record, operand: int) -> list[int]:
    """Those whose entries the equation does not treat alike."""
    summed = _summed_axes(record, operand)
    if record.eqn.primitive.name == "dot_general":
        _, batch = record.params["dimension_numbers"]
        return [*summed, *batch[operand]]
    return summed


def _shape_of_one(record: Record, shape: tuple[int, ...], constant: Array) -> tuple[int, ...]:
    """The operand's shape for one example; a convolution also needs its positions."""
    if record.eqn.primitive.name == "dot_general":
        return constant.shape
    batch = record.params["dimension_numbers"].lhs_spec[0]
    return tuple(1 if axis == batch else size for axis, size in enumerate(shape))
