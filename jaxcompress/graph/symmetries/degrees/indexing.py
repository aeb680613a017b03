"""Degrees through lookups: what data choose is multiplied alike."""

import numpy as np
from jax.extend.core import JaxprEqn

from jaxcompress.graph.jaxprs import aval_of
from jaxcompress.graph.symmetries.degrees.degree import Degree, System, Term, combined
from jaxcompress.graph.symmetries.degrees.pointwise import fixed


def _alike(degree: Degree, axes, system: System) -> Degree:
    """The degree where factors do not differ along these axes of the value."""
    terms = degree.terms
    for axis in axes:
        terms = system.uniform(terms, system.depth + axis)
    return Degree(terms, degree.free, degree.place or system.place)


def gather(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
    """Rows of a table: factors along what is copied whole pass."""
    numbers, sizes = eqn.params["dimension_numbers"], eqn.params["slice_sizes"]
    shape = aval_of(eqn.invars[0]).shape
    filled = eqn.params.get("fill_value")
    if filled is not None and filled != 0 and np.isfinite(filled):
        return fixed(eqn, degrees, system)
    batching = numbers.operand_batching_dims
    whole = [axis for axis, size in enumerate(sizes) if size == shape[axis]]
    dropped = {*numbers.collapsed_slice_dims, *batching}
    kept = [axis for axis in range(len(shape)) if axis not in dropped]
    # Batching axes lie among the indices' own; to follow one is not worth its lines.
    chosen = [axis for axis in range(len(shape)) if axis not in whole or axis in dropped]
    degree = _alike(degrees[0], chosen, system)
    rank, depth = len(aval_of(eqn.outvars[0]).shape), system.depth
    terms = []
    for term in degree.terms:
        sizes_out = [1] * rank
        for axis, out in zip(kept, numbers.offset_dims, strict=True):
            sizes_out[out] = term.factors.shape[depth + axis]
        terms.append(
            Term(term.power, term.factors.reshape(*term.factors.shape[:depth], *sizes_out))
        )
    return [Degree(combined(terms), degree.free, degree.place)]


def dynamic_slice(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
    """A slice at a place that data choose."""
    sizes, shape = eqn.params["slice_sizes"], aval_of(eqn.invars[0]).shape
    partial = [axis for axis, size in enumerate(sizes) if size != shape[axis]]
    return [_alike(degrees[0], partial, system)]


def dynamic_update(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
    """A part that is overwritten: old and new are multiplied alike."""
    shape, part = (aval_of(operand).shape for operand in eqn.invars[:2])
    partial = [axis for axis, size in enumerate(part) if size != shape[axis]]
    return [system.equal([_alike(each, partial, system) for each in degrees[:2]])]


def scatter(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
    """Rows that are written or added: old and new are multiplied alike."""
    numbers = eqn.params["dimension_numbers"]
    shape, _, update = (aval_of(operand).shape for operand in eqn.invars)
    fixed_axes = {*numbers.inserted_window_dims, *numbers.operand_batching_dims}
    window = [axis for axis in range(len(shape)) if axis not in fixed_axes]
    pairs = list(zip(window, numbers.update_window_dims, strict=True))
    whole = [(axis, new) for axis, new in pairs if shape[axis] == update[new]]
    passing, written = {axis for axis, _ in whole}, {new for _, new in whole}
    old = _alike(degrees[0], [a for a in range(len(shape)) if a not in passing], system)
    new = _alike(degrees[2], [a for a in range(len(update)) if a not in written], system)
    depth, terms = system.depth, []
    for term in new.terms:
        sizes = [1] * len(shape)
        for axis, at in whole:
            sizes[axis] = term.factors.shape[depth + at]
        terms.append(Term(term.power, term.factors.reshape(*term.factors.shape[:depth], *sizes)))
    return [system.equal([old, Degree(tuple(terms), new.free, new.place)])]


RULES = {
    "dynamic_slice": dynamic_slice,
    "dynamic_update_slice": dynamic_update,
    "gather": gather,
    "scatter": scatter,
    "scatter-add": scatter,
    "scatter-max": scatter,
    "scatter-min": scatter,
}
