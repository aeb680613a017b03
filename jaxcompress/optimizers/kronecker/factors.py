"""Pairs of Kronecker factors, their damped inverses, and gradients between them."""

import functools
from typing import NamedTuple

import jax.numpy as jnp

from jaxcompress.core.axes import from_canonical, to_canonical
from jaxcompress.core.sharding import explicit_spec, gathered, placed
from jaxcompress.core.types import Array
from jaxcompress.optimizers.kronecker.layers import KfacLayer
from jaxcompress.optimizers.moments import divided, narrowed


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


def damped_inverses(factors: Factors, damping: float) -> Factors:
    """The inverses of both factors with Tikhonov damping shared out between them.

    Args:
      factors: symmetric, positive semi-definite.
      damping: above 0.

    Returns:
      Factors: (A + π · sqrt(damping) · I)⁻¹ and (S + sqrt(damping) / π · I)⁻¹.

    Example:
      >>> pair = Factors(jnp.full((1, 1), 4.0), jnp.full((1, 1), 1.0))
      >>> inverses = damped_inverses(pair, 1.0)
      >>> float(inverses.inputs[0, 0]), float(inverses.outputs[0, 0])
      (0.1667, 0.6667)

    Source: Martens and Grosse 2015, arXiv:1503.05671, section 6.3.
    """
    means = [jnp.trace(x, axis1=-2, axis2=-1) / max(x.shape[-1], 1) for x in factors]
    share = jnp.sqrt(divided(means[0], means[1]))
    share = jnp.where(share > 0, share, 1.0)
    ridge = damping**0.5
    return Factors(
        _inverse(factors.inputs, ridge * share), _inverse(factors.outputs, ridge / share)
    )


def _inverse(matrix: Array, ridge: Array) -> Array:
    """The inverse of matrix + ridge · I; eigenvalues below 0 are from rounding."""
    values, vectors = jnp.linalg.eigh(matrix)
    scaled = vectors / (jnp.maximum(values, 0.0) + ridge[..., None])[..., None, :]
    return jnp.matmul(scaled, jnp.swapaxes(vectors, -1, -2), precision="highest")


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
    multiply = functools.partial(jnp.matmul, precision="highest")
    solved = multiply(
        multiply(inverses.outputs, jnp.concatenate(columns, axis=-1)), inverses.inputs
    )
    kernel = solved[..., : columns[0].shape[-1]].reshape(canonical.shape)
    results = [from_canonical(kernel, layer.axes)]
    results += [solved[..., -1].reshape(bias.shape) for bias in leaves[1:]]
    return {
        name: placed(narrowed(result, grads[name].dtype), explicit_spec(grads[name]))
        for name, result in zip(names, results, strict=True)
    }
