"""Proximal steps: penalties that set weights to exact zeros after each update."""

from functools import partial

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core import exports
from jaxcompress.core.checks import check_size, is_number
from jaxcompress.core.kinds import check_select, check_takes
from jaxcompress.core.masks import fitted
from jaxcompress.core.names import named_leaves
from jaxcompress.core.proximal import Operator, proximal
from jaxcompress.core.trees import check_entries
from jaxcompress.core.types import Array, Params, Selector
from jaxcompress.prune.kinds import real_leaves
from jaxcompress.prune.views import Masking

exports.list_definitions(globals())


def proximal_l1(
    learning_rate: ArrayLike | optax.Schedule,
    weight: ArrayLike,
    *,
    select: Selector | None = None,
) -> optax.GradientTransformation:
    """Soft-thresholds every weight after a step, small ones to exactly 0.

    Not for: a pattern or large weights that should stay as they are; `proximal_trimmed`
    spares what a pattern keeps.

    Comes last in a chain, where updates are what `apply_updates` adds:

        w <- prox(w + update)
        prox(v) = sign(v) · max(0, |v| - learning_rate · weight)

    It is the step for `weight · Σ |w|`. A weight may return where the gradient is
    strong enough. `one_shot` or `masks` with `magnitude` reads off what is 0.

    Also known as: proximal L1, ISTA, the lasso's soft thresholding.

    Args:
      learning_rate: that of the chain before it: a number, a () array or a schedule.
      weight: () at least 0.
      select: which leaves; by default those that meet data.

    Returns:
      Transformation with a `ProximalState`.

    Raises:
      ValueError: a number is negative or not finite; when the params are seen: nothing
        is selected, or a selected leaf is empty; params are missing.
      TypeError: a selected leaf is compressed or not real floating.

    Example:
      >>> proximal = jc.prune.penalties.proximal_l1(0.5, weight=0.4)
      >>> optimizer = optax.chain(optax.sgd(0.5), proximal)
      >>> params = {"kernel": jnp.array([[1.0, -0.1]])}
      >>> grads = {"kernel": jnp.array([[0.2, 0.1]])}
      >>> updates, _ = optimizer.update(grads, optimizer.init(params), params)
      >>> optax.apply_updates(params, updates)["kernel"]
      Array([[0.7, 0. ]], dtype=float32)

    Source: Parikh and Boyd 2014, "Proximal Algorithms", sections 4.2 and 6.5.2.
    """
    check_select("proximal_l1", select)

    def operators(params: Params) -> dict[str, Operator]:
        return dict.fromkeys(real_leaves("proximal_l1", params, select), soft_threshold)

    return proximal("proximal_l1", learning_rate, weight, operators)


def proximal_trimmed(
    learning_rate: ArrayLike | optax.Schedule, weight: ArrayLike, spared: Masking
) -> optax.GradientTransformation:
    """Soft-thresholds only the weights that a pattern would drop, down to exactly 0.

    Not for: a pattern that must hold at a certain step, which the pull may miss;
    `prune` sets it there.

    It comes last in an `optax.chain`:

        v = w + update
        w <- v where spared(v), else sign(v) · max(0, |v| - learning_rate · weight)

    With `spared = by_magnitude(...)` it is the step for `weight` times the sum of all
    |w| but the largest of each group, which is 0 exactly where the pattern holds. So
    with `by_magnitude(Target(0.5, n_of_m(2, 4)))` weights come to 2:4 while
    the two largest of four are never shortened.

    Also known as: trimmed lasso.

    Args:
      learning_rate: that of the chain before it: a number, a () array or a schedule.
      weight: () at least 0; raise it until the pattern holds.
      spared: params to masks of what is not shortened; a leaf with a () True mask
        is spared whole.

    Returns:
      Transformation with a `ProximalState`.

    Raises:
      ValueError: a number is negative or not finite; params are missing; what `spared`
        raises when the params are seen.
      TypeError: what `spared` raises when the params are seen.

    Example:
      >>> one_of_two = jc.prune.patterns.n_of_m(1, 2)
      >>> pairs = jc.prune.views.by_magnitude(jc.prune.Target(0.5, one_of_two))
      >>> proximal = jc.prune.penalties.proximal_trimmed(0.5, weight=0.4, spared=pairs)
      >>> optimizer = optax.chain(optax.sgd(0.5), proximal)
      >>> params = {"kernel": jnp.array([[1.0, 3.0], [-0.1, 2.0]])}
      >>> grads = {"kernel": jnp.zeros((2, 2))}
      >>> updates, _ = optimizer.update(grads, optimizer.init(params), params)
      >>> optax.apply_updates(params, updates)["kernel"]
      Array([[1. , 3. ],
             [0. , 1.8]], dtype=float32)

    Source: Bertsimas, Copenhaver and Mazumder 2017, arXiv:1708.04527, the trimmed
    lasso. Differs: any pattern in place of the largest weights of all.
    """
    check_takes("proximal_trimmed", "spared", spared, 1, "Pass views.by_magnitude(target).")

    def operators(params: Params) -> dict[str, Operator]:
        masks = fitted("proximal_trimmed", spared(params), params)
        return {
            name: partial(_trimmed, mask)
            for name, mask in named_leaves(masks).items()
            if mask.shape != ()
        }

    return proximal("proximal_trimmed", learning_rate, weight, operators)


def soft_threshold(x: Array, threshold: ArrayLike) -> Array:
    """The proximal operator of `threshold · Σ |x|`: sign(x) · max(0, |x| - threshold).

    Args:
      x: (...) float.
      threshold: at least 0, () or of x's shape.

    Returns:
      Of x's shape, at least float32.

    Example:
      >>> jc.prune.penalties.soft_threshold(jnp.array([-3.0, 0.5]), 1.0)
      Array([-2.,  0.], dtype=float32)
    """
    check_entries("soft_threshold", "x", x)
    if is_number(threshold):
        check_size("soft_threshold", "threshold", threshold)
    else:
        check_entries("soft_threshold", "threshold", threshold)
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return jnp.where(jnp.abs(x) > threshold, x - jnp.sign(x) * threshold, 0.0)


def _trimmed(mask: Array, target: Array, threshold: ArrayLike) -> Array:
    return jnp.where(mask, target, soft_threshold(target, threshold))
