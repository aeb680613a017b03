"""Drift: how leaves solved before change a leaf's inputs, and what makes up for it.

With x what a leaf's matrix met in the model as it was, and x' what it meets now, the
means of x x'ᵀ and x' x'ᵀ are all that its weights have to know.
"""

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve

from jaxcompress.core.types import Array
from jaxcompress.layerwise.solver import damped

DAMPING = 0.01
"""The share of the mean energy of the inputs that each counts at least."""


def change_of(weight: Array, cross: Array, second_moment: Array) -> Array:
    """What the whole correction adds to weights, so that they answer as before.

        W · (E[x x'ᵀ] - E[x' x'ᵀ]) · E[x' x'ᵀ]⁻¹,   the inverse damped

    With it W becomes the W' of least E[|W x - W' x'|²]. Also known as: asymmetric
    calibration.

    Args:
      weight: (outputs, inputs) float32.
      cross: (inputs, inputs), the mean of x x'ᵀ.
      second_moment: (inputs, inputs), the mean of x' x'ᵀ.

    Returns:
      (outputs, inputs) float32.

    Example:
      >>> change_of(jnp.eye(1), jnp.array([[2.0]]), jnp.array([[1.0]])).round(2)
      Array([[0.99]], dtype=float32)
    """
    lost = _product(weight, cross - second_moment)
    return cho_solve(cho_factor(damped(second_moment, DAMPING)), lost.T).T


def output_error(solved: Array, weight: Array, cross: Array, second_moment: Array) -> Array:
    """By how much the outputs E[|W' x' - W x|²] differ, up to what no W' changes.

        trace(D · E[x' x'ᵀ] · Dᵀ) - 2 · trace(W · (E[x x'ᵀ] - E[x' x'ᵀ]) · Dᵀ)

    with D = W' - W, so that float32 does not lose it in what the outputs are.

    Args:
      solved: W', (..., outputs, inputs) float32.
      weight: W, as it was, of the same shape.
      cross: (..., inputs, inputs), the mean of x x'ᵀ.
      second_moment: (..., inputs, inputs), the mean of x' x'ᵀ.

    Returns:
      () float32, summed over all matrices.

    Example:
      >>> whole, half, moment = jnp.eye(1), jnp.eye(1) / 2, jnp.array([[4.0]])
      >>> output_error(half, whole, moment, moment)
      Array(1., dtype=float32)
    """
    change = solved - weight
    own, lost = _product(change, second_moment), _product(weight, cross - second_moment)
    return jnp.sum(change * (own - 2 * lost))


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
