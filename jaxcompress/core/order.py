"""Stored orders of axes that stay valid when `vmap` or `scan` changes leading axes.

A compressed leaf may store its axes in another order than that of the array it stands
for. The order counts from the end, so `vmap` and `scan` may add or take leading axes.
"""

from typing import Any


def checked_permutation(caller: str, axes: tuple[Any, ...], ndim: int) -> tuple[int, ...]:
    """The permutation that arguments of a `transpose` say, with no axis negative.

    Args:
      caller: names the method in the message.
      axes: none, None, one sequence or all numbers.
      ndim: of the array.

    Raises:
      ValueError: they do not name every axis once.

    Example:
      >>> checked_permutation("transpose", (-1, 0), 2), checked_permutation("T", (), 2)
      ((1, 0), (1, 0))
    """
    if len(axes) == 1 and not hasattr(axes[0], "__index__"):
        (axes,) = axes
    named = range(ndim)[::-1] if axes is None or axes == () else axes
    permutation = tuple(axis + ndim if axis < 0 else axis for axis in named)
    if sorted(permutation) != list(range(ndim)):
        raise ValueError(f"{caller}(axes={axes}) must name each of its {ndim} axes once.")
    return permutation


def from_the_end(permutation: tuple[int, ...]) -> tuple[int, ...]:
    """The permutation in negative axes, without the leading axes that stay in place.

    Example:
      >>> from_the_end((0, 2, 1))
      (-1, -2)
    """
    ndim = len(permutation)
    moved = next((i for i, axis in enumerate(permutation) if axis != i), ndim)
    return tuple(axis - ndim for axis in permutation[moved:])


def permutation_of(order: tuple[int, ...], ndim: int) -> tuple[int, ...]:
    """The permutation of all `ndim` axes: the opposite of `from_the_end`.

    Example:
      >>> permutation_of((-1, -2), ndim=4)
      (0, 1, 3, 2)
    """
    return (*range(ndim - len(order)), *(ndim + axis for axis in order))


def reordered(held: tuple[int, ...], permutation: tuple[int, ...]) -> tuple[int, ...]:
    """The order of a leaf after its array was transposed.

    Args:
      held: stored axis i is axis `held[i]` of the array.
      permutation: axis i of the transposed array is axis `permutation[i]` before.

    Returns:
      In negative axes, as `from_the_end` gives it.

    Example:
      >>> reordered((0, 2, 1), (2, 0, 1))
      (-2, -3, -1)
    """
    position = inverse(permutation)
    return from_the_end(tuple(position[axis] for axis in held))


def inverse(permutation: tuple[int, ...]) -> tuple[int, ...]:
    """The permutation that undoes this one.

    Example:
      >>> inverse((1, 2, 0))
      (2, 0, 1)
    """
    return tuple(sorted(range(len(permutation)), key=permutation.__getitem__))
