"""Roots of a second moment: by which a low-rank correction weighs errors of inputs."""

from collections.abc import Callable

import jax.numpy as jnp

from jaxcompress.core.kinds import check_shape
from jaxcompress.core.types import Array

Root = Callable[[Array], Array]
"""Second moment (inputs, inputs) -> S of that shape; S · Sᵀ is it, or close to it."""

FLOOR = 1e-6
"""Share of the largest eigenvalue of a second moment that all others have at least."""


def exact_root(second_moment: Array) -> Array:
    """The root of the second moment: the correction is optimal for the layer's outputs.

    Not for: layers of so many inputs that the eigenvectors of their second moment take
    too long; `diagonal_root` needs none.

    Also known as: QERA-exact.

        S = V · diag(sqrt(λ)),   H = V · diag(λ) · Vᵀ,   λ at least 1e-6 of the largest

    Args:
      second_moment: (inputs, inputs) float32, symmetric.

    Returns:
      (inputs, inputs) float32.

    Raises:
      TypeError: the second moment is no matrix.

    Example:
      >>> jc.quantize.rounding.exact_root(jnp.diag(jnp.array([4.0, 9.0]))).tolist()
      [[2.0, 0.0], [0.0, 3.0]]

    Source: Zhang et al. 2024, arXiv:2410.06040, theorem 1. Differs: any S with
    S · Sᵀ = H gives the same product as the symmetric root, and none is inverted.
    """
    check_shape("exact_root", "second_moment", second_moment, "(inputs, inputs)")
    values, vectors = jnp.linalg.eigh(second_moment)
    values = jnp.maximum(values, FLOOR * jnp.maximum(values[-1], 0.0))
    return vectors * jnp.sqrt(values)[None]


def diagonal_root(second_moment: Array) -> Array:
    """The root of each input's energy alone, as if inputs were uncorrelated; cheaper.

    Not for: inputs that are correlated, where `exact_root` leaves less error of the
    outputs.

    Also known as: QERA-approx. LQER takes E|x| in place of sqrt(E[x²]).

    Args:
      second_moment: (inputs, inputs) float32.

    Returns:
      (inputs, inputs) float32, diagonal.

    Raises:
      TypeError: the second moment is no matrix.

    Example:
      >>> moment = jnp.array([[4.0, 1.0], [1.0, 9.0]])
      >>> jc.quantize.rounding.diagonal_root(moment).tolist()
      [[2.0, 0.0], [0.0, 3.0]]

    Source: Zhang et al. 2024, arXiv:2410.06040, theorem 2.
    """
    check_shape("diagonal_root", "second_moment", second_moment, "(inputs, inputs)")
    return jnp.diag(jnp.sqrt(jnp.maximum(jnp.diagonal(second_moment), 0.0)))
