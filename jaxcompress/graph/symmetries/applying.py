"""Params after scales are folded away and a dim is rotated."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.messages import shown
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.trees import check_arrays, check_entries
from jaxcompress.core.types import Array, Params
from jaxcompress.graph.surgery.families import Place
from jaxcompress.graph.symmetries.rotations import (
    Fold,
    Rotation,
    check_rotation,
    entries_are_equal,
)

TOLERANCE = 1e-4
"""How far products of rows of a matrix may be from those of an orthogonal one."""


def rotate(params: Params, rotation: Rotation, matrix: Array | np.ndarray) -> Params:
    """Multiplies leaves by a matrix along a dim, so that the function stays the same.

    Scales in the way are folded first into what reads or makes the scaled values.

    Args:
      params: the tree that the rotation was found for, or one with its shapes.
      rotation: one of `rotations(fn, params, *inputs).found`.
      matrix: (size, size) orthogonal, or (layers, size, size) where layers may differ;
        it keeps the vector of ones where `rotation.fixes_ones`. A traced one is
        not checked.

    Returns:
      Params of the same structure, shapes and dtypes; computed in float32.

    Raises:
      TypeError: an argument is of another kind.
      ValueError: the matrix has another shape, is not orthogonal or moves the ones; a
        leaf is missing, has another size, is compressed, or does not have the equal
        entries that the rotation needs.

    Example:
      >>> fn = lambda params, x: x @ params["in"] @ params["out"]
      >>> params = {"in": jnp.eye(2), "out": jnp.eye(2)}
      >>> (found,) = jc.graph.symmetries.rotations(fn, params, jnp.ones((1, 2))).found
      >>> quarter = jnp.array([[0.0, 1.0], [-1.0, 0.0]])
      >>> turned = jc.graph.symmetries.rotate(params, found, quarter)
      >>> turned["in"]
      Array([[ 0.,  1.],
             [-1.,  0.]], dtype=float32)
      >>> fn(turned, jnp.ones((1, 2)))
      Array([[1., 1.]], dtype=float32)

    Source: SliceGPT, Ashkboos et al. 2024, arXiv:2401.15024, section 3.1.
    """
    check_rotation("rotate", "rotation", rotation)
    matrix = _checked_matrix(rotation, matrix)
    leaves = _checked_leaves(params, rotation)
    for fold in rotation.folds:
        leaves |= _folded(leaves, fold)
    for place in rotation.places:
        leaves[place.leaf] = _rotated(leaves[place.leaf], place, matrix)
    dtypes = {name: leaf.dtype for name, leaf in named_leaves(params).items()}
    changed = {place.leaf for place in rotation.places}
    changed |= {place.leaf for fold in rotation.folds for place in (fold.scale, *fold.out_of)}
    return map_named(
        lambda name, leaf: narrowed(leaves[name], dtypes[name]) if name in changed else leaf, params
    )


def _rotated(array: Array, place: Place, matrix: Array) -> Array:
    """The array with its entries at a place multiplied: entries R."""
    where = place.positions.T  # (places, units)
    whole = np.array_equal(where, np.arange(place.size)[None])
    return _turned(array, matrix, None if whole else where, axis=place.axis)


# One program for each shape and axis, not one for each operation.
@functools.partial(jax.jit, static_argnames="axis", inline=True)
def _turned(array: Array, matrix: Array, where: Array | None, *, axis: int) -> Array:
    """The array with entries of an axis multiplied, all or those (places, units)."""
    formula = "...u,uv->...v" if matrix.ndim == 2 else "l...u,luv->l...v"
    last = jnp.moveaxis(array.astype(jnp.float32), axis, -1)
    # Of a stack, the layers lie first: (layers, …, places, units).
    taken = last if where is None else last[..., where]
    turned = jnp.einsum(formula, taken, matrix, precision="highest")
    return jnp.moveaxis(turned if where is None else last.at[..., where].set(turned), -1, axis)


def _folded(leaves: dict[str, Array], fold: Fold) -> dict[str, Array]:
    """The leaves that change where a scale becomes 1."""
    place = fold.scale
    stacked = tuple(fold.layers[place.leaf])
    scale, inverse = _factors(leaves[place.leaf], place.positions[:, 0], (*stacked, place.axis))
    factors = [(scale, each) for each in fold.into] + [(inverse, each) for each in fold.out_of]
    changed: dict[str, Array] = {}
    for factor, other in factors:
        array = changed.get(other.leaf, leaves[other.leaf])
        axes = (*fold.layers[other.leaf], other.axis)
        changed[other.leaf] = _multiplied(array, factor, other.positions, axes)
    changed[place.leaf] = _with_ones(leaves[place.leaf], place.positions, place.axis)
    return changed


@functools.partial(jax.jit, static_argnums=2, inline=True)
def _factors(scale: Array, first: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """The scale of each unit as (layers…, units) float32, and one over it.

    Args:
      scale: the leaf.
      first: (units,) where each unit lies along the last of the axes.
      axes: those of the layers, and that of the units.
    """
    last = jnp.moveaxis(scale.astype(jnp.float32), axes, (*range(len(axes) - 1), -1))
    units = last[..., first].reshape(*last.shape[: len(axes) - 1], -1)
    # Where the scale is 0 the shift is 0 too, and any number divides it.
    return units, 1 / jnp.where(units == 0, 1, units)


@functools.partial(jax.jit, static_argnums=3, inline=True)
def _multiplied(array: Array, scale: Array, positions: Array, axes: tuple[int, ...]) -> Array:
    """The array times a factor per entry along the last axis; others stay."""
    along = jnp.ones((*scale.shape[:-1], array.shape[axes[-1]]), jnp.float32)
    along = along.at[..., positions].set(scale[..., None])
    others = [axis for axis in range(array.ndim) if axis not in axes]
    return array.astype(jnp.float32) * jnp.expand_dims(along.transpose(np.argsort(axes)), others)


@functools.partial(jax.jit, static_argnums=2, inline=True)
def _with_ones(array: Array, positions: Array, axis: int) -> Array:
    """The array with ones where the units lie along the axis."""
    last = jnp.moveaxis(array.astype(jnp.float32), axis, -1)
    return jnp.moveaxis(last.at[..., positions].set(1.0), -1, axis)


def _checked_matrix(rotation: Rotation, matrix: Array | np.ndarray) -> Array:
    """The matrix in float32.

    Raises:
      ValueError: it is not of the dim's size, not orthogonal or must keep the vector of
        ones and does not.
    """
    check_entries("rotate", "matrix", matrix)
    square = (rotation.size, rotation.size)
    shapes = [square] + ([(rotation.layers, *square)] if rotation.layers else [])
    if matrix.shape not in shapes:
        raise ValueError(
            f"rotate(matrix=...) has shape {matrix.shape}; {rotation.name!r} takes "
            f"{' or '.join(map(str, shapes))}."
        )
    found = jnp.asarray(matrix, jnp.float32)
    if isinstance(found, Tracer):
        return found
    exact = np.asarray(found, np.float64)
    away = np.abs(exact @ np.swapaxes(exact, -1, -2) - np.eye(rotation.size)).max()
    if not away <= TOLERANCE:
        raise ValueError(
            f"rotate(matrix=...) is not orthogonal: products of its rows are off by up to "
            f"{away:.1e}. graph.symmetries.random_matrix draws one that is."
        )
    moved = np.abs(exact.sum(-2) - 1).max() if rotation.fixes_ones else 0.0
    if not moved <= TOLERANCE * rotation.size:
        raise ValueError(
            f"rotate(matrix=...) moves the vector of ones, by up to {moved:.1e}; along "
            f"{rotation.name!r} a mean is taken, so that it must stay. "
            "graph.symmetries.random_matrix draws one that keeps it."
        )
    return found


def _checked_leaves(params: Params, rotation: Rotation) -> dict[str, Array]:
    """The leaves by name.

    Raises:
      ValueError: a leaf of the rotation is missing, has another size, is compressed, or
        must have equal entries and does not.
    """
    check_arrays("rotate", "params", params)
    leaves = named_leaves(params)
    folded = [place for fold in rotation.folds for place in (fold.scale, *fold.into, *fold.out_of)]
    for place in (*rotation.places, *folded, *rotation.equal):
        leaf = leaves.get(place.leaf)
        shape = None if leaf is None else np.shape(leaf)
        if shape is None or place.axis >= len(shape) or shape[place.axis] != place.size:
            raise ValueError(
                f"rotate(params=...): leaf {place.leaf!r} must have {place.size} entries along "
                f"axis {place.axis}, and is {shown(leaf)}. Pass the params that the rotation was "
                "found for."
            )
        if is_compressed(leaf):
            raise ValueError(
                f"rotate(params=...): leaf {place.leaf!r} is {leaf!r}, whose stored entries cannot "
                "be rotated. Rotate before compressing, or pass jc.materialize(params)."
            )
    for place in rotation.equal:
        leaf = leaves[place.leaf]
        if not isinstance(leaf, Tracer) and not entries_are_equal(leaf, place):
            raise ValueError(
                f"rotate(params=...): the entries of leaf {place.leaf!r} along axis {place.axis} "
                "were equal when the rotation was found and are not now. Find rotations of "
                "these params."
            )
    return dict(leaves)
