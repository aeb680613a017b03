"""Which weights share a scale: an array cut into the blocks of a spec, as it lies.

Nothing is transposed: on CPU that costs more than all that is done with a weight.
"""

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array


def in_blocks(x: Array, spec: QuantSpec, axes: LeafAxes) -> Array:
    """The array with its last contracting axis in groups, where the spec has groups.

    Args:
      x: with its axes in its own order.
      spec: its `group_size` divides the last contracting axis.
      axes: what the axes of `x` do.

    Returns:
      (…, groups, group_size, …) in place of that axis, else `x` itself.

    Example:
      >>> dense = jc.LeafAxes(contracting=(0,), output=(1,))
      >>> in_blocks(jnp.ones((8, 3)), jc.quantize.int4(group_size=4), dense).shape
      (2, 4, 3)
    """
    if spec.per != "group":
        return x
    axis = axes.contracting[-1]
    groups = x.shape[axis] // spec.group_size
    return x.reshape(*x.shape[:axis], groups, spec.group_size, *x.shape[axis + 1 :])


def shared_axes(spec: QuantSpec, axes: LeafAxes) -> tuple[int, ...]:
    """The axes of `in_blocks(x, spec, axes)` whose entries share a scale.

    Example:
      >>> shared_axes(jc.quantize.int8(), jc.LeafAxes(contracting=(0, 1), output=(2,)))
      (0, 1)
    """
    if spec.per == "group":
        return (axes.contracting[-1] + 1,)
    return axes.contracting if spec.per == "channel" else axes.output + axes.contracting
