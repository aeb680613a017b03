"""Refuses compressed leaves whose arrays `jax.tree.map` changed one by one.

A compressed leaf is a pytree node: code that maps over a tree with one sees its arrays
one by one, and puts a leaf together again from the results.
"""

import reprlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

MEND = (
    "Code that maps over a tree, such as jax.tree.map over the params, changes the arrays of a "
    "compressed leaf apart. Give a model plain arrays by jc.materialized(fn), map over "
    "jc.materialize(params) elsewhere, cast one by leaf.astype(dtype), and keep it out of an "
    "optimizer by jc.partition."
)


def refuse_apart(
    leaf: str,
    children: Sequence[Any],
    dtype_fault: Callable[[], str],
    shape_fault: Callable[[], str],
) -> None:
    """Raises where the arrays that a leaf is built from cannot be its own.

    That is where shapes fit the leaf and dtypes do not (a cast, a product with a
    float), or the reverse (a reshape, a slice of something packed). Where neither fits,
    as with one random key or one row of statistics per array, nothing can be taken for
    weights: it passes here and is refused in use. So does everything that is no array
    of numbers: None, sentinels, axes of `vmap`, shardings, masks of bool, tangents of
    integers (float0), and a single number per array, such as a norm.

    Args:
      leaf: what to call the leaf.
      children: what it is put together from.
      dtype_fault: gives what is wrong with the dtypes, "" for nothing.
      shape_fault: the same of the shapes.

    Raises:
      ValueError: exactly one of the two finds a fault.
    """
    if all(map(_holds_numbers, children)):
        dtypes, shapes = dtype_fault(), shape_fault()
        if bool(dtypes) != bool(shapes):
            raise ValueError(f"{leaf} cannot have {dtypes or shapes}. {MEND}")


def require_whole(
    leaf: str, dtype_fault: Callable[[], str], shape_fault: Callable[[], str]
) -> None:
    """Raises a ValueError where a leaf about to be used holds invalid arrays."""
    fault = dtype_fault() or shape_fault()
    if fault:
        raise ValueError(f"{leaf} cannot have {fault}. {MEND}")


def require_parts(leaf: str, fault: str) -> None:
    """Raises a ValueError where a saved state has other arrays than a leaf holds."""
    if fault:
        raise ValueError(
            f"{leaf} cannot have {fault}. Restore a state into params that were compressed in the "
            "same way, or keep them by jc.storage.save, which stores the way too."
        )


def in_brief(children: dict[Any, Any]) -> str:
    """What a leaf holds that stands for no array, for its `repr`.

    Example:
      >>> in_brief({"codes": jnp.zeros((2, 3), jnp.int8), "scale": None})
      'codes=int8[2,3], scale=None'
    """
    return ", ".join(f"{name}={_brief(child)}" for name, child in children.items())


def _brief(child) -> str:
    if hasattr(type(child), "materialize"):  # a leaf in a leaf, which shows its own
        return repr(child)
    if hasattr(child, "shape") and hasattr(child, "dtype"):
        return f"{child.dtype}[{','.join(map(str, child.shape))}]"
    return reprlib.repr(child)


def _holds_numbers(child) -> bool:
    return (
        isinstance(child, jax.Array | np.ndarray | jax.ShapeDtypeStruct)
        and child.ndim > 0
        and jnp.issubdtype(child.dtype, np.number)
    )
