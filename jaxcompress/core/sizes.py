"""Bytes of trees, counted in one place."""

import jax

from jaxcompress.core.types import PyTree


def size_bytes(tree: PyTree) -> int:
    """Bytes of all arrays of a tree, from shapes and dtypes alone.

    Args:
      tree: arrays, traced arrays, shapes as `jax.eval_shape` gives them, or compressed
        leaves, of which the arrays they hold count. Python numbers take no array.

    Returns:
      Bytes in memory of one copy, a whole byte for each number of fewer bits. What the
      devices really hold, copies included, is `storage.size(tree).memory`.

    Example:
      >>> size_bytes({"kernel": jnp.ones((3, 4)), "bias": jnp.ones(4, jnp.bfloat16)})
      56
    """
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree) if hasattr(x, "dtype"))
