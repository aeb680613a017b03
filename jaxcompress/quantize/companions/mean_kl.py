"""Normal distributions at a given divergence from their prior: deviations from means.

Maths on one array.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.types import Array

STEPS = 4
"""Of Newton's method: from the series it is exact to float32 after three."""

SERIES = 0.15
"""Below it the series alone is exact to float32, and Newton's method would cancel."""


@jax.custom_jvp
def log_variance(excess: Array) -> Array:
    """The logarithm of the variance ratio r <= 1 at which r - log r = 1 + excess.

        r = -W(-exp(-1 - excess)),   W the principal branch of Lambert's function
        u = log r:   exp(u) - 1 - u = excess

    by a series in sqrt(2 · excess), then Newton's method on u, where little cancels.

    Args:
      excess: (...) float32, at least 0.

    Returns:
      (...) float32, at most 0. The derivative is 1 / (r - 1); it has no bound at 0,
      where 0 is given for it.

    Example:
      >>> r = jnp.exp(log_variance(jnp.float32([0.0, 0.1, 1.0, 20.0])))
      >>> r - jnp.log(r) - 1
      Array([ 0. ,  0.1,  1. , 20. ], dtype=float32)

    Source: the root is that of 2307.07816, section 3.
    """
    a = jnp.sqrt(2.0 * excess)
    u = -a * (1.0 + a * (1 / 6 + a * (1 / 36 + a * (1 / 270))))
    series = u
    u = jnp.minimum(u, -1e-3)
    for _ in range(STEPS):
        u = u - (jnp.expm1(u) - u - excess) / jnp.expm1(u)
    return jnp.where(a < SERIES, series, u)


@log_variance.defjvp
def _log_variance_jvp(primals, tangents):
    u = log_variance(*primals)
    slope = jnp.where(u < 0, 1.0 / jnp.where(u < 0, jnp.expm1(u), -1.0), 0.0)
    return u, slope * tangents[0]


class Posterior(NamedTuple):
    """Normal distributions of weights, in units of their prior's deviation.

    Attributes:
      mean: (entries,) float32.
      log_variance: (entries,) float32, at most 0.
    """

    mean: Array
    log_variance: Array


def posterior(free: Array, logits: Array, block: Array, blocks: int, nats: float) -> Posterior:
    """Distributions of a layer whose blocks all diverge equally from the prior.

        budget = nats · softmax of the logits within a block
        mean = sqrt(2 · budget) · tanh(free)
        variance = -W(-exp(mean² - 2 · budget - 1))
        (variance + mean² - 1 - log variance) / 2 = budget

    Args:
      free: (entries,) float32, any numbers: the mean within the reach of its budget.
      logits: (entries,) float32: which weights get much of it.
      block: (entries,) int32 below `blocks`.
      blocks: how many there are.
      nats: divergence of a block, above 0.

    Example:
      >>> q = posterior(jnp.array([2.0, 0.0]), jnp.zeros(2), jnp.array([0, 0]), 1, 3.0)
      >>> variance = jnp.exp(q.log_variance)
      >>> (variance + q.mean**2 - 1 - q.log_variance) / 2
      Array([1.5, 1.5], dtype=float32)

    Source: 2307.07816, section 3: the divergence is given, not weighed.
    """
    top = jax.lax.stop_gradient(jax.ops.segment_max(logits, block, blocks))
    sums = jax.ops.segment_sum(jnp.exp(logits - top[block]), block, blocks)
    # Halved as a logarithm, so that the root has a derivative where the share is 0.
    reach = math.sqrt(2 * nats) * jnp.exp((logits - top[block] - jnp.log(sums)[block]) / 2)
    share = jnp.tanh(free)
    return Posterior(reach * share, log_variance(reach**2 * (1.0 - share**2)))
