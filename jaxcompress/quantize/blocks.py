"""Which weights share a scale: the canonical array cut into the blocks of a spec."""

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.stored import sharing_ndim
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
    return tuple(range(-sharing_ndim(spec, axes), 0))
