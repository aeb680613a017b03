"""A program as one flat list of operations, opened wherever a chosen leaf is read.

Calls around a chosen leaf are replaced by their bodies, and a scan that slices it by
its body once for each layer, so that the program can be cut at every leaf. Nothing is
differentiated here: custom derivatives and rematerialization mean no more than their
bodies.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import JaxprEqn, Literal

from jaxcompress.graph.jaxprs import aval_of, scan_loop
from jaxcompress.graph.primitives import CALLS, ENTRY_KEEPING
from jaxcompress.graph.program import Program
from jaxcompress.graph.steps import Block, Step
from jaxcompress.layerwise.operations import (
    Equation,
    Operation,
    Value,
    equation,
    fused,
    layer_of,
    made_of,
    stack_of,
)
from jaxcompress.layerwise.turns import Sites, order_of_layers, turns_of

_MOVING = ENTRY_KEEPING | {"mul", "div", "transpose", "reshape", "squeeze", "broadcast_in_dim"}
"""What a stack of layers may go through on its way to the scan that slices it: each
layer of the result is made of one layer of the leaf, and of scalars."""


class Unrolled(NamedTuple):
    """The flat program.

    Attributes:
      operations: in the order of the program.
      leaves: of the params, by name.
      inputs: the leaves of a batch, in their order.
      constants: arrays that the program holds itself.
    """

    operations: tuple[Operation, ...]
    leaves: dict[str, Value]
    inputs: tuple[Value, ...]
    constants: dict[Value, Any]


def unrolled(program: Program, sites: Sites) -> Unrolled:
    """The program, opened around the sites of chosen leaves.

    Args:
      program: of the model.
      sites: of the chosen leaves, by name.
    """
    writer = _Unroller(sites)
    avals = [aval_of(variable) for variable in program.block.jaxpr.invars]
    leaves = {
        leaf.name: writer.leaf(leaf.name, aval)
        for leaf, aval in zip(program.leaves, avals, strict=False)
    }
    inputs = tuple(Value(aval, varies=True) for aval in avals[len(leaves) :])
    writer.block(program.block, [*leaves.values(), *inputs], ())
    return Unrolled(tuple(writer.operations), leaves, inputs, writer.constants)


class _Trail(NamedTuple):
    """How a value is made of one chosen leaf, layer by layer.

    Attributes:
      name: of the leaf.
      operations: that lead from the leaf to the value.
      layer: which layer of the leaf the value is, outermost scan first.
    """

    name: str
    operations: tuple[Operation, ...] = ()
    layer: tuple[int, ...] = ()


class _Unroller:
    """Writes the operations one after another."""

    def __init__(self, sites: Sites):
        self.sites = sites
        self.operations: list[Operation] = []
        self.constants: dict[Value, Any] = {}
        self.trails: dict[Value, _Trail] = {}

    def leaf(self, name: str, aval) -> Value:
        if name not in self.sites:
            return Value(aval, varies=False)
        layers = itertools.product(*map(range, self.sites[name][0].stack))
        value = Value(aval, varies=False, turns=frozenset((name, layer) for layer in layers))
        self.trails[value] = _Trail(name)
        return value

    def constant(self, array) -> Value:
        """An array of the program; an input to segments, which are alike without it."""
        value = Value(jax.typeof(array), varies=False)
        self.constants[value] = array
        return value

    def block(self, block: Block, operands: Sequence[Value], scans: tuple[int, ...]) -> list[Value]:
        """Its results; `scans` says which layer each scan around it is at."""
        known = dict(zip(block.jaxpr.constvars, map(self.constant, block.consts), strict=True))
        known |= zip(block.jaxpr.invars, operands, strict=True)

        def read(atom) -> Value:
            if not isinstance(atom, Literal):
                return known[atom]
            return self.constant(np.asarray(atom.val, aval_of(atom).dtype))

        for step in block.steps:
            operands = [read(atom) for atom in step.eqn.invars]
            results = self.step(step, operands, scans, block.jaxpr.debug_info)
            known |= zip(step.eqn.outvars, results, strict=True)
        return [read(atom) for atom in block.jaxpr.outvars]

    def step(
        self, step: Step, operands: list[Value], scans: tuple[int, ...], debug_info
    ) -> Sequence[Value]:
        """The results of one equation: opened, unrolled or as it stands."""
        chosen = {
            name
            for name, site in step.sites.items()
            if any(leaf.name in self.sites for leaf in site.leaves)
        }
        kind = step.eqn.primitive.name
        if chosen and kind in CALLS and not _is_placed(step.eqn):
            return self.block(step.blocks[0], operands, scans)
        # A leaf that the scan does not slice meets data in all of its steps and is
        # solved once for all of them, so the scan has to stay one operation.
        if chosen and kind == "scan" and chosen <= step.stacked:
            return self.scan(step, operands, scans)
        turns = tuple(dict.fromkeys(turns_of(step, self.sites, scans)))
        return self.written(equation(step, operands, turns, debug_info))

    def scan(self, step: Step, operands: list[Value], scans: tuple[int, ...]) -> list[Value]:
        """The results of a scan, its body written once for each layer."""
        loop, body = scan_loop(step.eqn), step.blocks[0]
        first = loop.fixed + loop.carried
        fixed, carry = operands[: loop.fixed], operands[loop.fixed : first]
        sliced = {leaf.name for site in step.sites.values() for leaf in site.leaves}
        made = {}
        for layer in order_of_layers(step.eqn):
            index = self.constant(np.int32(layer))
            slices = [
                self.slice(stack, index, layer, aval_of(inside), sliced)
                for stack, inside in zip(operands[first:], body.jaxpr.invars[first:], strict=True)
            ]
            results = self.block(body, [*fixed, *carry, *slices], (*scans, layer))
            carry, made[layer] = results[: loop.carried], results[loop.carried :]
        stacks = zip(*(made[layer] for layer in sorted(made)), strict=True)
        outside = step.eqn.outvars[loop.carried :]
        return carry + [
            self.written(stack_of(layers, aval_of(variable)))[0]
            for layers, variable in zip(stacks, outside, strict=True)
        ]

    def slice(self, stack: Value, index: Value, layer: int, aval, sliced: set[str]) -> Value:
        """One layer of a stack; of a chosen leaf it depends on that layer alone.

        It is made anew from the leaf: what the whole stack becomes is not known before
        all of its layers are solved, and XLA moves and casts no more than it takes.
        """
        trail = self.trails.get(stack)
        if trail is None or trail.name not in sliced:
            return self.written(layer_of(stack, index, made_of([stack], aval)))[0]
        at = (*trail.layer, layer)
        turns = frozenset(turn for turn in stack.turns if turn[1][: len(at)] == at)
        value = Value(aval, varies=False, turns=turns)
        operations = (*trail.operations, layer_of(stack, index, value))
        self.trails[value] = _Trail(trail.name, operations, at)
        self.operations.append(fused(operations, [value]))
        return value

    def written(self, operation: Operation) -> Sequence[Value]:
        """Appends the operation, and follows a chosen leaf that it moves."""
        self.operations.append(operation)
        weights = [value for value in operation.inputs if value in self.trails]
        others = [value for value in operation.inputs if value not in self.trails]
        if (
            isinstance(operation, Equation)
            and operation.step.eqn.primitive.name in _MOVING
            and len(weights) == 1
            and not any(value.turns or value.varies or value.aval.shape for value in others)
        ):
            trail = self.trails[weights[0]]
            operations = (*trail.operations, operation)
            self.trails[operation.outputs[0]] = trail._replace(operations=operations)
        return operation.outputs


def _is_placed(eqn: JaxprEqn) -> bool:
    """Whether a call says how its operands or results are sharded."""
    shardings = (*eqn.params.get("in_shardings", ()), *eqn.params.get("out_shardings", ()))
    return any(isinstance(each, jax.sharding.Sharding) for each in shardings)
