"""How a weight is followed from its leaf to where it meets data.

A value comes from the data, from a leaf, or from neither. Only shape operations and
arithmetic among parameters keep the axes of a leaf; what they do to them is in
`value_axes`, what happens around calls and loops in `steps`.
"""

import dataclasses
import enum
import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.extend.core import JaxprEqn

from jaxcompress.graph import value_axes
from jaxcompress.graph.jaxprs import aval_of
from jaxcompress.graph.primitives import ENTRY_KEEPING, POINTWISE
from jaxcompress.graph.value_axes import Shape, ValueAxes


class Leaf(NamedTuple):
    """A leaf of the params by its name, logical shape and dtype."""

    name: str
    shape: Shape
    dtype: np.dtype


@dataclasses.dataclass(frozen=True)
class Weight:
    """Where a value comes from that leaves give and whose axes are still told apart.

    Fields:
      leaves: one leaf; or several of like axes, side by side along
        one axis of the value.
      axes: the axes of the value in terms of those of its leaves.
      sliced_by: depths of the enclosing scans that slice the leaves, outermost first.
      as_stored: whether entries are those of the leaves, but for their dtype and a
        factor that all share.
      in_order: whether entries along each axis of the leaves follow one another as
        they do there, whatever the order of the axes.
    """

    leaves: tuple[Leaf, ...]
    axes: ValueAxes
    sliced_by: tuple[int, ...] = ()
    as_stored: bool = True
    in_order: bool = True


class Source(enum.Enum):
    """Where a value comes from that is not followed to a leaf."""

    DATA = "data"
    CONSTANT = "constants, or parameters in a form that has lost its axes"


Origin = Weight | Source


def origin_of_leaf(leaf: Leaf) -> Weight:
    """The leaf itself."""
    return Weight((leaf,), value_axes.axes_of_leaf(leaf.shape))


def join(first: Origin, second: Origin) -> Origin:
    """The origin of a value that comes from either."""
    if isinstance(first, Weight) and isinstance(second, Weight):
        both = {
            "as_stored": first.as_stored and second.as_stored,
            "in_order": first.in_order and second.in_order,
        }
        first, second = (dataclasses.replace(x, **both) for x in (first, second))
    if first == second:
        return first
    return Source.DATA if Source.DATA in (first, second) else Source.CONSTANT


def unfollowed(origin: Origin) -> Source:
    """The origin of what is made of a value in a way that loses its axes."""
    return Source.CONSTANT if isinstance(origin, Weight) else origin


def sliced(origin: Origin, depth: int) -> Origin:
    """One slice along the leading axis, inside the scan at this depth."""
    if not isinstance(origin, Weight):
        return origin
    return dataclasses.replace(origin, axes=origin.axes[1:], sliced_by=(*origin.sliced_by, depth))


def follow(eqn: JaxprEqn, origins: list[Origin]) -> list[Origin]:
    """The origins of an equation's outputs, from those of its operands.

    For equations without inner programs. What is not known to keep axes loses them: a
    weight is then not followed further, never followed wrongly.
    """
    if Source.DATA in origins:
        return [Source.DATA] * len(eqn.outvars)
    match eqn.primitive.name:
        case "optimization_barrier":
            return origins
        case "concatenate":
            return [_side_by_side(eqn, origins)]
        case name if name in POINTWISE:
            return [_most_prominent(eqn, origins)]
    return [_moved(eqn, origins, aval_of(out).shape) for out in eqn.outvars]


def _side_by_side(eqn: JaxprEqn, origins: list[Origin]) -> Origin:
    weights = [origin for origin in origins if isinstance(origin, Weight)]
    likes = {(weight.sliced_by, len(weight.leaves[0].shape)) for weight in weights}
    if len(weights) < len(origins) or len(likes) > 1:
        return Source.CONSTANT
    operands = [weight.axes for weight in weights]
    shape = aval_of(eqn.outvars[0]).shape
    axes = value_axes.concatenated(operands, eqn.params["dimension"], shape)
    if axes is None:
        return Source.CONSTANT
    leaves = dict.fromkeys(leaf for weight in weights for leaf in weight.leaves)
    return Weight(
        tuple(leaves),
        axes,
        weights[0].sliced_by,
        as_stored=all(weight.as_stored for weight in weights),
        # Pieces of one leaf side by side, as `jnp.roll` lays them, have changed places.
        in_order=all(weight.in_order for weight in weights) and len(leaves) == len(weights),
    )


def _most_prominent(eqn: JaxprEqn, origins: list[Origin]) -> Origin:
    """`w * mask` and `v / norm(v) * gain` are the weight, not its mask or gain."""
    shape = aval_of(eqn.outvars[0]).shape
    weights = [
        origin
        for operand, origin in zip(eqn.invars, origins, strict=True)
        if isinstance(origin, Weight) and aval_of(operand).shape == shape
    ]
    if not weights:
        return Source.CONSTANT
    found = max(weights, key=_prominence)
    return dataclasses.replace(found, as_stored=found.as_stored and _keeps_entries(eqn))


def _keeps_entries(eqn: JaxprEqn) -> bool:
    """Whether the large operand comes out, but for its dtype and a factor."""
    sizes = [math.prod(aval_of(operand).shape) for operand in eqn.invars]
    match eqn.primitive.name:
        case "mul":
            return min(sizes) == 1
        case "div":
            return sizes[1] == 1
        case name:
            return name in ENTRY_KEEPING


def _prominence(weight: Weight) -> tuple[bool, int]:
    inexact = jnp.issubdtype(weight.leaves[0].dtype, jnp.inexact)
    return inexact, value_axes.covered(weight.axes)


def _moved(eqn: JaxprEqn, origins: list[Origin], shape: Shape) -> Origin:
    """The origin of one output of a shape operation on its first operand."""
    if not origins or not isinstance(origins[0], Weight):
        return Source.CONSTANT
    axes = _moved_axes(eqn, origins[0], shape)
    if axes is None:
        return Source.CONSTANT
    in_order = origins[0].in_order and _keeps_order(eqn, origins[0].axes)
    return dataclasses.replace(origins[0], axes=axes, in_order=in_order)


def _keeps_order(eqn: JaxprEqn, axes: ValueAxes) -> bool:
    """Whether entries along each of the leaf's axes still follow one another."""
    match eqn.primitive.name:
        case "transpose":
            return value_axes.keeps_pieces_in_order(axes, eqn.params["permutation"])
        case "rev":
            sizes = aval_of(eqn.invars[0]).shape
            return all(sizes[axis] == 1 for axis in eqn.params["dimensions"])
        case "pad":  # one that cuts off here and fills up there shifts what is between
            return False
    return True


def _moved_axes(eqn: JaxprEqn, weight: Weight, shape: Shape) -> ValueAxes | None:
    axes, params = weight.axes, eqn.params
    match eqn.primitive.name:
        case "transpose":
            return tuple(axes[i] for i in params["permutation"])
        case "squeeze":
            return tuple(axis for i, axis in enumerate(axes) if i not in params["dimensions"])
        case "unstack":
            return tuple(axis for i, axis in enumerate(axes) if i != params["axis"])
        case "broadcast_in_dim":
            return value_axes.broadcast(axes, shape, params["broadcast_dimensions"])
        case "reshape":
            return value_axes.refilled(axes, shape)
        case "rev":
            return axes
        # Of leaves side by side, a piece may be of one alone: which, is not followed.
        case "slice" | "dynamic_slice" | "split" | "pad" if len(weight.leaves) == 1:
            return value_axes.resized(axes, shape)
    return None
