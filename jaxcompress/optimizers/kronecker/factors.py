"""Pairs of Kronecker factors, their damped inverses, and gradients between them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import from_canonical, to_canonical
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.sharding import explicit_sharding, gathered, placed
from jaxcompress.core.types import Array
from jaxcompress.optimizers.kronecker.layers import KfacLayer
from jaxcompress.optimizers.matrix.products import product
from jaxcompress.optimizers.matrix.roots import damped_inverses
from jaxcompress.optimizers.moments import divided


class Factors(NamedTuple):
    """The two factors of one layer, or what stands in their place.

    Attributes:
      inputs: (batch…, inputs, inputs) float32, of what the units sum over.
      outputs: (batch…, outputs, outputs) float32, of the gradients at the units.
    """

    inputs: Array
    outputs: Array


AllFactors = dict[str, Factors]
"""By the name of each layer's kernel."""


def inverse_factors(factors: AllFactors, damping: float) -> AllFactors:
    """The inverses of all factors with Tikhonov damping shared out between each two.

    Args:
      factors: symmetric, positive semi-definite.
      damping: above 0.

    Returns:
      By layer, Factors: (A + π · sqrt(damping) · I)⁻¹, (S + sqrt(damping) / π · I)⁻¹.

    Example:
      >>> pair = Factors(jnp.full((1, 1), 4.0), jnp.full((1, 1), 1.0))
      >>> found = inverse_factors({"kernel": pair}, 1.0)["kernel"]
      >>> float(found.inputs[0, 0]), float(found.outputs[0, 0])
      (0.1667, 0.6667)

    Source: Martens and Grosse 2015, arXiv:1503.05671, section 6.3.
    """
    ridges = {name: _ridges(pair, damping) for name, pair in factors.items()}
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[-2:]), (factors, ridges))
    return jax.tree.map(lambda x, like: x.reshape(like.shape), damped_inverses(*flat), factors)


def _ridges(pair: Factors, damping: float) -> Factors:
    """What is added to the diagonals of both factors, (batch…, 1, 1)."""
    means = [jnp.trace(x, axis1=-2, axis2=-1) / max(x.shape[-1], 1) for x in pair]
    share = jnp.sqrt(divided(means[0], means[1]))
    share = jnp.where(share > 0, share, 1.0)[..., None, None]
    return Factors(damping**0.5 * share, damping**0.5 / share)


def natural_updates(
    layer: KfacLayer, grads: dict[str, Array], inverses: Factors
) -> dict[str, Array]:
    """The gradients of a layer between the inverses of its factors.

    Args:
      layer: whose kernel, and bias if it has one.
      grads: gradients by leaf name.
      inverses: of the layer's factors.

    Returns:
      Updates by leaf name, of the dtypes of the gradients.
    """
    names = [layer.kernel, layer.bias] if layer.bias else [layer.kernel]
    leaves = [gathered(grads[name]).astype(jnp.float32) for name in names]
    rows = (*layer.batch, layer.outputs)
    canonical = to_canonical(leaves[0], layer.axes)  # (batch…, output…, contracting…)
    columns = [canonical.reshape(*rows, -1), *(bias.reshape(*rows, 1) for bias in leaves[1:])]
    gradient = jnp.concatenate(columns, axis=-1)
    solved = product(product(inverses.outputs, gradient), inverses.inputs)
    kernel = solved[..., : columns[0].shape[-1]].reshape(canonical.shape)
    results = [from_canonical(kernel, layer.axes)]
    results += [solved[..., -1].reshape(bias.shape) for bias in leaves[1:]]
    return {
        name: placed(narrowed(result, grads[name].dtype), explicit_sharding(grads[name]))
        for name, result in zip(names, results, strict=True)
    }
