"""A tree of arrays as one vector: inner products, multiples and sums, in float32."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.numerics import largest_magnitude, narrowed
from jaxcompress.core.types import Array, PyTree


def in_float32(tree: PyTree) -> PyTree:
    """The tree with every leaf in float32."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), tree)


def in_dtypes_of(tree: PyTree, like: PyTree) -> PyTree:
    """The tree with each leaf in the dtype of its place in `like`; see `narrowed`."""
    return jax.tree.map(lambda leaf, other: narrowed(leaf, other.dtype), tree, like)


def inner_product(first: PyTree, second: PyTree) -> Array:
    """The sum of products over all leaves.

    Args:
      first: tree of float32 arrays.
      second: the same.

    Returns:
      () float32; 0 for trees without leaves.

    Example:
      >>> inner_product([jnp.ones(3), jnp.ones(1)], [jnp.ones(3), jnp.full(1, 2.0)])
      Array(5., dtype=float32)
    """
    products = jax.tree.map(lambda x, y: jnp.sum(x * y), first, second)
    return sum(jax.tree.leaves(products), jnp.zeros((), jnp.float32))


def plus(first: PyTree, factor: ArrayLike, second: PyTree) -> PyTree:
    """The sum first + factor · second, leaf by leaf.

    Example:
      >>> plus({"w": jnp.ones(2)}, -3.0, {"w": jnp.ones(2)})
      {'w': Array([-2., -2.], dtype=float32)}
    """
    return jax.tree.map(lambda x, y: x + factor * y, first, second)


def multiple(factor: ArrayLike, tree: PyTree) -> PyTree:
    """The tree times a () factor, leaf by leaf."""
    return jax.tree.map(lambda leaf: factor * leaf, tree)


def largest_entry(tree: PyTree) -> Array:
    """The largest magnitude of all leaves, () float32; 0 for a tree without entries."""
    largest = jnp.zeros((), jnp.float32)
    for leaf in jax.tree.leaves(tree):
        largest = jnp.maximum(largest, largest_magnitude(leaf))
    return largest
