"""Weighted sums of losses."""

import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_share
from jaxcompress.core.types import Array
from jaxcompress.distill.checks import check_same_shape
from jaxcompress.distill.outputs.arrays import as_float32, checked


def mix(hard: ArrayLike, soft: ArrayLike, *, weight: float) -> Array:
    """Averages two losses with a weight, example by example.

        loss = (1 - weight) · hard + weight · soft

    Args:
      hard: (...) floating, usually from `hard_targets`.
      soft: (...) floating, usually from `soft_targets`.
      weight: of the soft loss, in [0, 1].

    Returns:
      (...) float32.

    Raises:
      TypeError: a loss is not floating.
      ValueError: the shapes differ, or the weight is outside [0, 1].

    Example:
      >>> jc.distill.mix(jnp.array([1.0]), jnp.array([3.0]), weight=0.75)
      Array([2.5], dtype=float32)

    Source: Hinton, Vinyals and Dean 2015, arXiv:1503.02531, section 2.
    """
    hard, soft = checked("mix", "hard", hard), checked("mix", "soft", soft)
    check_same_shape("mix", hard=hard, soft=soft)
    check_share("mix", "weight", weight)
    share = as_float32(weight)
    return (1 - share) * hard.astype(jnp.float32) + share * soft.astype(jnp.float32)
