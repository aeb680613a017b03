"""Which leaves optimizers see as matrices, and products of these."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import Axes, LeafAxes
from jaxcompress.core.checks import check_array
from jaxcompress.core.names import map_named
from jaxcompress.core.penalties import group_norms
from jaxcompress.core.selectors import axes_of
from jaxcompress.core.trees import named_axes
from jaxcompress.core.types import Array, PyTree, Selector
from jaxcompress.optimizers.matrix.products import product
from jaxcompress.optimizers.moments import divided

Sides = dict[str, Array]
"""By "left" and "right", a square matrix for each side of each matrix of a leaf:
(batch, rows, rows) and (batch, columns, columns). A side may be missing."""


def hidden(axes: Axes | None = None) -> Selector:
    """Leaves that multiply data as matrices: dense kernels and convolution kernels.

    Left out are biases, norms and, given `axes`, tables that are only looked up and
    kernels of depthwise and other grouped convolutions, which are a small matrix for
    each group and none across groups. What no program tells apart is named by hand: the
    last layer, a table that is also the last layer, and without `axes` every table and
    every grouped kernel:

        jc.all_of(jc.optimizers.hidden(axes), jc.none_of(jc.matching("head/*")))

    Args:
      axes: from `graph.axes`; by default the layout of `assumed_axes`, in which every
        leaf of rank 2 and more is a matrix: tables, stacked biases and grouped kernels
        too.

    Returns:
      Selector.

    Example:
      >>> fn = lambda params, token: params["table"][token] @ params["kernel"]
      >>> params = {"table": jnp.ones((9, 4)), "kernel": jnp.ones((4, 4))}
      >>> axes = jc.graph.axes(fn, params, jnp.zeros((), int))
      >>> jc.optimizers.hidden(axes)(params)
      {'kernel': True, 'table': False}
    """
    known = named_axes("hidden", axes)

    def chosen(name: str, leaf) -> bool:
        check_array(name, leaf)
        real = jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.size > 0
        return bool(real and _is_matrix(axes_of(name, leaf, known)))

    return lambda params: map_named(chosen, params)


def matrix_axes(caller: str, name: str, leaf: Any, known: dict[str, LeafAxes] | None) -> LeafAxes:
    """The roles of a leaf that is to be seen as matrices.

    Raises:
      ValueError: the leaf does not multiply data as a matrix.
    """
    roles = axes_of(name, leaf, known)
    if not _is_matrix(roles):
        raise ValueError(
            f"{caller}: leaf {name!r} of shape {tuple(leaf.shape)} does not multiply data as a "
            "matrix. Leave it out with select= or optax.masked."
        )
    return roles


def gram(x: Array, side: str) -> Array:
    """Inner products of rows ("left") or of columns ("right").

    Args:
      x: (batch, m, n) float32.
      side: "left" or "right".

    Returns:
      (batch, m, m) or (batch, n, n) float32, symmetric.

    Example:
      >>> x = jnp.array([[[1.0, 2.0]]])
      >>> gram(x, "left"), gram(x, "right").shape
      (Array([[[5.]]], dtype=float32), (1, 2, 2))
    """
    x = x if side == "left" else x.mT
    return product(x, x.mT)


def as_sides(params: PyTree, sides: PyTree) -> PyTree:
    """The sides of each param as dicts, whatever mapping they were: `in_nodes_of`."""
    return jax.tree.map(lambda _, each: dict(each), params, sides)


def between(x: Array, factors: Sides) -> Array:
    """Left · x · right^T; a side that is missing is the identity.

    Args:
      x: (batch, m, n) float32.
      factors: left (batch, m, m) and right (batch, n, n), or one, or none.

    Returns:
      (batch, m, n) float32.

    Example:
      >>> between(jnp.ones((1, 1, 2)), {"right": jnp.array([[[1.0, 1.0], [0.0, 3.0]]])})
      Array([[[2., 3.]]], dtype=float32)
    """
    if "left" in factors:
        x = product(factors["left"], x)
    if "right" in factors:
        x = product(x, factors["right"].mT)
    return x


def as_long_as(length: Array, direction: Array) -> Array:
    """The direction of one matrix with the Frobenius norm of another.

    Args:
      length: (batch, m, n) float32.
      direction: (batch, m, n) float32.

    Returns:
      (batch, m, n) float32; 0 where `direction` is a matrix of zeros.

    Example:
      >>> as_long_as(jnp.array([[[6.0, 8.0]]]), jnp.array([[[0.0, 0.1]]]))
      Array([[[ 0., 10.]]], dtype=float32)
    """
    return divided(direction, group_norms(direction, (1, 2))) * group_norms(length, (1, 2))


def identities(matrix: Array) -> Array:
    """The identity in place of each matrix of a (batch, n, n) array."""
    return jnp.broadcast_to(jnp.eye(matrix.shape[-1], dtype=matrix.dtype), matrix.shape)


def _is_matrix(roles: LeafAxes) -> bool:
    matrix = roles.output and roles.contracting
    return bool(matrix) and not roles.looked_up and not roles.grouped
