"""Float32 products of matrices, and the maths that is written with them for a TPU.

A TPU's compiler unrolls a product at full precision into its tiles, with all that is
fused into it, and `eigh`, `qr` and `triangular_solve` into their blocks: minutes for
each shape of a thousand rows. Loops over products of one small shape take seconds.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.types import Array, PyTree

PANEL = 128
"""Rows that a TPU multiplies at a time: as many as its unit has."""

AT_ONCE = 2**20
"""Entries of matrices that a TPU works on side by side; larger batches go in turn."""


def product(x: Array, y: Array) -> Array:
    """X · y at full float32 precision.

    Args:
      x: (…, m, k) float32.
      y: (…, k, n) float32, of the same leading sizes.

    Returns:
      (…, m, n) float32.

    Example:
      >>> product(jnp.full((1, 1, 2), 3.0), jnp.ones((1, 2, 1)))
      Array([[[6.]]], dtype=float32)
    """
    return jax.lax.platform_dependent(x, y, tpu=product_by_panels, default=_product)


def product_by_panels(x: Array, y: Array) -> Array:
    """`product`, a panel of rows of one matrix after the other."""
    *batch, m, k = x.shape
    # Unless they are apart, every panel computes anew what is fused into the operands.
    x, y = jax.lax.optimization_barrier((x, y))
    if m <= PANEL:
        return jax.lax.optimization_barrier(_product(x, y))
    panels = -(-m // PANEL)
    rows = -(-m // panels)
    x = jnp.pad(x.reshape(-1, m, k), ((0, 0), (0, rows * panels - m), (0, 0)))
    x = x.reshape(-1, panels, rows, k)

    def one_matrix(pair: tuple[Array, Array]) -> Array:
        parts, whole = pair  # (panels, rows, k), (k, n)
        return jax.lax.map(lambda part: _product(part, whole), parts)

    result = jax.lax.map(one_matrix, (x, y.reshape(-1, *y.shape[-2:])))
    return result.reshape(*batch, rows * panels, y.shape[-1])[..., :m, :]


def on_each(
    library: Callable[..., Array], products: Callable[..., Array], tree: PyTree, *rest: PyTree
) -> PyTree:
    """`jax.tree.map` of `library`; on a TPU of `products`, by shape.

    Args:
      library: from batches of matrices (batch, m, n) to one, with what LAPACK has.
      products: the same to rounding, for any batch, with products alone.
      tree: its leaves are batches of matrices.
      rest: more trees of the same structure and batches.

    Returns:
      Tree of the structure of `tree`.
    """
    return jax.lax.platform_dependent(
        tree,
        *rest,
        tpu=functools.partial(by_shape, products),
        default=functools.partial(jax.tree.map, library),
    )


def by_shape(function: Callable[..., Array], tree: PyTree, *rest: PyTree) -> PyTree:
    """`jax.tree.map` of what takes batches, traced once for all leaves of one shape.

    Args:
      function: from batches of matrices (batch, m, n) to a batch of arrays.
      tree: its leaves are batches of matrices.
      rest: more trees of the same structure and batches.

    Returns:
      Tree of the structure of `tree`.

    Example:
      >>> tree = {"a": jnp.ones((1, 2, 2)), "b": jnp.zeros((3, 2, 2))}
      >>> by_shape(lambda x: x.sum((1, 2)), tree)["a"]
      Array([4.], dtype=float32)
    """
    leaves, outline = jax.tree.flatten(tree)
    rows = list(zip(leaves, *map(outline.flatten_up_to, rest), strict=True))
    alike: dict[tuple[Any, ...], list[int]] = {}
    for place, row in enumerate(rows):
        alike.setdefault(tuple(x.shape[1:] for x in row), []).append(place)
    results: list[Any] = [None] * len(rows)
    for places in alike.values():
        joined = [jnp.concatenate(x) for x in zip(*(rows[place] for place in places), strict=True)]
        found = _few_at_once(function, joined)
        begin = 0
        for place in places:
            end = begin + len(leaves[place])
            results[place] = found[begin:end]
            begin = end
    return outline.unflatten(results)


def triangular_inverse(lower: Array) -> Array:
    """The inverse of lower triangular matrices, block by block.

        X <- X - X · (the blocks of L below the diagonal that join two of X) · X

    where X inverts the blocks of 1, 2, 4 … rows along the diagonal.

    Args:
      lower: (batch, n, n) float32, zeros above the diagonal, none on it.

    Returns:
      (batch, n, n) float32, lower triangular.

    Example:
      >>> triangular_inverse(jnp.array([[[2.0, 0.0], [1.0, 1.0]]]))
      Array([[[ 0.5,  0. ],
              [-0.5,  1. ]]], dtype=float32)
    """
    size = lower.shape[-1]
    row, column = jnp.arange(size)[:, None], jnp.arange(size)[None]

    def doubled(level: Array, inverse: Array) -> Array:
        apart = (row >> level) != (column >> level)
        together = (row >> (level + 1)) == (column >> (level + 1))
        joining = jnp.where((apart & together)[None], lower, 0.0)
        return inverse - product(product(inverse, joining), inverse)

    diagonal = jnp.diagonal(lower, axis1=-2, axis2=-1)
    start = jnp.eye(size, dtype=jnp.float32)[None] / diagonal[..., None]
    return jax.lax.fori_loop(0, (size - 1).bit_length(), doubled, start)


def _product(x: Array, y: Array) -> Array:
    return jnp.matmul(x, y, precision="highest")


def _few_at_once(function: Callable[..., Array], arrays: list[Array]) -> Array:
    """The function of whole batches, as many matrices side by side as are small."""
    count, *sides = arrays[0].shape
    most = max(AT_ONCE // max(sides[0] * sides[1], 1), 1)
    together = max(part for part in range(1, count + 1) if count % part == 0 and part <= most)
    if together == count:
        return function(*arrays)
    turns = [x.reshape(-1, together, *x.shape[1:]) for x in arrays]
    found = jax.lax.map(lambda turn: function(*turn), turns)
    return found.reshape(count, *found.shape[2:])
