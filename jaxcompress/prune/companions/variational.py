"""Sparse variational dropout: every weight has noise of its own, whose size is learned.

A weight that is small beside its noise can be removed.

    w = mean + exp(log_variance / 2) · noise,   log_alpha = log_variance - log mean²
"""

import jax
import jax.numpy as jnp

from jaxcompress.core.checks import check_number
from jaxcompress.core.companions import (
    Companion,
    Companions,
    Step,
    keys_of,
    of_equal_shape,
    seen,
)
from jaxcompress.core.kinds import check_select
from jaxcompress.core.masks import apply_mask
from jaxcompress.core.names import named_leaves
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.types import Array, Key, Params, Selector
from jaxcompress.prune.companions.beside import fitting, per_weight
from jaxcompress.prune.kinds import real_leaves

K1, K2, K3 = 0.63576, 1.87320, 1.48695
"""Of the fitted approximation of the divergence."""

TINY = 1e-16
"""Added to squared means, so that log_alpha is finite at 0."""


def variational_dropout(
    *, start: float = -10.0, threshold: float = 3.0, select: Selector | None = None
) -> Companion:
    """Adds noise of learned variance to weights, and removes those with too much of it.

    Not for: a share of weights that is given, since it follows from threshold and
    penalty; `prune` meets one.

    The companions are one log_variance for each weight. The penalty is the divergence
    from a prior that favours sparse weights, summed over all of them: add it to the
    mean loss of an example as `penalty / examples`, raised from 0 over the first
    epochs. What is shipped has no noise, and is exactly 0 where
    log_variance - log(mean²) is above the threshold.

    Also known as: sparse VD, Sparse Variational Dropout.

    Args:
      start: log_variance of every weight at first, finite.
      threshold: of the log noise ratio, finite: the lower, the more is removed.
      select: which leaves; by default those that meet data.

    Returns:
      Companion, whose view wants a `Step` with a key.

    Raises:
      ValueError: a number is not finite; when applied: variances are of no leaf or not
        of its shape; the step has no key.
      TypeError: when applied: a selected leaf is not real floating, or is already
        compressed.

    Example:
      >>> technique = jc.prune.companions.variational_dropout()
      >>> params = {"kernel": jnp.array([[1.0, 0.01]])}
      >>> technique.freeze(params, {"kernel": jnp.array([[-5.0, -5.0]])})
      {'kernel': Array([[1., 0.]], dtype=float32)}

    Source: Molchanov et al. 2017, arXiv:1701.05369, section 4. Differs: one draw of the
    weights serves a whole batch.
    """
    check_number("variational_dropout", "start", start)
    check_number("variational_dropout", "threshold", threshold)
    check_select("variational_dropout", select)

    def init(params: Params) -> Companions:
        return per_weight(params, real_leaves("variational_dropout", params, select), start)

    def view(params: Params, companions: Companions, step: Step = Step()) -> Params:
        companions = fitting("variational_dropout", params, companions, of_equal_shape)
        keys = keys_of("variational_dropout", companions, step)
        return seen(
            params, companions, lambda name, leaf: noisy(leaf, companions[name], keys[name])
        )

    def freeze(params: Params, companions: Companions, step: Step = Step()) -> Params:
        del step
        companions = fitting("variational_dropout", params, companions, of_equal_shape)

        def of_leaf(name: str, leaf: Array) -> Array:
            return apply_mask(log_noise_ratio(leaf, companions[name]) <= threshold, leaf)

        return seen(params, companions, of_leaf)

    def penalty(params: Params, companions: Companions) -> Array:
        companions = fitting("variational_dropout", params, companions, of_equal_shape)
        leaves = named_leaves(params)
        terms = [
            divergence(log_noise_ratio(leaves[name], each)) for name, each in companions.items()
        ]
        return sum(terms[1:], start=terms[0])

    return Companion(init, view, freeze, penalty)


def noisy(mean: Array, log_variance: Array, key: Key) -> Array:
    """One draw of the weights, for training.

        w = mean + exp(log_variance / 2) · noise

    One draw serves a whole batch. Where a layer is at hand, drawing its outputs from
    N(x @ mean, x² @ variance) gives gradients of less variance.

    Args:
      mean: (...) float.
      log_variance: of the same shape; begin with about -10.
      key: random key.

    Returns:
      (...) of the dtype of `mean`.

    Example:
      >>> noisy(jnp.array([2.0]), jnp.array([-40.0]), jax.random.key(0))
      Array([2.], dtype=float32)

    Source: Molchanov et al. 2017, arXiv:1701.05369, section 4.2, additive noise.
    """
    noise = jax.random.normal(key, mean.shape, jnp.float32)
    wide = mean.astype(jnp.float32) + jnp.exp(log_variance.astype(jnp.float32) / 2) * noise
    return narrowed(wide, mean.dtype)


def log_noise_ratio(mean: Array, log_variance: Array) -> Array:
    """How large the noise of each weight is beside the weight.

        log_alpha = log_variance - log(mean² + 1e-16)

    Args:
      mean: (...) float.
      log_variance: of the same shape.

    Returns:
      (...) float32; its negative is a score for `criteria.constant`.

    Example:
      >>> log_noise_ratio(jnp.array([1.0, 0.01]), jnp.array([-5.0, -5.0]))
      Array([-5.  ,  4.21], dtype=float32)

    Source: Molchanov et al. 2017, arXiv:1701.05369, section 4.2.
    """
    squares = jnp.square(mean.astype(jnp.float32))
    return log_variance.astype(jnp.float32) - jnp.log(squares + TINY)


def divergence(log_alpha: Array) -> Array:
    """The divergence of noisy weights from a prior that favours sparse ones.

        KL = Σ 0.63576 - 0.63576 · sigmoid(1.87320 + 1.48695 · log_alpha)
               + log(1 + 1 / alpha) / 2

    It falls as the noise grows, to 0.

    Args:
      log_alpha: (...) as `log_noise_ratio` gives it.

    Returns:
      () float32, at least 0 up to rounding.

    Example:
      >>> divergence(jnp.array([-8.0, 0.0, 20.0]))
      Array(5.07, dtype=float32)

    Source: Molchanov et al. 2017, arXiv:1701.05369, equation 14.
    """
    log_alpha = log_alpha.astype(jnp.float32)
    fitted = K1 * jax.nn.sigmoid(-(K2 + K3 * log_alpha))
    return jnp.sum(fitted + jax.nn.softplus(-log_alpha) / 2)
