"""Degrees through equations that move entries: shapes, pieces, lookups.

The equation is done to the arrays of factors themselves, which have the value's axes.
An axis of size one stays so: the factor does not depend on it.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from jax.extend.core import JaxprEqn

from jaxcompress.graph.jaxprs import aval_of
from jaxcompress.graph.symmetries.degrees.degree import (
    FREE,
    ONE,
    Degree,
    System,
    Term,
    combined,
    mapped,
)
from jaxcompress.graph.symmetries.degrees.pointwise import fixed


def _shape(atom) -> tuple[int, ...]:
    return tuple(aval_of(atom).shape)


def moving(change: Callable[[np.ndarray, JaxprEqn, int], np.ndarray]):
    """The rule of a primitive from what it does to an array of factors."""

    def rule(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
        return [mapped(degrees[0], lambda factors: change(factors, eqn, system.depth))]

    return rule


def _transposed(factors: np.ndarray, eqn: JaxprEqn, depth: int) -> np.ndarray:
    order = [depth + axis for axis in eqn.params["permutation"]]
    return factors.transpose(*range(depth), *order)


def _squeezed(factors: np.ndarray, eqn: JaxprEqn, depth: int) -> np.ndarray:
    return factors.squeeze(tuple(depth + axis for axis in eqn.params["dimensions"]))


def _broadcast(factors: np.ndarray, eqn: JaxprEqn, depth: int) -> np.ndarray:
    sizes = [1] * len(_shape(eqn.outvars[0]))
    for axis, size in zip(eqn.params["broadcast_dimensions"], factors.shape[depth:], strict=True):
        sizes[axis] = size
    return factors.reshape(*factors.shape[:depth], *sizes)


def _reshaped(factors: np.ndarray, eqn: JaxprEqn, depth: int) -> np.ndarray:
    return reshaped(factors, _shape(eqn.invars[0]), _shape(eqn.outvars[0]), depth)


def reshaped(
    factors: np.ndarray, before: Sequence[int], after: Sequence[int], depth: int
) -> np.ndarray:
    """The factors of a value that is reshaped, full only where axes with them are."""
    full, shape, position = list(factors.shape[:depth]), list(factors.shape[:depth]), depth
    for old, new in _groups(before, after):
        held = factors.shape[position : position + len(old)]
        position += len(old)
        alone = all(size == 1 for size in held)
        full += held if alone else old
        shape += [1] * len(new) if alone else new
    return np.broadcast_to(factors, full).reshape(shape)


def _groups(before: Sequence[int], after: Sequence[int]) -> Iterator[tuple[list[Any], list[Any]]]:
    """The shortest runs of equal size: (6, 4) to (2, 3, 4) is {6, 2·3}, {4, 4}."""
    if 0 in (*before, *after):
        yield list(before), list(after)
        return
    left, right = list(reversed(before)), list(reversed(after))
    while left or right:
        old, new = [left.pop()] if left else [], [right.pop()] if right else []
        while math.prod(old) != math.prod(new):
            if math.prod(old) < math.prod(new):
                old.append(left.pop())
            else:
                new.append(right.pop())
        yield old, new


def _sliced(factors: np.ndarray, eqn: JaxprEqn, depth: int) -> np.ndarray:
    starts, limits = eqn.params["start_indices"], eqn.params["limit_indices"]
    strides = eqn.params["strides"] or (1,) * len(starts)
    pieces = [slice(*each) for each in zip(starts, limits, strides, strict=True)]
    return factors[_where_full(factors, pieces, depth)]


def _where_full(factors: np.ndarray, pieces: Sequence[slice], depth: int) -> tuple[slice, ...]:
    whole = slice(None)
    return (whole,) * depth + tuple(
        piece if size > 1 else whole
        for piece, size in zip(pieces, factors.shape[depth:], strict=True)
    )


def _reversed(factors: np.ndarray, eqn: JaxprEqn, depth: int) -> np.ndarray:
    return np.flip(factors, tuple(depth + axis for axis in eqn.params["dimensions"]))


def _tiled(factors: np.ndarray, eqn: JaxprEqn, depth: int) -> np.ndarray:
    copies = [
        count if size > 1 else 1
        for count, size in zip(eqn.params["reps"], factors.shape[depth:], strict=True)
    ]
    return np.tile(factors, (*(1,) * depth, *copies))


def split(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
    """Consecutive pieces of one axis."""
    axis = system.depth + eqn.params["axis"]
    ends = list(itertools.accumulate(eqn.params["sizes"], initial=0))
    return [
        mapped(degrees[0], lambda factors, low=low, high=high: _piece(factors, axis, low, high))
        for low, high in itertools.pairwise(ends)
    ]


def _piece(factors: np.ndarray, axis: int, low: int, high: int) -> np.ndarray:
    if factors.shape[axis] == 1:
        return factors
    return np.take(factors, np.arange(low, high), axis=axis)


def unstack(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
    """The slices along one axis."""
    axis = system.depth + eqn.params["axis"]
    return [
        mapped(
            degrees[0],
            lambda factors, at=at: np.take(factors, min(at, factors.shape[axis] - 1), axis=axis),
        )
        for at in range(len(eqn.outvars))
    ]


def concatenate(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
    """Values side by side along one axis."""
    axis = eqn.params["dimension"]
    sizes = [_shape(operand)[axis] for operand in eqn.invars]
    return [side_by_side(degrees, sizes, system.depth + axis, system)]


def stack(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
    """Values side by side along a new axis."""
    axis = system.depth + eqn.params["axis"]
    raised = [mapped(each, lambda factors: np.expand_dims(factors, axis)) for each in degrees]
    return [side_by_side(raised, [1] * len(raised), axis, system)]


def side_by_side(
    degrees: Sequence[Degree], sizes: Sequence[int], axis: int, system: System
) -> Degree:
    """The degree of values one after the other along an axis of the factors."""
    if all(degree.free for degree in degrees):
        return FREE
    if not any(degree.terms for degree in degrees):
        return next(degree for degree in degrees if not degree.free)
    powers = {term.power for degree in degrees for term in degree.terms}
    terms = []
    for power in sorted(powers):
        held = [[t.factors for t in degree.terms if t.power == power] for degree in degrees]
        for number in range(max(map(len, held))):
            there = [_with(its[number].shape, axis, 1) for its in held if number < len(its)]
            shape = np.broadcast_shapes(*there)
            row = [
                _filled(degree, its, number, _with(shape, axis, size), system)
                for degree, its, size in zip(degrees, held, sizes, strict=True)
            ]
            terms.append(Term(power, np.concatenate(row, axis=axis)))
    return Degree(combined(terms))


def _filled(
    degree: Degree, held: list[np.ndarray], number: int, shape: tuple[Any, ...], system: System
) -> np.ndarray:
    """A piece of factors; of zeros any, and ones where it has none."""
    if number < len(held):
        return np.broadcast_to(held[number], shape)
    return system.unknowns(shape) if degree.free else np.full(shape, ONE)


def _with(shape: Sequence[int], axis: int, size: int) -> tuple[int, ...]:
    return (*shape[:axis], size, *shape[axis + 1 :])


def pad(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
    """Zeros around a value; padded by anything else, nothing passes."""
    degree, value = degrees
    if not value.free:
        return fixed(eqn, degrees, system)
    for axis, config in enumerate(eqn.params["padding_config"]):
        degree = _padded(degree, _shape(eqn.invars[0])[axis], config, system.depth + axis, system)
    return [degree]


def _padded(degree: Degree, size: int, config, axis: int, system: System) -> Degree:
    low, high, interior = config
    if not any(term.factors.shape[axis] > 1 for term in degree.terms):
        return degree
    if interior:
        return Degree(system.uniform(degree.terms, axis), place=system.place)
    first, last = max(0, -low), size + min(0, high)
    degree = mapped(degree, lambda factors: _piece(factors, axis, first, last))
    sizes = [max(low, 0), last - first, max(high, 0)]
    return side_by_side([FREE, degree, FREE], sizes, axis, system)


RULES = {
    "broadcast_in_dim": moving(_broadcast),
    "concatenate": concatenate,
    "pad": pad,
    "reshape": moving(_reshaped),
    "rev": moving(_reversed),
    "slice": moving(_sliced),
    "split": split,
    "squeeze": moving(_squeezed),
    "stack": stack,
    "tile": moving(_tiled),
    "transpose": moving(_transposed),
    "unstack": unstack,
}
