"""Lookahead: slow weights that follow fast ones, a share of the way at a time."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_share, require_params
from jaxcompress.core.kinds import check_transformation
from jaxcompress.core.names import named_leaves
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.types import Array, Params, PyTree
from jaxcompress.optimizers.hyperparameters import check_counts
from jaxcompress.optimizers.leafwise import check_gradients, check_trainable, map_to_trees
from jaxcompress.optimizers.moments import as_float32


class LookaheadState(NamedTuple):
    """The state of lookahead; the params that train are the fast weights.

    Attributes:
      count: () int32, updates so far.
      slow: of the params' structure and shapes, float32.
      inner: the inner transformation's state.
    """

    count: ArrayLike
    slow: PyTree
    inner: optax.OptState

    @property
    def held(self) -> PyTree:
        """A tree of what is averaged."""
        return self.slow

    def average(self, params: dict[str, Array]) -> dict[str, Array]:
        """The slow weights by name, which are what to evaluate."""
        del params
        return named_leaves(self.slow)


def lookahead(
    inner: optax.GradientTransformation, *, every: ArrayLike = 5, rate: ArrayLike = 0.5
) -> optax.GradientTransformationExtraArgs:
    """Sets the fast weights back to slow ones every few steps.

    Not for: training that should go on as it was, since fast weights are set back;
    `averaged` changes nothing.

        fast <- fast + inner's update
        every `every` steps:  slow <- slow + rate · (fast - slow),  fast <- slow

    The params that the user holds are the fast weights. The slow ones, in float32, are
    what to evaluate in between, by `evaluation_params(opt_state, params)`. A pruning
    mask reaches only the fast weights if `prune` goes around: then apply it to the slow
    ones by `prune.apply`. The inner state goes on through a set-back. `quantize_state`
    goes inside, since slow weights are no moment.

    Args:
      inner: a whole optimizer, its learning rate included; extra arguments go to it.
      every: () int, at least 1, fast steps to a slow one.
      rate: () in [0, 1], the share of the way.

    Returns:
      Transformation with a `LookaheadState`: 4 bytes per param beside the inner state.

    Raises:
      ValueError: a number is outside its range; in `update`: params are missing.
      TypeError: when `init` sees the params: a leaf is not real floating.

    Example:
      >>> optimizer = jc.optimizers.lookahead(optax.sgd(1.0), every=2)
      >>> params = jnp.array([0.0])
      >>> opt_state, way = optimizer.init(params), []
      >>> for _ in range(4):
      ...     updates, opt_state = optimizer.update(-jnp.ones(1), opt_state, params)
      ...     params = optax.apply_updates(params, updates)
      ...     way.append(float(params[0]))
      >>> way
      [1.0, 1.0, 2.0, 2.0]

    Also known as: slow and fast weights.

    Source: Zhang et al. 2019, arXiv:1907.08610, algorithm 1. Differs from
    `optax.lookahead`: params stay one tree, and any wrapper goes inside or outside.
    """
    check_transformation("lookahead", "inner", inner)
    check_counts("lookahead", every=every)
    check_share("lookahead", "rate", rate)
    inner = optax.with_extra_args_support(inner)

    def init(params: Params) -> LookaheadState:
        check_trainable("lookahead", params)
        # Copies, so that params and state may both be given away.
        slow = jax.tree.map(lambda leaf: jnp.array(leaf, jnp.float32), params)
        return LookaheadState(jnp.zeros((), jnp.int32), slow, inner.init(params))

    def update(updates: optax.Updates, state: Any, params: Params = None, **extra):
        require_params("lookahead", params)
        check_gradients("lookahead", updates, params)
        updates, inner_state = inner.update(updates, state.inner, params, **extra)
        count = optax.safe_increment(state.count)
        meets = count % jnp.asarray(every, jnp.int32) == 0

        def on_leaf(update: Array, param: Array, slow: Array) -> tuple[Array, Array]:
            start = param.astype(jnp.float32)
            fast = start + update.astype(jnp.float32)
            target = slow + as_float32(rate) * (fast - slow)
            set_back = narrowed(target - start, update.dtype)
            return jnp.where(meets, set_back, update), jnp.where(meets, target, slow)

        updates, slow = map_to_trees(on_leaf, 2, updates, params, state.slow)
        return updates, LookaheadState(count, slow, inner_state)

    return optax.GradientTransformationExtraArgs(init, update)
