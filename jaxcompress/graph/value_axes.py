"""The axes of a value as products of a leaf's axes, and what shape operations do.

A leaf (in 6, out 4) reshaped to (2, 3, 4) has the axes ((in, 2),), ((in, 3),),
((out, 4),); reshaped to (24,) the one axis ((in, 6), (out, 4)). Sizes alone decide, so
a reshape is followed without looking at any entry.

Each function gives None where the leaf's axes can no longer be told apart.
"""

import math
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple


class Part(NamedTuple):
    """A factor of an axis: `size` entries of a leaf's axis, or of none if it is new."""

    axis: int | None
    size: int


ValueAxis = tuple[Part, ...]
"""One axis of a value, major part first; the parts multiply to its size."""

ValueAxes = tuple[ValueAxis, ...]
"""All axes of a value."""

Shape = tuple[int, ...]


def axes_of_leaf(shape: Shape) -> ValueAxes:
    """The axes of the leaf itself."""
    return tuple((Part(axis, size),) for axis, size in enumerate(shape))


def covered(axes: ValueAxes) -> int:
    """How many entries of the leaf the value stands for."""
    return math.prod(part.size for axis in axes for part in axis if part.axis is not None)


def keeps_pieces_in_order(axes: ValueAxes, permutation: Sequence[int]) -> bool:
    """Whether parts of the same axis of a leaf are in their order after a transpose.

    Example:
      >>> axes = ((Part(0, 2),), (Part(0, 3),), (Part(1, 5),))
      >>> keeps_pieces_in_order(axes, (2, 0, 1)), keeps_pieces_in_order(axes, (1, 0, 2))
      (True, False)
    """
    moved: dict[int | None, list[int]] = {}
    for place, axis in enumerate(axes):
        for part in axis:
            if part.size > 1:
                moved.setdefault(part.axis, []).append(permutation.index(place))
    return all(places == sorted(places) for axis, places in moved.items() if axis is not None)


def broadcast(axes: ValueAxes, shape: Shape, positions: Sequence[int]) -> ValueAxes:
    """The axes at new positions; new ones, or grown from size 1, are of no leaf."""
    at = dict(zip(positions, axes, strict=True))
    return tuple(
        at[i] if i in at and _size(at[i]) == size else (Part(None, size),)
        for i, size in enumerate(shape)
    )


def tiled(axes: ValueAxes, copies: Sequence[int]) -> ValueAxes:
    """The axes with copies one after the other, which are of no leaf."""
    return tuple(
        (Part(None, count), *axis) if count > 1 else axis
        for count, axis in zip(copies, axes, strict=True)
    )


def resized(axes: ValueAxes, shape: Shape) -> ValueAxes | None:
    """The same axes with other sizes, as after a slice, a pad or a concatenation."""
    result: list[ValueAxis] = []
    for axis, size in zip(axes, shape, strict=True):
        changed = _resized(axis, size)
        if changed is None:
            return None
        result.append(changed)
    return tuple(result)


def _resized(axis: ValueAxis, size: int) -> ValueAxis | None:
    """The axis with another size; the change is that of its outermost part."""
    if _size(axis) == size:
        return axis
    outermost, *inner = [part for part in axis if part.size != 1] or axis or [Part(None, 1)]
    rest = _size(tuple(inner))
    return None if size % rest else (Part(outermost.axis, size // rest), *inner)


def refilled(axes: ValueAxes, shape: Shape) -> ValueAxes | None:
    """The axes after a reshape: all parts in a row, dealt out again from the left."""
    if 0 in shape:
        return None
    # A reshape keeps row-major order, in which the parts of all axes are one sequence.
    parts = deque(part for axis in axes for part in axis)
    result: list[ValueAxis] = []
    for size in shape:
        axis = _dealt(parts, size)
        if axis is None:
            return None
        result.append(axis)
    if result:
        result[-1] += tuple(parts)  # only parts of size 1 can be left
    return tuple(result)


def _dealt(parts: deque[Part], size: int) -> ValueAxis | None:
    """Takes the parts of one axis from the left, splitting the last if too large."""
    axis: ValueAxis = ()
    room = size
    while parts and (room > 1 or (not axis and parts[0].size == 1)):
        part = parts.popleft()
        # (6,) to (2, 3): the part straddles two axes and is cut where it divides.
        if part.size > room and part.size % room == 0:
            parts.appendleft(Part(part.axis, part.size // room))
            part = Part(part.axis, room)
        if room % part.size:  # (2, 3) to (3, 2): an entry of the new axis is of no one part
            return None
        axis += (part,)
        room //= part.size
    return axis


def concatenated(operands: Sequence[ValueAxes], dimension: int, shape: Shape) -> ValueAxes | None:
    """The axes of values side by side along one axis; they must agree in all else."""
    first, *others = (_outline(axes, dimension) for axes in operands)
    return None if any(other != first for other in others) else resized(operands[0], shape)


def _outline(axes: ValueAxes, dimension: int) -> tuple[Any, ...]:
    """The axes without the size of the outermost part along `dimension`."""
    outermost = tuple(part.axis for part in axes[dimension][:1])
    return (*axes[:dimension], outermost, axes[dimension][1:], *axes[dimension + 1 :])


def _size(axis: ValueAxis) -> int:
    return math.prod(part.size for part in axis)
