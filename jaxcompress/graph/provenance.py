"""Follows a weight through one equation, from its leaf towards where it meets data.

Shape operations and arithmetic among parameters keep the axes of a leaf; what they do
to them is in `value_axes`, what happens around calls and loops in `steps`.

The analysis errs on one side only. A weight that is not followed costs a site, which
the report lists with the reason; one that is followed wrongly would be quantized or
pruned along the wrong axis. So whatever is not known to keep axes loses them.
"""

import dataclasses
import math
from functools import reduce

import jax.numpy as jnp
from jax.extend.core import JaxprEqn

from jaxcompress.graph import value_axes
from jaxcompress.graph.jaxprs import aval_of
from jaxcompress.graph.origins import Origin, Source, Weight, join, mixed
from jaxcompress.graph.primitives import ENTRY_KEEPING, POINTWISE
from jaxcompress.graph.value_axes import Shape, ValueAxes


def follow(eqn: JaxprEqn, origins: list[Origin]) -> list[Origin]:
    """The origins of an equation's outputs, from those of its operands.

    For equations without inner programs. What is not known to keep axes loses them: a
    weight is then not followed further, never followed wrongly.
    """
    # Before the test for data: what chooses may be data, and does not mix with weights.
    if eqn.primitive.name == "select_n" and (chosen := _chosen(origins[1:])):
        return [chosen]
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


def _chosen(cases: list[Origin]) -> Weight | None:
    """The weight that every case is, whatever chooses among them; else None.

    So a branch under `vmap` reads a weight, or what is not its to read.
    """
    joined = reduce(join, cases)
    return joined if isinstance(joined, Weight) else None


def _side_by_side(eqn: JaxprEqn, origins: list[Origin]) -> Origin:
    weights = [origin for origin in origins if isinstance(origin, Weight)]
    likes = {(weight.sliced_by, len(weight.leaves[0].shape)) for weight in weights}
    # Leaves of other ranks, or sliced by other scans, have no axes in common.
    if len(weights) < len(origins) or len(likes) > 1:
        return mixed(origins)
    operands = [weight.axes for weight in weights]
    shape = aval_of(eqn.outvars[0]).shape
    axes = value_axes.concatenated(operands, eqn.params["dimension"], shape)
    if axes is None:
        return Source.PARAMETERS
    leaves = dict.fromkeys(leaf for weight in weights for leaf in weight.leaves)
    return Weight(
        tuple(leaves),
        axes,
        weights[0].sliced_by,
        as_stored=all(weight.as_stored for weight in weights),
        # Pieces of one leaf side by side, as `jnp.roll` lays them, have changed places.
        in_order=all(weight.in_order for weight in weights) and len(leaves) == len(weights),
        side_by_side=len(leaves) > 1,
    )


def _most_prominent(eqn: JaxprEqn, origins: list[Origin]) -> Origin:
    """`w * mask` and `v / norm(v) * gain` are the weight, not its mask or gain.

    Weights that are alike, as in `re + 1j * im`, are it together. A vector scales the
    array it is broadcast to, and is not what takes its place.
    """
    shape = aval_of(eqn.outvars[0]).shape
    weights = [
        origin
        for operand, origin in zip(eqn.invars, origins, strict=True)
        if isinstance(origin, Weight) and aval_of(operand).shape == shape
    ]
    if not weights:
        return mixed(origins)
    # A float before an int or bool: `w * mask` is w. Then who has more entries of its
    # leaf: a gain broadcast to w's shape has fewer.
    most = max(map(_prominence, weights))
    first, *others = [weight for weight in weights if _prominence(weight) == most]
    if first.is_spread_vector and _scales_an_array(eqn):
        return Source.PARAMETERS
    return dataclasses.replace(
        reduce(_together, others, first), as_stored=first.as_stored and _keeps_entries(eqn)
    )


def _scales_an_array(eqn: JaxprEqn) -> bool:
    """Whether several operands have the size of the result."""
    size = math.prod(aval_of(eqn.outvars[0]).shape)
    return sum(math.prod(aval_of(operand).shape) == size for operand in eqn.invars) > 1


def _together(first: Weight, other: Weight) -> Weight:
    """Two weights combined entry by entry; the first alone where axes differ."""
    # Already side by side: an entry would be of several leaves at different places.
    alike = (first.axes, first.sliced_by) == (other.axes, other.sliced_by)
    if not alike or first.side_by_side or other.side_by_side:
        return first
    leaves = tuple(dict.fromkeys(first.leaves + other.leaves))
    return dataclasses.replace(first, leaves=leaves, in_order=first.in_order and other.in_order)


def _keeps_entries(eqn: JaxprEqn) -> bool:
    """Whether the large operand comes out, but for its dtype and a factor."""
    # Only a factor of one entry is shared by all: a scale per channel is none.
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


def what_became(eqn: JaxprEqn, weight: Weight, origins: list[Origin], results: list[Origin]) -> str:
    """Why a weight is followed no further than an equation, in the words of reports."""
    name = eqn.primitive.name
    taken = [
        leaf.name for result in results if isinstance(result, Weight) for leaf in result.leaves
    ]
    if taken:
        return f"is combined with leaf {taken[0]!r} entry by entry ({name})"
    if Source.DATA in origins and name in POINTWISE:
        return f"meets data entry by entry ({name})"
    if weight.is_spread_vector:
        return f"is a vector that is broadcast ({name})"
    if Source.DATA not in origins:
        return f"loses its axes in {name}"
    return f"meets data in {name}, which is no dot, convolution or gather"


def _moved(eqn: JaxprEqn, origins: list[Origin], shape: Shape) -> Origin:
    """The origin of one output of a shape operation on its first operand."""
    if not origins or not isinstance(origins[0], Weight):
        return mixed(origins)
    axes = _moved_axes(eqn, origins[0], shape)
    if axes is None:
        return mixed(origins)
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
        case "tile":
            return value_axes.tiled(axes, params["reps"])
        case "rev":
            return axes
        case "all_gather" if not params["tiled"]:
            return None  # a new axis of devices in front: none of the leaf's
        # Of leaves side by side, a piece may be of one alone: which, is not followed.
        case "all_gather" | "slice" | "dynamic_slice" | "split" | "pad" if not weight.side_by_side:
            return value_axes.resized(axes, shape)
    return None
