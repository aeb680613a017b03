"""What an axis rule is, and the record of one equation that rules read and write.

A rule has two halves that must agree: `couple` says which axes of operands and results
are the same axis, `emit` writes the equation for arrays from which indices of those
axes are gone. They stand side by side, since to change one alone breaks the program.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from jax.extend.core import ClosedJaxpr, JaxprEqn

from jaxcompress.graph.jaxprs import aval_of, variables
from jaxcompress.graph.surgery.dims import Dim, pin
from jaxcompress.graph.surgery.refinement import unify

Dims = tuple[Dim, ...]
"""The axes of one array."""


class Body(NamedTuple):
    """One occurrence of a jaxpr: the axes of its arrays, and a record per equation."""

    jaxpr: ClosedJaxpr
    consts: tuple[Dims, ...]
    operands: tuple[Dims, ...]
    records: "tuple[Record, ...]"
    results: tuple[Dims, ...]


class Walk(Protocol):
    """The forward pass, as far as rules see it."""

    def body(self, jaxpr: ClosedJaxpr, operands: Sequence[Dims], caller: "Record") -> Body:
        """Walks an inner program of the caller, whose operands have these axes."""
        ...

    def derivative(self) -> "Walk | None":
        """The walk over a derivative; None inside one."""
        ...


@dataclasses.dataclass(eq=False)
class Record:
    """One occurrence of an equation, and the axes of its operands and results.

    Invariants:
      - Never shared between occurrences, though JAX shares equations.
      - It is itself the reason of what it pins; `couplings` puts it into words.
      - `aside` holds axes that a rule finds when it couples and needs again
        when it emits.
    """

    eqn: JaxprEqn
    inputs: list[Dims]
    walk: Walk
    caller: "Record | None" = None
    outputs: list[Dims] = dataclasses.field(default_factory=list)
    bodies: tuple[Body, ...] = ()
    aside: list[Any] = dataclasses.field(default_factory=list)

    @property
    def params(self) -> dict[str, Any]:
        return self.eqn.params

    @property
    def output_shapes(self) -> list[tuple[int, ...]]:
        return [aval_of(result).shape for result in self.eqn.outvars]

    def body(self, jaxpr: ClosedJaxpr, operands: Sequence[Dims]) -> Body:
        """Walks an inner program."""
        return self.walk.body(jaxpr, operands, self)

    def couple(self, a: Dim, b: Dim) -> None:
        unify(a, b, self)

    def pin(self, *dims: Dim) -> None:
        for d in dims:
            pin(d, self)

    def pinned(self, size: int) -> Dim:
        """A new axis of which no index may be removed."""
        d = Dim(size)
        pin(d, self)
        return d


class Reduction(NamedTuple):
    """An operand's axis that an equation sums over, or the like.

    Attributes:
      operand: position of the operand.
      axis: its axis.
      neutral: entry of the operand's dtype that changes no result, made
        from that dtype.
    """

    operand: int
    axis: int
    neutral: Callable[[np.dtype], Any]


class Emitter(Protocol):
    """Writes equations anew: shrunk, where indices are gone, or masked, by `fill`."""

    def kept(self, d: Dim) -> np.ndarray:
        """Which indices of the axis are kept, bool (size,)."""
        ...

    def sizes(self, dims: Sequence[Dim]) -> tuple[int, ...]:
        """How many indices of each axis are kept."""
        ...

    def take(self, value: Any, dims: Dims) -> Any:
        """The kept entries of an array made at full size."""
        ...

    def fill(self, value: Any, dims: Dims, reduction: Reduction) -> Any:
        """The operand with the neutral element in place of every removed entry."""
        ...

    def at(self, layer: Any) -> "Emitter":
        """The emitter inside one step of a scan."""
        ...

    def run(self, body: Body, operands: Sequence[Any]) -> list[Any]:
        """The results of an inner program."""
        ...


Couple = Callable[[Record], list[Dims]]
Emit = Callable[[Record, list, Emitter], list]


def bind(record: Record, values: Sequence[Any], **changed: Any) -> list[Any]:
    """The equation itself on these values, with some of its params changed."""
    primitive = record.eqn.primitive
    results = primitive.bind(*values, **(record.params | changed))
    return list(results) if primitive.multiple_results else [results]


def of_variables(eqn: JaxprEqn, per_operand: Sequence[Any]) -> list[Any]:
    """What belongs to the variables among the operands, each once, in order.

    An equation may take one variable twice, as `x * x` does, and literals beside. A
    function of its variables takes each once.
    """
    return [per_operand[eqn.invars.index(variable)] for variable in variables(eqn.invars)]


def as_it_is(record: Record, values: list[Any], emitter: Emitter) -> list[Any]:
    """Emits an equation in whose params no size is written."""
    del emitter
    return bind(record, values)


def reduces_nothing(record: Record) -> list[Reduction]:
    """No reduction, as of most equations."""
    del record
    return []


class Rule(NamedTuple):
    """How a primitive treats axes, and how it is emitted without some indices.

    Attributes:
      couple: says what the operands' axes have to do with one another; gives the
        results' axes.
      emit: the equation on operands that lack what was removed.
      reduces: the operands' axes that it sums over, or the like.
    """

    couple: Couple
    emit: Emit = as_it_is
    reduces: Callable[[Record], list[Reduction]] = reduces_nothing


def fresh(shape: Sequence[int]) -> Dims:
    """New axes of which nothing is known."""
    return tuple(Dim(size) for size in shape)


def zero(dtype: np.dtype):
    """The neutral element of a sum."""
    return np.zeros((), dtype)
