"""What a file may ask for, checked before anything is allocated for it.

Sizes in a header are claims. Every one passes here: its rank and its sizes against
fixed limits, and the sum of all arrays against the caller's `max_bytes`. So memory
and time stay below a constant plus four times the file and what was accepted.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import jax

from jaxcompress.core.corrected import Corrected
from jaxcompress.core.lowrank import LowRank
from jaxcompress.core.messages import shown
from jaxcompress.core.order import permutation_of
from jaxcompress.core.product import ProductQuantized
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.random_code import RandomCode
from jaxcompress.core.rotated import Rotated
from jaxcompress.storage.container.errors import FileError, contradiction
from jaxcompress.storage.container.references import Product

MAX_BYTES = 16 * 2**30
"""What a tree may take in memory unless the caller says otherwise."""

LARGEST = 2**62
"""No size and no number of bytes reaches it."""

LARGEST_RANK = 64
"""Axes of an array, as in NumPy."""

DEEPEST = 100
"""Nodes of a tree above a leaf."""

HEADER_WEIGHT = 16
"""Bytes that count for each byte of a header: objects take more than their text."""


def checked_size(number: Any) -> int:
    """The size that a number is.

    Raises:
      FileError: it is no int from 0 to `LARGEST`.
    """
    if type(number) is not int or not 0 <= number < LARGEST:
        raise contradiction(f"{shown(number)} is not a size")
    return number


def checked_shape(sizes: Any) -> tuple[int, ...]:
    """The shape that a list of sizes is.

    Raises:
      FileError: it is none, or has more than `LARGEST_RANK` axes.
    """
    if not isinstance(sizes, list):
        raise contradiction(f"{shown(sizes)} is not a shape")
    if len(sizes) > LARGEST_RANK:
        raise contradiction(f"an array of {len(sizes)} axes, more than {LARGEST_RANK}")
    return tuple(map(checked_size, sizes))


def chosen(listed: Sequence[Any], position: Any, what: str) -> Any:
    """The entry of a list at a position that a file states.

    Raises:
      FileError: there is none.
    """
    if type(position) is not int or not 0 <= position < len(listed):
        raise contradiction(f"{what} {shown(position)} is none of the {len(listed)} in the file")
    return listed[position]


def checked_order(order: list[Any], ndim: int) -> tuple[int, ...]:
    """The order of a leaf of so many axes, negative as leaves hold it.

    Raises:
      FileError: it is none.
    """
    last = len(order) <= ndim and all(type(axis) is int and axis < 0 for axis in order)
    if not last or sorted(permutation_of(tuple(order), ndim)) != list(range(ndim)):
        raise contradiction(f"{shown(order)} is not an order of {ndim} axes")
    return tuple(order)


def array_bytes(shape: Iterable[int], itemsize: int) -> int:
    """Bytes that an array counts for; an empty axis counts as one entry.

    So an array without entries counts for its other sizes, which programs may go by.

    Example:
      >>> array_bytes((3, 4), 4), array_bytes((10**8, 0), 4)
      (48, 400000000)
    """
    return itemsize * math.prod(max(1, size) for size in shape)


def leaf_bytes(outlined: Any) -> int:
    """Bytes that a leaf counts for, given with shapes for arrays.

    Those of its arrays; the codes of a leaf count one byte each, as they do while they
    are decoded.
    """
    if isinstance(outlined, LowRank | Corrected | Rotated | RandomCode):
        return sum(map(leaf_bytes, outlined.parts.values()))
    if isinstance(outlined, ProductQuantized):
        return array_bytes(outlined.codes_shape, 1) + leaf_bytes(outlined.codebooks)
    arrays = jax.tree.leaves(outlined)
    if isinstance(outlined, QTensor):
        arrays = [array for array in arrays if array is not outlined.codes]
        return array_bytes(outlined.stored_shape, 1) + sum(map(leaf_bytes, arrays))
    if isinstance(outlined, Product):
        return array_bytes(outlined.shape, outlined.dtype.itemsize) + leaf_bytes(outlined.factors)
    [array] = arrays
    return array_bytes(array.shape, array.dtype.itemsize)


def check_total(total: int, max_bytes: int) -> None:
    """Raises a FileError where a tree counts for more bytes than the caller accepts."""
    if total >= LARGEST:
        raise contradiction("arrays of more bytes than any memory has")
    if total > max_bytes:
        raise FileError(
            f"the tree takes {total:,} bytes in memory, more than max_bytes={max_bytes:,}. If you "
            f"trust the file and have the memory, pass max_bytes={total}."
        )
