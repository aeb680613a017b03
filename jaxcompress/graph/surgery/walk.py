"""One forward pass that follows every axis of every array through a program.

It makes one record per *occurrence* of an equation, since JAX shares inner programs
between calls. What a primitive does to axes is the matter of `axis_rules`; what follows
for the leaves, of `couplings`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal

from jaxcompress.core.types import Model, Params
from jaxcompress.graph.jaxprs import aval_of
from jaxcompress.graph.program import Program, trace
from jaxcompress.graph.surgery.axis_rules import rule_of
from jaxcompress.graph.surgery.axis_rules.rule import Body, Dims, Record, fresh
from jaxcompress.graph.surgery.dims import pin
from jaxcompress.graph.surgery.refinement import unify
from jaxcompress.graph.traversal import forward


class Coupled(NamedTuple):
    """A program whose axes are known.

    Attributes:
      program: the program.
      leaves: the axes of every leaf, by name.
      body: the records of its equations.
    """

    program: Program
    leaves: dict[str, Dims]
    body: Body


def couple(fn: Model, params: Params, *inputs: Any) -> Coupled:
    """Follows every axis of every array through the program; nothing is computed."""
    program = trace(fn, params, *inputs)
    jaxpr = program.jaxpr
    shapes = [fresh(aval.shape) for aval in jaxpr.in_avals]
    names = [leaf.name for leaf in program.leaves]
    leaves = dict(zip(names, shapes, strict=False))
    _pin_axes(inputs, shapes[len(names) :], "the input")
    body = _Walk().body(jaxpr, shapes)
    results = list(body.results)
    if _returns_params(program.outputs, params):
        own = results[-len(names) :]
        del results[-len(names) :]
        for dims, leaf in zip(own, leaves.values(), strict=True):
            for a, b in zip(dims, leaf, strict=True):
                unify(a, b, "the new params")
        _pin_axes(program.outputs[0], results, "the output")
    else:
        _pin_axes(program.outputs, results, "the output")
    return Coupled(program, leaves, body)


def _pin_axes(tree, shapes: Sequence[Dims], what: str) -> None:
    """Axes that the caller sees stay whole."""
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
    for path, shape in zip(paths, shapes, strict=True):
        for axis, d in enumerate(shape):
            pin(d, f"axis {axis} of {what} {jax.tree_util.keystr(path)}".rstrip())


def _returns_params(outputs, params: Params) -> bool:
    """Whether the model is a training step's `(outputs, new_params)`."""
    if not (isinstance(outputs, tuple) and len(outputs) == 2):
        return False
    structure = jax.tree.structure(params)
    if structure != jax.tree.structure(outputs[1]) or jax.tree_util.treedef_is_leaf(structure):
        return False
    pairs = zip(jax.tree.leaves(params), jax.tree.leaves(outputs[1]), strict=True)
    return all(np.shape(leaf) == result.shape for leaf, result in pairs)


class _Walk:
    """The forward pass; `depth` counts the derivatives it is inside of."""

    def __init__(self, depth: int = 0):
        self.depth = depth

    def body(
        self, jaxpr: ClosedJaxpr, operands: Sequence[Dims], caller: Record | None = None
    ) -> Body:
        consts = tuple(fresh(np.shape(const)) for const in jaxpr.consts)
        records: list[Record] = []

        def through(index: int, inputs: list[Dims]) -> list[Dims]:
            eqn = jaxpr.jaxpr.eqns[index]
            record = Record(eqn, inputs, self, caller)
            record.outputs = rule_of(eqn.primitive.name).couple(record)
            records.append(record)
            return record.outputs

        def of_literal(literal: Literal) -> Dims:
            return fresh(aval_of(literal).shape)

        results = forward(jaxpr.jaxpr, consts, operands, through, of_literal)
        return Body(jaxpr, consts, tuple(operands), tuple(records), tuple(results))

    def derivative(self) -> "_Walk | None":
        return _Walk(self.depth + 1) if self.depth == 0 else None
