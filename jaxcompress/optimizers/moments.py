"""The arithmetic that many optimizers share, on one float32 array."""

import math
from numbers import Real

import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.types import Array


def average(moment: Array, value: Array, decay: ArrayLike) -> Array:
    """The running average, decay · moment + (1 - decay) · value.

    Args:
      moment: (…) float32, the average so far.
      value: (…) float32, what comes in.
      decay: () in [0, 1).

    Returns:
      float32 of the shape of `moment`.

    Example:
      >>> average(jnp.float32([1.0]), jnp.float32([2.0]), 0.9)
      Array([1.1], dtype=float32)
    """
    decay = as_float32(decay)
    return decay * moment + (1 - decay) * value


def unbiased(moment: Array, count: ArrayLike, decay: ArrayLike) -> Array:
    """A running average that started from 0, divided by 1 - decay^count.

    Args:
      moment: (…) float32.
      count: () int32 at least 1, how many values went into it.
      decay: () in [0, 1).

    Returns:
      float32 of the shape of `moment`; 0 where the divisor is 0, as for an array of 1.

    Example:
      >>> unbiased(jnp.float32([0.001]), 1, 0.999)
      Array([1.], dtype=float32)

    Source: Kingma and Ba 2015, arXiv:1412.6980, section 3. Differs: the divisor is
    -expm1(count · log decay), since 1 - decay^count loses four digits at first.
    """
    decay = as_float32(decay)
    if isinstance(decay, float):
        logarithm = math.log(decay) if decay > 0 else -math.inf
    else:
        logarithm = jnp.log(decay)
    return divided(moment, -jnp.expm1(jnp.asarray(count, jnp.float32) * logarithm))


def divided(numerator: Array, denominator: Array) -> Array:
    """The quotient, and 0 where the denominator is 0."""
    nonzero = denominator != 0
    return jnp.where(nonzero, numerator / jnp.where(nonzero, denominator, 1.0), 0.0)


def root(second: Array, eps: ArrayLike, eps_root: ArrayLike) -> Array:
    """What a gradient is divided by: sqrt(second + eps_root) + eps."""
    return jnp.sqrt(second + as_float32(eps_root)) + as_float32(eps)


def as_float32(value: ArrayLike):
    """A Python float for a Python or NumPy number, else a () float32 array."""
    return float(value) if isinstance(value, Real) else jnp.asarray(value, jnp.float32)
