"""Drift: how leaves solved before change a leaf's inputs, and its correction.

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


def corrected(weight: Array, cross: Array, second_moment: Array, share: float) -> Array:
    """Moves weights towards those that map the changed inputs to the former outputs.

        W + share · W · (E[x x'ᵀ] - E[x' x'ᵀ]) · E[x' x'ᵀ]⁻¹,   the inverse damped

    With a share of 1 that is the W' of least E[|W x - W' x'|²]. Also known as:
    asymmetric calibration.

    Args:
      weight: (outputs, inputs) float32.
      cross: (inputs, inputs), the mean of x x'ᵀ.
      second_moment: (inputs, inputs), the mean of x' x'ᵀ.
      share: of the way, in [0, 1].

    Returns:
      (outputs, inputs) float32.

    Example:
      >>> corrected(jnp.eye(1), jnp.array([[2.0]]), jnp.array([[1.0]]), 0.5).round(2)
      Array([[1.5]], dtype=float32)
    """
    high = jax.lax.Precision.HIGHEST
    lost = jnp.matmul(weight, cross - second_moment, precision=high)
    return weight + share * cho_solve(cho_factor(damped(second_moment, DAMPING)), lost.T).T
