"""Sophia: momentum over an occasionally estimated curvature, then clipped."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_positive
from jaxcompress.core.kinds import check_key
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.types import Array, Key, Params, PyTree, Selector
from jaxcompress.optimizers.curvature.curvature import (
    CurvatureState,
    Diagonal,
    read_diagonal,
    require_function,
    zeros_in_float32,
)
from jaxcompress.optimizers.descent import descending
from jaxcompress.optimizers.hyperparameters import check_counts, check_decays, check_sizes
from jaxcompress.optimizers.leafwise import check_gradients, check_trainable, map_to_trees
from jaxcompress.optimizers.moments import as_float32, average


def scale_by_sophia(
    key: Key,
    b1: ArrayLike = 0.96,
    b2: ArrayLike = 0.99,
    *,
    gamma: ArrayLike = 0.01,
    eps: ArrayLike = 1e-12,
    every: int = 10,
) -> optax.GradientTransformationExtraArgs:
    """Momentum divided by a running mean of curvature, no entry beyond ±1.

        m <- b1 · m + (1 - b1) · g
        h <- b2 · h + (1 - b2) · diagonal(key)    at the first step and every `every`
        update = clip(m / max(gamma · h, eps), -1, 1)

    Bound: no entry of an update is beyond 1, whatever the gradients and the curvature.

    `update` takes the extra argument `diagonal`, a function of a key that is called
    only at those steps: `diagonal=lambda key: hutchinson(loss, params, key)`, or
    `gauss_newton_bartlett` with a gamma of 0.05.

    Args:
      key: PRNG key of the estimates; the state holds it. Under `inject_hyperparams` it
        goes into `static_args`.
      b1: () in [0, 1), how long the mean of gradients remembers.
      b2: () in [0, 1), how long the mean of curvature remembers, in estimates.
      gamma: () at least 0; the higher, the fewer entries are clipped. The paper wants
        10 to 50 % not clipped.
      eps: () above 0; where curvature is not above eps / gamma, only signs are left.
      every: steps from one estimate to the next.

    Returns:
      Transformation with a `CurvatureState` whose moments are `first_moment` and
      `curvature`; updates are in [-1, 1].

    Raises:
      ValueError: a number is outside its range; in `update`: there is no `diagonal`, or
        it gives other shapes.
      TypeError: when `init` sees the params: a leaf is not real floating; in `update`:
        `diagonal` cannot be called.

    Example:
      >>> loss = lambda w: jnp.sum(jnp.array([100.0, 100.0, -1.0]) * w**2) / 2
      >>> scaled = jc.optimizers.scale_by_sophia(jax.random.key(0), gamma=4.0)
      >>> w = jnp.array([0.5, -9.0, 1e-3])
      >>> diagonal = lambda key: jc.optimizers.hutchinson(loss, w, key)
      >>> scaled.update(jax.grad(loss)(w), scaled.init(w), w, diagonal=diagonal)[0]
      Array([ 0.5, -1. , -1. ], dtype=float32)

    Source: Liu et al. 2023, arXiv:2305.14342, algorithm 3.
    """
    check_key("scale_by_sophia", "key", key)
    _check("scale_by_sophia", b1=b1, b2=b2, gamma=gamma, eps=eps, every=every)

    def init(params: Params) -> CurvatureState:
        check_trainable("scale_by_sophia", params)
        moments = {name: zeros_in_float32(params) for name in ("first_moment", "curvature")}
        # A copy, so that a caller who gives the state away keeps the key.
        return CurvatureState(jnp.zeros((), jnp.int32), jnp.copy(key), moments)

    def update(
        updates: optax.Updates,
        state: Any,
        params: Params = None,
        *,
        diagonal: Diagonal | None = None,
        **extra,
    ):
        del extra
        check_gradients("scale_by_sophia", updates, params, state.moments["first_moment"])
        mend = "lambda key: hutchinson(loss, params, key)"
        diagonal_of = require_function("scale_by_sophia", "diagonal", diagonal, mend)

        def estimate(curvature: PyTree, key: Key) -> tuple[PyTree, Key]:
            following, now = jax.random.split(key)
            seen = read_diagonal("scale_by_sophia", diagonal_of, now, updates)
            return jax.tree.map(lambda h, d: average(h, d, b2), curvature, seen), following

        def keep(curvature: PyTree, key: Key) -> tuple[PyTree, Key]:
            return curvature, key

        due = state.count % every == 0
        curvature, key = jax.lax.cond(due, estimate, keep, state.moments["curvature"], state.key)

        def on_leaf(gradient: Array, first: Array, curvature: Array) -> tuple[Array, Array]:
            first = average(first, gradient.astype(jnp.float32), b1)
            divisor = jnp.maximum(as_float32(gamma) * curvature, as_float32(eps))
            return narrowed(jnp.clip(first / divisor, -1.0, 1.0), gradient.dtype), first

        first = state.moments["first_moment"]
        updates, first = map_to_trees(on_leaf, 2, updates, first, curvature)
        moments = {"first_moment": first, "curvature": curvature}
        return updates, CurvatureState(optax.safe_increment(state.count), key, moments)

    return optax.GradientTransformationExtraArgs(init, update)


def sophia(
    learning_rate: ArrayLike | optax.Schedule,
    key: Key,
    *,
    b1: ArrayLike = 0.96,
    b2: ArrayLike = 0.99,
    gamma: ArrayLike = 0.01,
    eps: ArrayLike = 1e-12,
    every: int = 10,
    weight_decay: ArrayLike = 0.2,
    select: Selector | None = None,
) -> optax.GradientTransformationExtraArgs:
    """`scale_by_sophia`, then decoupled `weight_decay`, then the learning rate.

        w <- w - learning_rate · (Sophia's update + weight_decay · w)

    Args:
      learning_rate: at least 0: a number, a () array or a schedule; the paper takes 0.8
        of what AdamW has.
      key: PRNG key of the estimates. Under `inject_hyperparams` it goes into
        `static_args`, and so does `every`.
      b1: () in [0, 1).
      b2: () in [0, 1).
      gamma: () at least 0; 0.01 for `hutchinson`, 0.05 for `gauss_newton_bartlett`.
      eps: () above 0.
      every: steps from one estimate to the next.
      weight_decay: () at least 0.
      select: which leaves decay; by default matrices and kernels, see `weights`. Under
        `inject_hyperparams` it goes into `static_args`.

    Raises:
      ValueError: a number is outside its range; in `update`: there is no `diagonal`,
        or, with a decay, params are missing.

    Example:
      >>> optimizer = jc.optimizers.sophia(0.1, jax.random.key(0))
      >>> w = jnp.array([3.0])
      >>> diagonal = lambda key: jc.optimizers.hutchinson(lambda w: w[0] ** 2, w, key)
      >>> optimizer.update(2 * w, optimizer.init(w), w, diagonal=diagonal)[0]
      Array([-0.1], dtype=float32)
    """
    check_key("sophia", "key", key)
    _check("sophia", b1=b1, b2=b2, gamma=gamma, eps=eps, every=every)
    scaled = scale_by_sophia(key, b1, b2, gamma=gamma, eps=eps, every=every)
    return descending("sophia", scaled, learning_rate, weight_decay, select)


def _check(
    caller: str, *, b1: ArrayLike, b2: ArrayLike, gamma: ArrayLike, eps: ArrayLike, every: int
) -> None:
    check_decays(caller, b1=b1, b2=b2)
    check_sizes(caller, gamma=gamma)
    check_positive(caller, "eps", eps)
    check_counts(caller, every=every)
