"""Degrees through equations that sum: dots, convolutions, reductions.

What is summed over must keep its entries: factors along it cancel between the operands.
"""

from collections.abc import Sequence

import numpy as np
from jax.extend.core import JaxprEqn

from jaxcompress.graph.jaxprs import aval_of
from jaxcompress.graph.symmetries.degrees.degree import FREE, Degree, System, Term, combined
from jaxcompress.graph.symmetries.degrees.pointwise import fixed
from jaxcompress.graph.symmetries.degrees.shape import reshaped


def cancelled(terms: Sequence[Term], axes: Sequence[int], system: System) -> tuple[Term, ...]:
    """Says that factors along the axes cancel; the other terms, without these axes."""
    along = [t for t in terms if any(t.factors.shape[axis] > 1 for axis in axes)]
    system.vanish(along)
    others = [term for term in terms if not any(term is each for each in along)]
    return combined(Term(t.power, t.factors.squeeze(tuple(axes))) for t in others)


def dot(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
    """Factors of both operands along what is summed over cancel; the others pass."""
    summed, batch = eqn.params["dimension_numbers"]
    return [_dotted(degrees, [aval_of(x).ndim for x in eqn.invars], summed, batch, system)]


def _dotted(degrees: Sequence[Degree], ranks, summed, batch, system: System) -> Degree:
    """The degree of a dot from the axes of both operands."""
    if any(degree.free for degree in degrees):
        return FREE
    depth = system.depth
    free = [
        [axis for axis in range(rank) if axis not in (*summed[side], *batch[side])]
        for side, rank in enumerate(ranks)
    ]
    # Both operands in one space: (scans…, batch…, free left…, free right…, summed…).
    first = depth + len(batch[0])
    beside = (range(first + len(free[0]), first + len(free[0]) + len(free[1])),)
    beside += (range(first, first + len(free[0])),)
    terms = []
    for side in (0, 1):
        order = [depth + axis for axis in (*batch[side], *free[side], *summed[side])]
        for term in degrees[side].terms:
            ordered = term.factors.transpose(*range(depth), *order)
            terms.append(Term(term.power, np.expand_dims(ordered, tuple(beside[side]))))
    last = first + len(free[0]) + len(free[1])
    rest = cancelled(combined(terms), range(last, last + len(summed[0])), system)
    place = next((degree.place for degree in degrees if degree.place), system.place)
    return Degree(rest, place=place)


def ragged_dot(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
    """A dot with one matrix for each group of rows, all of them multiplied alike."""
    numbers = eqn.params["ragged_dot_dimension_numbers"]
    summed, batch = numbers.dot_dimension_numbers
    groups = numbers.rhs_group_dimensions
    if len(groups) != 1 or set(numbers.lhs_ragged_dimensions) & {*summed[0], *batch[0]}:
        return fixed(eqn, degrees, system)
    (group,), (left, right) = groups, degrees[:2]
    terms = system.uniform(right.terms, system.depth + group)
    one = tuple(Term(t.power, t.factors.squeeze(system.depth + group)) for t in terms)
    right = Degree(one, right.free, right.place)
    without = [tuple(axis - (axis > group) for axis in each[1]) for each in (summed, batch)]
    ranks = [aval_of(eqn.invars[0]).ndim, aval_of(eqn.invars[1]).ndim - 1]
    summed, batch = (summed[0], without[0]), (batch[0], without[1])
    return [_dotted([left, right], ranks, summed, batch, system)]


def convolution(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
    """As a dot over the features and the window, group by group."""
    if any(degree.free for degree in degrees):
        return [FREE]
    if eqn.params["batch_group_count"] > 1:
        return fixed(eqn, degrees, system)
    numbers, groups = eqn.params["dimension_numbers"], eqn.params["feature_group_count"]
    depth = system.depth
    _, _, *positions = numbers.lhs_spec
    outputs, inputs, *window = numbers.rhs_spec
    kernel = aval_of(eqn.invars[1]).shape
    per_group, per_input = kernel[outputs] // groups, kernel[inputs]
    # Windows mix positions, so that no factor may differ among them.
    data = degrees[0].terms
    for axis in positions:
        data = system.uniform(data, depth + axis)
    # Both operands in one space: (scans…, batch, group, output, input, window…).
    terms = []
    for term in _ordered(data, numbers.lhs_spec, depth):
        scans, batch, features = term.factors.shape[:depth], *term.factors.shape[depth : depth + 2]
        shape = (groups, 1, per_input) if features > 1 else (1, 1, 1)
        terms.append(_reshaped(term, (*scans, batch, *shape, *(1,) * len(window))))
    for term in _ordered(degrees[1].terms, numbers.rhs_spec, depth):
        scans, (features, *others) = term.factors.shape[:depth], term.factors.shape[depth:]
        shape = (groups, per_group) if features > 1 else (1, 1)
        terms.append(_reshaped(term, (*scans, 1, *shape, *others)))
    first = depth + 3
    rest = cancelled(combined(terms), range(first, first + 1 + len(window)), system)
    return [_convolved(eqn, rest, (groups, per_group), system)]


def _ordered(terms: Sequence[Term], axes: Sequence[int], depth: int) -> list[Term]:
    """Terms with their axes, but those of scans, in another order."""
    order = (*range(depth), *(depth + axis for axis in axes))
    return [Term(term.power, term.factors.transpose(*order)) for term in terms]


def _reshaped(term: Term, shape: Sequence[int]) -> Term:
    return Term(term.power, term.factors.reshape(*shape))


def _convolved(eqn: JaxprEqn, terms: Sequence[Term], features, system: System) -> Degree:
    """From (scans…, batch, group, output) to the equation's own layout."""
    depth, found = system.depth, []
    batch, feature, *_ = eqn.params["dimension_numbers"].out_spec
    size = features[0] * features[1]
    for term in terms:
        batches = term.factors.shape[depth]
        # (batch, groups, outputs of one) to (batch, features).
        joined = reshaped(term.factors, (batches, *features), (batches, size), depth)
        shape = [1] * len(aval_of(eqn.outvars[0]).shape)
        shape[batch], shape[feature] = joined.shape[depth:]
        if batch > feature:
            joined = joined.swapaxes(depth, depth + 1)
        found.append(Term(term.power, joined.reshape(*joined.shape[:depth], *shape)))
    return Degree(combined(found), place=system.place)


def reduction(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
    """Sums and extremes: what is reduced has no factor, the other axes pass."""
    (degree,) = degrees
    axes = [system.depth + axis for axis in eqn.params["axes"]]
    rest = cancelled(degree.terms, axes, system)
    return [Degree(rest, degree.free, degree.place or system.place)]


def position(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
    """Where the extreme is: a factor along the other axes moves nothing."""
    reduction(eqn, degrees, system)
    return [Degree(place=system.place)]


def running(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
    """Running sums and extremes along one axis."""
    return [_without_factors(degrees[0], [eqn.params["axis"]], system)]


def windowed(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
    """Sums and extremes of windows; along other axes factors pass."""
    axes = [axis for axis, size in enumerate(eqn.params["window_dimensions"]) if size > 1]
    axes += [axis for axis, size in enumerate(eqn.params["window_strides"]) if size > 1]
    return [_without_factors(degrees[0], sorted(set(axes)), system)]


def _without_factors(degree: Degree, axes: Sequence[int], system: System) -> Degree:
    """The degree of a value that keeps its shape, with no factor along the axes."""
    along = [
        t for t in degree.terms if any(t.factors.shape[system.depth + axis] > 1 for axis in axes)
    ]
    system.vanish(along)
    rest = tuple(term for term in degree.terms if not any(term is each for each in along))
    return Degree(rest, degree.free, degree.place or system.place)


RULES = {
    "argmax": position,
    "argmin": position,
    "conv_general_dilated": convolution,
    "cummax": running,
    "cummin": running,
    "cumsum": running,
    "dot_general": dot,
    "ragged_dot_general": ragged_dot,
    "reduce_max": reduction,
    "reduce_min": reduction,
    "reduce_sum": reduction,
    "reduce_window_max": windowed,
    "reduce_window_min": windowed,
    "reduce_window_sum": windowed,
}
