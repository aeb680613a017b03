"""Masks: bool arrays that broadcast to the params; True keeps a weight."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.left_out import is_constant
from jaxcompress.core.messages import shown
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.types import Array, Masks, Params


def full_masks(params: Params) -> Masks:
    """Makes masks that keep everything: () True for every leaf."""
    return jax.tree.map(lambda _: jnp.ones((), bool), params, is_leaf=is_compressed)


def apply_mask(mask: Array, x: Array) -> Array:
    """Sets entries outside the mask to exactly 0, NaN and infinity included."""
    return jnp.where(mask, x, jnp.zeros((), x.dtype))


@jax.custom_jvp
def cleared(mask: Array, x: Array) -> Array:
    """`apply_mask` for real floating arrays, by the bits of the numbers: faster on CPU.

    The same numbers and derivatives. A moment of masked gradients takes a third longer
    on a CPU where it chooses between two floats, and a tenth longer with this.

    Example:
      >>> cleared(jnp.array([True, False]), jnp.array([2.0, jnp.nan]))
      Array([2., 0.], dtype=float32)
    """
    word = jnp.dtype(f"int{8 * x.dtype.itemsize}")
    # -1 has all bits set and 0 none, so `&` keeps a number or leaves +0.0.
    bits = jax.lax.bitcast_convert_type(x, word) & -mask.astype(word)
    return jax.lax.bitcast_convert_type(bits, x.dtype)


@cleared.defjvp
def _cleared_jvp(primals, tangents):
    mask, x = primals
    return cleared(mask, x), apply_mask(mask, tangents[1])


def apply_masks(masks: Masks, tree: Params) -> Params:
    """Sets every removed weight of a tree to exactly 0; applying twice equals once.

    Args:
      masks: bool arrays that broadcast to the leaves of `tree`, of its structure or
        under its names.
      tree: params, updates or gradients. Compressed leaves and Python numbers stay as
        they are.

    Returns:
      Tree of the structure, shapes and dtypes of `tree`.

    Raises:
      ValueError: a leaf has no mask, or one that does not broadcast to it.
    """

    def masked(leaf, mask: Array):
        return leaf if is_compressed(leaf) or is_constant(leaf) else apply_mask(mask, leaf)

    return jax.tree.map(masked, tree, fitted("apply_masks", masks, tree), is_leaf=is_compressed)


def kept(mask: Array, size: int) -> Array:
    """Counts the weights of a leaf of `size` entries that the mask keeps, () int32."""
    return jnp.sum(mask, dtype=jnp.int32) * (size // mask.size)


def fitted(caller: str, masks: Masks, params: Params) -> Masks:
    """The masks in the params' structure.

    Those of another container (the state of an `nnx.Optimizer`, a dict of the same
    names) are found by name.

    Args:
      caller: the name that errors give.
      masks: a bool array for each leaf, and no other.
      params: arrays, shapes or compressed leaves.

    Returns:
      Tree of the params' structure.

    Raises:
      ValueError: a leaf has no mask, a mask has no leaf, is not bool, or does not
        broadcast to its leaf.

    Example:
      >>> nested = {"params": {"kernel": jnp.array(True)}}
      >>> fitted("apply", nested, {"kernel": jnp.ones(2)})
      {'kernel': Array(True, dtype=bool)}
    """
    check_masks(caller, masks)
    masks = jax.tree.map(lambda mask: jnp.asarray(mask) if isinstance(mask, bool) else mask, masks)
    known, leaves = named_leaves(masks), named_leaves(params)
    for name in known | leaves:
        if name not in known or name not in leaves:
            lacking = "no mask for leaf" if name not in known else "a mask for what is no leaf,"
            raise ValueError(
                f"{caller}(masks=...) has {lacking} {name!r}. Make the masks for exactly these "
                "params, with a () True for a leaf that stays whole."
            )
        if not _broadcasts(known[name].shape, np.shape(leaves[name])):
            raise ValueError(
                f"{caller}(masks=...): the mask of leaf {name!r} has shape {known[name].shape}, "
                f"which does not broadcast to {np.shape(leaves[name])}."
            )
    return map_named(lambda name, _: known[name], params)


def check_masks(caller: str, masks: Masks) -> None:
    """Raises a ValueError unless each leaf is a bool or a bool array.

    Example:
      >>> check_masks("hold", {"kernel": jnp.ones(2)})
      Traceback (most recent call last):
      ValueError: hold(masks=...): leaf 'kernel' has dtype float32, masks are bool.
    """
    for name, mask in named_leaves(masks).items():
        if not isinstance(mask, bool) and getattr(mask, "dtype", None) != np.dtype(bool):
            what = f"has dtype {mask.dtype}" if hasattr(mask, "dtype") else f"is {shown(mask)}"
            raise ValueError(f"{caller}(masks=...): leaf {name!r} {what}, masks are bool.")


def _broadcasts(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether an array of `shape` broadcasts to `target` without changing it."""
    fits = all(a in (1, b) for a, b in zip(reversed(shape), reversed(target), strict=False))
    return fits and len(shape) <= len(target)
