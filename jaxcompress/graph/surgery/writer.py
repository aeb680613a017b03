"""Writes a program anew: with smaller arrays, or with some equations run another way.

The records of the program are gone through once more, on values. What arrays hold is
said by an `Arrays`, what chosen equations do by an `Edit`; every other equation runs as
it was. Both are values that a caller makes: nobody derives from the writer.
"""

import copy
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy as np
from jax.extend.core import Literal

from jaxcompress.core.leaf import materialize
from jaxcompress.core.types import Params, PyTree
from jaxcompress.graph.jaxprs import as_function, inner_jaxprs, variables
from jaxcompress.graph.surgery.axis_rules import rule_of
from jaxcompress.graph.surgery.axis_rules.rule import (
    Body,
    Dims,
    Record,
    Reduction,
    bind,
    of_variables,
)
from jaxcompress.graph.surgery.bodies import opened
from jaxcompress.graph.surgery.dims import Dim
from jaxcompress.graph.surgery.walk import Coupled
from jaxcompress.graph.traversal import forward


class Arrays(Protocol):
    """What the arrays of the written program hold, against those of the original."""

    def changes(self, record: Record) -> bool:
        """Whether the equation itself has to be written anew."""
        ...

    def kept(self, d: Dim) -> np.ndarray:
        """Which indices of an axis are there: bool (size,)."""
        ...

    def take(self, value: Any, dims: Dims) -> Any:
        """What is there of an array made at full size: a constant, a literal."""
        ...

    def fill(self, value: Any, dims: Dims, reduction: Reduction) -> Any:
        """An operand as a reduction is to see it."""
        ...

    def at(self, layer: Any) -> "Arrays":
        """The same inside one step of a scan."""
        ...


Edit = Callable[["Writer", Record, list], Sequence]
"""(writer, record, values of its operands) to values of its results.

`writer.unedited(record, values)` is what the equation gives without the edit.
"""

NO_EDITS: Mapping[Record, Edit] = types.MappingProxyType({})


class Writer:
    """Runs the records of a program on the values of another.

    Args:
      body: the records of the whole program.
      arrays: what arrays hold.
      edits: what happens at chosen equations, at any depth.
    """

    def __init__(self, body: Body, arrays: Arrays, edits: Mapping[Record, Edit] = NO_EDITS):
        self.arrays = arrays
        self.edits = edits
        # All other equations run as JAX wrote them, calls and loops unopened, so that a
        # change in one place leaves the text of the compiled program alone elsewhere.
        self.opened: set[Record] = opened(
            body, lambda record: record in edits or arrays.changes(record)
        )

    def kept(self, d: Dim) -> np.ndarray:
        return self.arrays.kept(d)

    def take(self, value: Any, dims: Dims) -> Any:
        return self.arrays.take(value, dims)

    def fill(self, value: Any, dims: Dims, reduction: Reduction) -> Any:
        return self.arrays.fill(value, dims, reduction)

    def sizes(self, dims: Sequence[Dim]) -> tuple[int, ...]:
        return tuple(int(np.count_nonzero(self.kept(d))) for d in dims)

    def at(self, layer: Any) -> "Writer":
        """The writer inside one step of a scan."""
        inside = copy.copy(self)
        inside.arrays = self.arrays.at(layer)
        return inside

    def run(self, body: Body, operands: Sequence[Any]) -> list[Any]:
        """The results of one body on operands that are as this program has them."""
        consts = [self.take(*pair) for pair in zip(body.jaxpr.consts, body.consts, strict=True)]

        def through(index: int, values: list[Any]) -> Sequence[Any]:
            record = body.records[index]
            # A number in the text has the axes of the operand that it stands for.
            pairs = zip(record.eqn.invars, values, record.inputs, strict=True)
            values = [
                self.take(value, dims) if isinstance(atom, Literal) else value
                for atom, value, dims in pairs
            ]
            return self.write(record, values)

        results = forward(body.jaxpr.jaxpr, consts, operands, through, lambda atom: atom.val)
        ends = zip(body.jaxpr.jaxpr.outvars, results, body.results, strict=True)
        return [
            self.take(value, dims) if isinstance(atom, Literal) else value
            for atom, value, dims in ends
        ]

    def write(self, record: Record, values: list[Any]) -> Sequence[Any]:
        edit = self.edits.get(record)
        return self.unedited(record, values) if edit is None else edit(self, record, values)

    def unedited(self, record: Record, values: list[Any]) -> Sequence[Any]:
        """The equation on these values, written anew only where arrays ask for it."""
        if record not in self.opened:
            return unchanged(record, values)
        rule = rule_of(record.eqn.primitive.name)
        values = list(values)
        for reduction in rule.reduces(record):
            operand = reduction.operand
            values[operand] = self.fill(values[operand], record.inputs[operand], reduction)
        return rule.emit(record, values, self)


def written(writer: Writer, coupled: Coupled, params: Params, inputs: tuple[Any, ...]) -> PyTree:
    """What the written program gives, in the form that the model gives it."""
    results = writer.run(coupled.body, jax.tree.leaves((materialize(params), inputs)))
    return jax.tree.unflatten(jax.tree.structure(coupled.program.outputs), results)


def unchanged(record: Record, values: Sequence[Any]) -> Sequence[Any]:
    """The equation on these values, as it was."""
    eqn = record.eqn
    inner = inner_jaxprs(eqn)
    if not inner:
        return bind(record, values)
    call = as_function([eqn], variables(eqn.invars), eqn.outvars, inner[0].jaxpr.debug_info)
    return call(*of_variables(eqn, values))


def inlined(writer: Writer, record: Record, values: list[Any]) -> Sequence[Any]:
    """An edit: the body of a call in place of the call."""
    return writer.run(record.bodies[0], values)


def absent(writer: Writer, record: Record, values: list[Any]) -> Sequence[Any]:
    """An edit: the equation is not run, as nothing reads its results."""
    del writer, values
    return [None] * len(record.eqn.outvars)
