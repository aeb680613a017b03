"""Which weights share a scale: the canonical array cut into the blocks of a spec."""

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array


def in_blocks(x: Array, spec: QuantSpec) -> Array:
    """The array with its last axis cut into groups, where the spec has groups.

    Args:
      x: (batch…, output…, contracting…).
      spec: its `group_size` divides the last axis.

    Returns:
      (batch…, output…, contracting…, group_size) for groups, else `x` itself.

    Example:
      >>> in_blocks(jnp.ones((3, 8)), jc.quantize.int4(group_size=4)).shape
      (3, 2, 4)
    """
    if spec.per != "group":
        return x
    return x.reshape(*x.shape[:-1], x.shape[-1] // spec.group_size, spec.group_size)


def shared_axes(spec: QuantSpec, axes: LeafAxes) -> tuple[int, ...]:
    """The axes of `in_blocks(x, spec)` whose entries share a scale, from the end.

    Example:
      >>> shared_axes(jc.quantize.int8(), jc.LeafAxes(contracting=(0, 1), output=(2,)))
      (-2, -1)
    """
    count = {
        "tensor": len(axes.output) + len(axes.contracting),
        "channel": len(axes.contracting),
        "group": 1,
    }[spec.per]
    return tuple(range(-count, 0))


def scale_shape(shape: tuple[int, ...], spec: QuantSpec, axes: LeafAxes) -> tuple[int, ...]:
    """Sizes of the scale of a canonical array: one entry per block, of the same rank.

    Args:
      shape: sizes of (batch…, output…, contracting…).
      spec: its `group_size` divides the last of them.
      axes: how many of the axes are batch, output and contracting.

    Returns:
      One size per axis.

    Example:
      >>> dense = jc.LeafAxes(contracting=(0,), output=(1,))
      >>> scale_shape((3, 8), jc.quantize.int4(group_size=4), dense)
      (3, 2)
    """
    if spec.per == "group":
        return (*shape[:-1], shape[-1] // spec.group_size)
    shared = shared_axes(spec, axes)
    kept = len(shape) - len(shared)
    return (*shape[:kept], *(1 for _ in shared))
