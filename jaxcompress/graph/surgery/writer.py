"""The shrunk and the masked program, written by one walker over the records.

Shrunk: what was removed is absent from every array. Masked: all arrays keep their
shapes, and in front of every equation that reduces over a removed index the entry is
replaced by what changes no result. A shrunk program equals the masked one for any
parameters and inputs, up to the order of sums.
"""

import copy
import itertools
import types
from collections.abc import Container, Iterator, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from jaxcompress.core.leaf import materialize
from jaxcompress.core.types import Params, PyTree
from jaxcompress.graph.jaxprs import as_function, inner_jaxprs, variables
from jaxcompress.graph.surgery.axis_rules import rule_of
from jaxcompress.graph.surgery.axis_rules.rule import (
    Body,
    Record,
    Reduction,
    Shape,
    bind,
    of_variables,
)
from jaxcompress.graph.surgery.dims import Dim, atoms
from jaxcompress.graph.surgery.divisors import Divisor, Divisors, new_divisors
from jaxcompress.graph.surgery.kept import RemovedIndices, keep
from jaxcompress.graph.surgery.walk import Coupled


class Writer:
    """The walker: equations that something was removed from are written anew.

    Args:
      body: the records of the whole program.
      removed: per atom, which of its indices are removed.
      divisors: what means over removed units divide by.
    """

    divisors: Mapping[Record, Divisor] = types.MappingProxyType({})

    def __init__(self, body: Body, removed: RemovedIndices, divisors: Divisors = Divisors.KEPT):
        self.removed = removed
        self.touched = set(_touched(body, removed))
        if divisors is Divisors.NEW:
            self.divisors = new_divisors(body, removed)

    def kept(self, d: Dim) -> np.ndarray:
        raise NotImplementedError

    def take(self, value, shape: Shape):
        raise NotImplementedError

    def fill(self, value, shape: Shape, reduction: Reduction):
        raise NotImplementedError

    def at(self, layer) -> "Writer":
        """The writer of one step of a scan over layers."""
        del layer
        return self

    def sizes(self, shape: Sequence[Dim]) -> tuple[int, ...]:
        return tuple(int(np.count_nonzero(self.kept(d))) for d in shape)

    def run(self, body: Body, operands: Sequence) -> list:
        """The results of one body on operands that are as this program has them."""
        jaxpr = body.jaxpr.jaxpr
        consts = [self.take(*pair) for pair in zip(body.jaxpr.consts, body.consts, strict=True)]
        known = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *operands), strict=True))

        def read(atom, shape: Shape):
            return self.take(atom.val, shape) if isinstance(atom, Literal) else known[atom]

        for record in body.records:
            eqn = record.eqn
            values = [read(*pair) for pair in zip(eqn.invars, record.inputs, strict=True)]
            if record in self.divisors:
                operand, width = self.divisors[record]
                values[operand] = width
            known |= zip(eqn.outvars, self.write(record, values), strict=True)
        return [read(*pair) for pair in zip(jaxpr.outvars, body.results, strict=True)]

    def write(self, record: Record, values: list) -> Sequence:
        if record not in self.touched:
            return unchanged(record, values)
        rule = rule_of(record.eqn.primitive.name)
        for reduction in rule.reduces(record):
            operand = reduction.operand
            values[operand] = self.fill(values[operand], record.inputs[operand], reduction)
        return rule.emit(record, values, self)


class Shrunk(Writer):
    """Removed indices are absent from every array."""

    def kept(self, d: Dim) -> np.ndarray:
        kept = keep(d, self.removed)
        return (
            kept if kept.ndim == 1 else kept[0]
        )  # where layers lose different indices, equally many

    def take(self, value, shape: Shape):
        for axis, d in enumerate(shape):
            kept = self.kept(d)
            if not kept.all():
                value = jnp.take(value, np.flatnonzero(kept), axis=axis)
        return value

    def fill(self, value, shape: Shape, reduction: Reduction):
        del shape, reduction
        return value


class Masked(Writer):
    """Every array keeps its shape; no reduction sees a removed entry."""

    layer = None

    def at(self, layer) -> "Writer":
        if self.layer is not None:
            return self
        inside = copy.copy(self)
        inside.layer = layer
        return inside

    def kept(self, d: Dim) -> np.ndarray:
        return np.ones(d.size, bool)

    def take(self, value, shape: Shape):
        del shape
        return value

    def fill(self, value, shape: Shape, reduction: Reduction):
        kept = keep(shape[reduction.axis], self.removed)
        if kept.all():
            return value
        if kept.ndim == 2:
            kept = jnp.asarray(kept)[self.layer]
        others = [axis for axis in range(len(shape)) if axis != reduction.axis]
        return jnp.where(jnp.expand_dims(kept, others), value, reduction.neutral(value.dtype))


def emitted(writer: Writer, coupled: Coupled, params: Params, inputs: tuple) -> PyTree:
    """What the written program gives, in the form that the model gives it."""
    results = writer.run(coupled.body, jax.tree.leaves((materialize(params), inputs)))
    return jax.tree.unflatten(jax.tree.structure(coupled.program.outputs), results)


def around(body: Body, chosen: Container[Record]) -> Iterator[Record]:
    """The chosen records, and those of the calls and loops that they lie in."""
    for record in body.records:
        inside = [inner for block in record.bodies for inner in around(block, chosen)]
        if inside or record in chosen:
            yield record
        yield from inside


def _touched(body: Body, removed: RemovedIndices) -> Iterator[Record]:
    """The records, at any depth, of equations that something was removed from."""
    for record in body.records:
        inside = [inner for block in record.bodies for inner in _touched(block, removed)]
        dims = itertools.chain(*record.inputs, *record.outputs)
        if inside or any(atom in removed for d in dims for atom in atoms(d)):
            yield record
        yield from inside


def unchanged(record: Record, values: Sequence) -> Sequence:
    """The equation on these values, as it was."""
    eqn = record.eqn
    inner = inner_jaxprs(eqn)
    if not inner:
        return bind(record, values)
    call = as_function([eqn], variables(eqn.invars), eqn.outvars, inner[0].jaxpr.debug_info)
    return call(*of_variables(eqn, values))
