"""Schedule-free optimizers: an average of the steps instead of a falling rate.

`evaluation_params` reads that average.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_positive, require_params
from jaxcompress.core.kinds import check_select, check_transformation
from jaxcompress.core.names import named_leaves
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.types import Array, Params, PyTree, Selector
from jaxcompress.optimizers.descent import decay_after
from jaxcompress.optimizers.hyperparameters import (
    check_counts,
    check_decays,
    check_rates,
    check_sizes,
)
from jaxcompress.optimizers.leafwise import (
    check_gradients,
    check_trainable,
    leafwise,
    map_to_trees,
)
from jaxcompress.optimizers.moments import as_float32, average, divided, root, unbiased


class ScheduleFreeState(NamedTuple):
    """The state of a schedule-free optimizer; y are the params that train.

    Attributes:
      count: () int32, updates so far.
      weight_sum: () float32, the sum of squared rates so far.
      b1: () float32, where y lies between z and x, as of the last update.
      z: of the params' structure and shapes, float32: where plain steps lead.
      x: of the params' structure, the average, float32, for a leaf narrower than
        float32; for others () 0, since x follows from y and z.
      inner: the inner transformation's state.
    """

    count: ArrayLike
    weight_sum: ArrayLike
    b1: ArrayLike
    z: PyTree
    x: PyTree
    inner: optax.OptState

    @property
    def held(self) -> PyTree:
        """A tree of what is averaged."""
        return self.z

    def average(self, params: dict[str, Array]) -> dict[str, Array]:
        """The average x of the params by name, float32."""
        z, x = named_leaves(self.z), named_leaves(self.x)
        return {name: averaged_point(params[name], z[name], x[name], self.b1) for name in z}


def schedule_free(
    inner: optax.GradientTransformation,
    learning_rate: ArrayLike | optax.Schedule,
    *,
    b1: ArrayLike = 0.9,
    warmup: ArrayLike = 0,
) -> optax.GradientTransformationExtraArgs:
    """Steps z along what `inner` gives, averages z in x, trains at y between both.

        rate = learning_rate · min(1, t / warmup)
        z <- z - rate · inner's update at y
        x <- (1 - c) · x + c · z,   c = rate² / (sum of squared rates so far)
        y <- (1 - b1) · z + b1 · x

    The params that the user holds are y. x is what to evaluate and to save, by
    `evaluation_params(opt_state, params)`; statistics of batch norms are to be gathered
    again at x. A pruning mask reaches only y: apply it to x by `prune.apply`.

    It takes the place of the learning rate, the last link of a chain. Beside the state
    of `inner` it keeps 4 bytes per param, and 8 where params are narrower than float32.
    These are weights: `quantize_state` goes inside, around `inner`.

    Args:
      inner: scales gradients, without a momentum and without a learning rate; it works
        in float32 and takes extra arguments. A `weight_decay` in it acts at y.
      learning_rate: at least 0: a number, a () array or a schedule; no decay is needed.
      b1: () in (0, 1), the share of x in y; the part that a momentum plays elsewhere.
      warmup: () int, at least 0: steps in which the rate grows from 0.

    Returns:
      Transformation with a `ScheduleFreeState`.

    Raises:
      ValueError: a number is outside its range; in `update`: params are missing.
      TypeError: when `init` sees the params: a leaf is not real floating.

    Example:
      >>> optimizer = jc.optimizers.schedule_free(optax.identity(), 0.5, b1=0.75)
      >>> params = jnp.array([1.0])
      >>> opt_state = optimizer.init(params)
      >>> for _ in range(2):
      ...     updates, opt_state = optimizer.update(params, opt_state, params)
      ...     params = optax.apply_updates(params, updates)
      >>> opt_state.z, jc.optimizers.evaluation_params(opt_state, params)
      (Array([0.25], dtype=float32), Array([0.375], dtype=float32))

    Source: Defazio et al. 2024, arXiv:2405.15682, equations 3-5 and algorithm 1.
    Differs: Adam's correction of its start divides v and does not enter the weights c,
    as in the authors' later code; unlike `optax.contrib.schedule_free`, one rate is
    used for steps and weights, and narrow params lose nothing of x.
    """
    check_transformation("schedule_free", "inner", inner)
    _check("schedule_free", learning_rate=learning_rate, b1=b1, warmup=warmup)
    inner = optax.with_extra_args_support(inner)

    def init(params: Params) -> ScheduleFreeState:
        check_trainable("schedule_free", params)
        # Copies, so that params and state may both be given away.
        z = jax.tree.map(lambda leaf: jnp.array(leaf, jnp.float32), params)
        x = jax.tree.map(lambda leaf: _kept(leaf.dtype, jnp.array(leaf, jnp.float32)), params)
        zero = jnp.zeros((), jnp.float32)
        count = jnp.zeros((), jnp.int32)
        return ScheduleFreeState(count, zero, jnp.float32(b1), z, x, inner.init(z))

    def update(updates: optax.Updates, state: Any, params: Params = None, **extra):
        require_params("schedule_free", params)
        check_gradients("schedule_free", updates, params)
        directions, inner_state = inner.update(_wide(updates), state.inner, _wide(params), **extra)
        rate = _rate(learning_rate, warmup, state.count)
        weight_sum = state.weight_sum + rate * rate
        share = divided(rate * rate, weight_sum)

        def on_leaf(
            gradient: Array, direction: Array, y: Array, z: Array, x: Array
        ) -> tuple[Any, ...]:
            x = averaged_point(y, z, x, state.b1)
            z = z - rate * direction
            x = x + share * (z - x)
            # Exact where x = z, so that without a gradient nothing moves.
            following = z + as_float32(b1) * (x - z)
            step = following - y.astype(jnp.float32)
            return narrowed(step, gradient.dtype), z, _kept(y.dtype, x)

        updates, z, x = map_to_trees(on_leaf, 3, updates, directions, params, state.z, state.x)
        count = optax.safe_increment(state.count)
        return updates, ScheduleFreeState(count, weight_sum, jnp.float32(b1), z, x, inner_state)

    return optax.GradientTransformationExtraArgs(init, update)


def schedule_free_sgd(
    learning_rate: ArrayLike | optax.Schedule,
    *,
    b1: ArrayLike = 0.9,
    weight_decay: ArrayLike = 0.0,
    select: Selector | None = None,
    warmup: ArrayLike = 0,
) -> optax.GradientTransformationExtraArgs:
    """Plain steps under `schedule_free`; its state is z, as large as a momentum.

    Args:
      learning_rate: at least 0: a number, a () array or a schedule; 10 to 50 times what
        a momentum of 0.9 takes.
      b1: () in (0, 1).
      weight_decay: () at least 0, at y.
      select: which leaves decay; by default matrices and kernels, see `weights`. Under
        `inject_hyperparams` it goes into `static_args`.
      warmup: () int, at least 0: steps in which the rate grows from 0.

    Raises:
      ValueError: a number is outside its range; in `update`: params are missing.

    Example:
      >>> optimizer = jc.optimizers.schedule_free_sgd(0.5)
      >>> params = jnp.array([1.0])
      >>> optimizer.update(jnp.array([0.5]), optimizer.init(params), params)[0]
      Array([-0.25], dtype=float32)
    """
    caller = "schedule_free_sgd"
    _check(caller, learning_rate=learning_rate, b1=b1, weight_decay=weight_decay, warmup=warmup)
    check_select(caller, select)
    decayed = decay_after(optax.identity(), weight_decay, select)
    return schedule_free(decayed, learning_rate, b1=b1, warmup=warmup)


def schedule_free_adamw(
    learning_rate: ArrayLike | optax.Schedule,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    weight_decay: ArrayLike = 0.0,
    select: Selector | None = None,
    warmup: ArrayLike = 0,
) -> optax.GradientTransformationExtraArgs:
    """AdamW without momentum under `schedule_free`; its state is as large as Adam's.

        v <- b2 · v + (1 - b2) · g²
        z <- z - rate · (g / (sqrt(v / (1 - b2^t)) + eps) + weight_decay · y)

    Args:
      learning_rate: at least 0: a number, a () array or a schedule; 1 to 10 times what
        AdamW takes.
      b1: () in (0, 1); longer runs take 0.95 or 0.98.
      b2: () in [0, 1).
      eps: () at least 0, outside the root.
      weight_decay: () at least 0, at y.
      select: which leaves decay; by default matrices and kernels, see `weights`. Under
        `inject_hyperparams` it goes into `static_args`.
      warmup: () int, at least 0: steps in which the rate grows from 0; advised.

    Raises:
      ValueError: a number is outside its range; in `update`: params are missing.

    Example:
      >>> optimizer = jc.optimizers.schedule_free_adamw(0.5)
      >>> params = jnp.array([1.0])
      >>> optimizer.update(jnp.array([3.0]), optimizer.init(params), params)[0]
      Array([-0.5], dtype=float32)
    """
    caller = "schedule_free_adamw"
    _check(caller, learning_rate=learning_rate, b1=b1, weight_decay=weight_decay, warmup=warmup)
    check_decays(caller, b2=b2)
    check_sizes(caller, eps=eps)
    check_select(caller, select)

    def step(count: Array, gradient: Array, second: Array) -> tuple[Array, Array]:
        second = average(second, gradient * gradient, b2)
        return divided(gradient, root(unbiased(second, count, b2), eps, 0.0)), second

    scaled = leafwise(caller, step, "second_moment")
    decayed = decay_after(scaled, weight_decay, select)
    return schedule_free(decayed, learning_rate, b1=b1, warmup=warmup)


def averaged_point(y: Array, z: Array, x: Array, b1: ArrayLike) -> Array:
    """The average x of one leaf: as stored, or solved from y = (1 - b1) · z + b1 · x.

    Args:
      y: (…) real floating.
      z: (…) float32.
      x: (…) float32 if y is narrower, else () and not looked at.
      b1: () in (0, 1).

    Returns:
      (…) float32.

    Example:
      >>> averaged_point(jnp.float32([2.0]), jnp.float32([5.0]), jnp.float32(0.0), 0.75)
      Array([1.], dtype=float32)
    """
    if _is_narrow(y.dtype):
        return x
    return z + (y.astype(jnp.float32) - z) / as_float32(b1)


def _kept(dtype, x: Array) -> Array:
    """What the state holds of x for a leaf of this dtype."""
    return x if _is_narrow(dtype) else jnp.zeros((), jnp.float32)


def _is_narrow(dtype) -> bool:
    return jnp.finfo(dtype).bits < 32


def _wide(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), tree)


def _rate(learning_rate: ArrayLike | optax.Schedule, warmup: ArrayLike, count: Array) -> Array:
    """() float32, the rate of the step that comes after `count` others."""
    rate = learning_rate(count) if callable(learning_rate) else learning_rate
    ramp = (count + 1).astype(jnp.float32) / jnp.maximum(as_float32(warmup), 1.0)
    return jnp.asarray(rate, jnp.float32) * jnp.minimum(ramp, 1.0)


def _check(
    caller: str,
    *,
    learning_rate: ArrayLike | optax.Schedule,
    b1: ArrayLike,
    warmup: ArrayLike,
    **sizes: ArrayLike,
) -> None:
    check_rates(caller, learning_rate=learning_rate)
    check_sizes(caller, **sizes)
    check_counts(caller, least=0, warmup=warmup)
    check_decays(caller, b1=b1)
    check_positive(caller, "b1", b1)
