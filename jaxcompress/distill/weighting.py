"""Weights of several losses, balanced by the sizes of their gradients.

A weight that is known beforehand is a number or an `optax.Schedule`, and needs nothing
of this.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxcompress.core import exports
from jaxcompress.core.checks import check_positive, check_size
from jaxcompress.core.kinds import check_each, check_select, check_shape, check_takes
from jaxcompress.core.messages import shown
from jaxcompress.core.partition import combine, partition
from jaxcompress.core.selectors import inexact
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Params, Selector

exports.list_definitions(globals())


class BalanceState(NamedTuple):
    """The weights of losses, and what they were found from.

    Attributes:
      weights: (losses,) float32, above 0, whose sum is the number of losses.
      first: (losses,) float32, the losses of the first update; 0 before it.
    """

    weights: Array
    first: Array


class Balance(NamedTuple):
    """Weights of losses that follow their gradients: two pure functions.

    Attributes:
      init: () -> BalanceState, all weights 1.
      update: (losses (losses,), norms (losses,), state) -> BalanceState; both as
        `gradient_norms` gives them.
    """

    init: Callable[[], BalanceState]
    update: Callable[[ArrayLike, ArrayLike, BalanceState], BalanceState]


def balanced(shares: Sequence[float], *, alpha: float = 0.0, rate: float = 0.025) -> Balance:
    """Weights with which each loss has a given share of the gradient's size.

    Not for: two losses whose weights hold for a whole run, for which `mix` takes no
    backward pass for each loss.

        size_i   = weight_i · norm_i
        target_i = share_i · mean(size) · pace_i^alpha / mean of share · pace^alpha
        pace_i   = loss_i / first loss_i, over the mean of these
        weight_i <- weight_i · exp(clip(log(target_i / size_i), -rate, rate))

    and all weights are scaled so that their sum is the number of losses. The weights
    settle where sizes have the shares.

    Args:
      shares: of the losses, above 0; only their ratios count. Equal ones let each loss
        move the shared weights as much as any other.
      alpha: at least 0. At 0 shares are kept; above, a loss that has fallen less than
        others gets more, in the paper 0.12 to 1.5. Losses are then to be above 0.
      rate: most that the logarithm of a weight moves in one update, above 0.

    Returns:
      Balance. Weights are constants of a step: no gradient reaches them. An update in
      which a loss or a norm is not finite changes nothing; one whose norm is 0 leaves
      that loss's weight but for the scaling.

    Raises:
      ValueError: there are fewer than two shares, or a number is out of range.
      TypeError: `shares` is no list; in `update`, what is no array of one number for
        each loss.

    Example:
      >>> balance = jc.distill.weighting.balanced([3, 1], rate=10.0)
      >>> losses, norms = jnp.array([1.0, 1.0]), jnp.array([0.1, 10.0])
      >>> state = balance.update(losses, norms, balance.init())
      >>> sizes = state.weights * norms
      >>> round(float(sizes[0] / sizes[1]), 4)
      3.0

    Also known as: GradNorm, adaptive loss weights, gradient normalization; with `alpha`
    0 and two losses, the adaptive weight of VQGAN.

    Source: Chen et al. 2018, arXiv:1711.02257, algorithm 1. Differs: shares, 1 in the
    paper; weights take steps in their logarithm towards the target, at most `rate`, in
    place of a gradient step on the distance to it, so that they stay above 0 and settle
    without swinging, whatever the size of the gradients.
    """
    check_each("balanced", "shares", shares, check_positive)
    if len(shares) < 2:
        raise ValueError(f"balanced(shares={shown(shares)}) needs two shares or more.")
    check_size("balanced", "alpha", alpha)
    check_positive("balanced", "rate", rate)
    wanted, count = np.asarray(shares, np.float32), len(shares)

    def init() -> BalanceState:
        return BalanceState(jnp.ones(count, jnp.float32), jnp.zeros(count, jnp.float32))

    def update(losses: ArrayLike, norms: ArrayLike, state: BalanceState) -> BalanceState:
        losses, norms = _numbers("losses", losses, count), _numbers("norms", norms, count)
        first = jnp.where(state.first == 0, losses, state.first)
        ratio = jnp.where(first == 0, 1.0, losses / jnp.where(first == 0, 1.0, first))
        paced = wanted * (ratio / jnp.mean(ratio)) ** jnp.asarray(alpha, jnp.float32)
        sizes = state.weights * norms
        targets = paced / jnp.mean(paced) * jnp.mean(sizes)
        there = sizes > 0
        step = jnp.log(jnp.where(there, targets, 1.0)) - jnp.log(jnp.where(there, sizes, 1.0))
        most = jnp.asarray(rate, jnp.float32)
        weights = state.weights * jnp.exp(jnp.clip(step, -most, most))
        found = BalanceState(weights * count / jnp.sum(weights), first)
        usable = jnp.all(jnp.isfinite(jnp.stack([losses, norms, found.weights])))
        return jax.tree.map(lambda new, old: jnp.where(usable, new, old), found, state)

    return Balance(init, update)


def gradient_norms(
    losses: Callable[[Params], Array], params: Params, *, select: Selector | None = None
) -> tuple[Array, Array]:
    """The losses, and the norm of the gradient of each with respect to shared weights.

    One backward pass for each loss, through what lies above the selected leaves alone:
    select the last weights that all losses share, and measure every few steps.

    Args:
      losses: params -> (losses,), each the mean over a batch.
      params: tree of arrays.
      select: the shared weights; by default all floating leaves.

    Returns:
      (losses,) float32 and (losses,) float32, Euclidean norms over all of the selected
      leaves.

    Raises:
      TypeError: `losses` is no function or gives no array (losses,); `params` holds
        what is no array.
      ValueError: no leaf is selected.

    Example:
      >>> both = lambda params: jnp.stack([params["a"].sum(), (3 * params["a"]).sum()])
      >>> jc.distill.weighting.gradient_norms(both, {"a": jnp.ones(4)})[1]
      Array([2., 6.], dtype=float32)
    """
    check_takes("gradient_norms", "losses", losses, 1, "It takes params and gives (losses,).")
    check_arrays("gradient_norms", "params", params)
    check_select("gradient_norms", select)
    chosen, rest = partition(params, inexact() if select is None else select)
    if not jax.tree.leaves(chosen):
        raise ValueError("gradient_norms(select=...) selects no leaf of the params.")
    values, pull = jax.vjp(lambda chosen: losses(combine(chosen, rest)), chosen)
    if jnp.ndim(values) != 1 or not jnp.issubdtype(values.dtype, jnp.floating):
        raise TypeError(
            f"gradient_norms(losses) gives {shown(values)}, which must be one number for each "
            "loss, (losses,). Stack their means."
        )

    def norm(direction: Array) -> Array:
        leaves = jax.tree.leaves(pull(direction)[0])
        return jnp.sqrt(sum(jnp.sum(jnp.square(each.astype(jnp.float32))) for each in leaves))

    each = jnp.eye(len(values), dtype=values.dtype)
    return values.astype(jnp.float32), jax.lax.map(norm, each)


def _numbers(argument: str, values: ArrayLike, count: int) -> Array:
    check_shape("balanced: update", argument, values, "(losses,)")
    found = jax.lax.stop_gradient(jnp.asarray(values, jnp.float32))
    if found.shape != (count,):
        raise TypeError(
            f"balanced: update({argument} of shape {found.shape}) needs one number for each of "
            f"{count} shares."
        )
    return found
