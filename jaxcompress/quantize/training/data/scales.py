"""What the outputs of a site are multiplied by, whose data are signs."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.leaf import materialize
from jaxcompress.core.types import Array
from jaxcompress.graph import Site
from jaxcompress.graph.layouts import Convolution


class SignScale(NamedTuple):
    """How outputs of a site are scaled, whose data are seen as their signs.

    Attributes:
      of: (site, apply, data, weight) -> array that broadcasts to the output of the
        site; arguments as those of a `graph.Replacement`, the data before the sign.
      constant: whether it is 1, so that the signs alone say what the site computes.
    """

    of: Callable[[Site, Callable[..., Any], Array, Any], Array]
    constant: bool = False


def unscaled() -> SignScale:
    """Leaves the outputs of signs as they are: a norm behind them finds their scale.

    Returns:
      SignScale.

    Example:
      >>> jc.quantize.training.data.unscaled().constant
      True
    """

    def of(site: Site, apply: Callable[..., Any], data: Array, weight: Any) -> Array:
        del apply, data, weight
        return jnp.ones((), site.dtype)

    return SignScale(of, constant=True)


def mean_magnitude() -> SignScale:
    """Multiplies outputs by the mean magnitude of the data that each is a sum of.

    Not for: networks to be frozen, or packed on words of bits, whose outputs are scaled
    by no data: take `unscaled`.

        K = mean over the features and the window of |data|, one for each position

    Padding counts as zeros, in a grouped convolution each group has its own. It is
    computed by the site's own equation with one output feature, so costs little where
    there are many. Differentiable.

    Also known as: the K of XNOR-Net, input scaling factors.

    Returns:
      SignScale.

    Example:
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> scale = jc.quantize.training.data.mean_magnitude()
      >>> how = jc.Rules({"kernel": scale})  # by name, since it meets the inputs
      >>> model = jc.quantize.training.binary_activations(fn, how).model
      >>> model({"kernel": jnp.eye(2)}, jnp.array([[3.0, -1.0]]))
      Array([[ 2., -2.]], dtype=float32)

    Source: Rastegari et al. 2016, arXiv:1603.05279, section 3.2.
    """
    return SignScale(_mean_magnitude)


def _mean_magnitude(site: Site, apply: Callable[..., Any], data: Array, weight: Any) -> Array:
    axes = site.operand_axes
    layout = site.layout
    groups = layout.groups * layout.batch_groups if isinstance(layout, Convolution) else 1
    shape = [size if i not in axes.output else 1 for i, size in enumerate(weight.shape)]
    for axis in axes.output[:1]:
        shape[axis] = groups
    summed = math.prod(weight.shape[axis] for axis in axes.contracting)
    dtype = jnp.promote_types(site.dtype, jnp.float32)
    # Like the weight also in how it differs from device to device.
    box = jax.lax.full_like(materialize(weight), 1, data.dtype, tuple(shape))
    total = apply(jnp.abs(data), box, preferred_element_type=dtype)
    mean = (total / max(summed, 1)).astype(site.dtype)
    # Outputs of a group lie side by side: each gets that of its group.
    for axis, (own, size) in enumerate(zip(mean.shape, site.output_shape, strict=True)):
        if own not in (1, size):
            mean = jnp.repeat(mean, size // own, axis)
    return mean
