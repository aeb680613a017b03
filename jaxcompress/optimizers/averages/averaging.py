"""Averages of params: a running one beside any optimizer, and the reader of all."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.checks import require_params
from jaxcompress.core.flax_leaf import unwrapped
from jaxcompress.core.kinds import check_transformation
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.types import Array, Params, PyTree
from jaxcompress.optimizers.averages.lookahead import LookaheadState
from jaxcompress.optimizers.averages.schedule_free import ScheduleFreeState
from jaxcompress.optimizers.hyperparameters import check_decays
from jaxcompress.optimizers.leafwise import check_gradients, check_trainable
from jaxcompress.optimizers.moments import as_float32, unbiased


class AveragedState(NamedTuple):
    """The state of `averaged`.

    Attributes:
      count: () int32, updates so far.
      mean: of the params' structure and shapes, float32.
      inner: the inner transformation's state.
    """

    count: ArrayLike
    mean: PyTree
    inner: optax.OptState

    @property
    def held(self) -> PyTree:
        """A tree of what is averaged."""
        return self.mean

    def average(self, params: dict[str, Array]) -> dict[str, Array]:
        """The mean of the params, by name."""
        del params
        return named_leaves(self.mean)


AVERAGES = (AveragedState, LookaheadState, ScheduleFreeState)
"""States that hold, beside the params that train, others to evaluate."""


def averaged(
    inner: optax.GradientTransformation, decay: ArrayLike = 0.999
) -> optax.GradientTransformationExtraArgs:
    """Keeps a running mean of the params beside them; changes nothing.

    Not for: doing without a schedule, since training does not change;
    `schedule_free_adamw` trains by its average.

        mean = Σ decay^(t - i) · w_i / Σ decay^(t - i)

    over the params w_i after each step i = 1 … t, so early means are not drawn to the
    start. `evaluation_params(opt_state, params)` reads it. It goes around all that
    changes params, `quantize_state` too; a pruning mask is for the caller to apply, by
    `prune.apply`.

    Args:
      inner: a whole optimizer; extra arguments go to it.
      decay: () in [0, 1); it looks back about 1 / (1 - decay) steps.

    Returns:
      Transformation with an `AveragedState`: 4 bytes per param beside the inner state.

    Raises:
      ValueError: the decay is outside its range; in `update`: params are missing.
      TypeError: when `init` sees the params: a leaf is not real floating.

    Example:
      >>> optimizer = jc.optimizers.averaged(optax.sgd(1.0), 0.5)
      >>> params = jnp.array([0.0])
      >>> opt_state = optimizer.init(params)
      >>> for _ in range(2):
      ...     updates, opt_state = optimizer.update(-jnp.ones(1), opt_state, params)
      ...     params = optax.apply_updates(params, updates)
      >>> params, jc.optimizers.evaluation_params(opt_state, params)
      (Array([2.], dtype=float32), Array([1.667], dtype=float32))

    Also known as: EMA of weights, Polyak averaging, SWA.

    Source: Polyak and Juditsky 1992, "Acceleration of stochastic approximation by
    averaging", with weights that fall as in arXiv:1412.6980, section 7.2.
    """
    check_transformation("averaged", "inner", inner)
    check_decays("averaged", decay=decay)
    inner = optax.with_extra_args_support(inner)

    def init(params: Params) -> AveragedState:
        check_trainable("averaged", params)
        # Copies, so that params and state may both be given away.
        mean = jax.tree.map(lambda leaf: jnp.array(leaf, jnp.float32), params)
        return AveragedState(jnp.zeros((), jnp.int32), mean, inner.init(params))

    def update(updates: optax.Updates, state: Any, params: Params = None, **extra):
        require_params("averaged", params)
        check_gradients("averaged", updates, params)
        updates, inner_state = inner.update(updates, state.inner, params, **extra)
        count = optax.safe_increment(state.count)
        share = unbiased(jnp.float32(1 - as_float32(decay)), count, decay)

        def on_leaf(mean: Array, param: Array, update: Array) -> Array:
            landed = (param.astype(jnp.float32) + update.astype(jnp.float32)).astype(param.dtype)
            return mean + share * (landed.astype(jnp.float32) - mean)

        mean = jax.tree.map(on_leaf, state.mean, params, updates)
        return updates, AveragedState(count, mean, inner_state)

    return optax.GradientTransformationExtraArgs(init, update)


def evaluation_params(opt_state: optax.OptState, params: Params) -> Params:
    """The params to evaluate and to save, where an optimizer keeps some beside.

    The average x of `schedule_free`, the slow weights of `lookahead`, the mean of
    `averaged`; of two within each other the outer one's. Pruned weights need not be 0
    in them: `prune.apply(masks, tree)` makes them so.

    Args:
      opt_state: of a transformation that holds one of these, in whatever goes around;
        after `optax.partition` several, each for its params.
      params: those that train, as of the same step; looked up by name.

    Returns:
      Tree of the structure, shapes and dtypes of `params`; leaves that no average
      covers are as they were.

    Raises:
      ValueError: `opt_state` holds no such state, or one of other params.

    Example:
      >>> optimizer = optax.chain(jc.optimizers.lookahead(optax.sgd(1.0)))
      >>> params = {"kernel": jnp.ones(2)}
      >>> opt_state = optimizer.init(params)
      >>> jc.optimizers.evaluation_params(opt_state, {"kernel": jnp.zeros(2)})
      {'kernel': Array([1., 1.], dtype=float32)}
    """

    def is_average(node) -> bool:
        return isinstance(node, AVERAGES)

    nodes = jax.tree.leaves(unwrapped(opt_state), is_leaf=is_average)
    states = [node for node in nodes if is_average(node)]
    if not states:
        raise ValueError(
            "evaluation_params(opt_state, params) finds no state of schedule_free, lookahead or "
            "averaged. Pass the opt_state of an optimizer that holds one."
        )
    leaves, averages = named_leaves(params), {}
    for state in states:
        held = named_leaves(state.held)
        if not held.keys() <= leaves.keys():
            name = next(name for name in held if name not in leaves)
            raise ValueError(
                f"evaluation_params(opt_state, params): the state averages leaf {name!r}, which is "
                "not among the params. Pass the params that this optimizer trains."
            )
        averages |= state.average(leaves)
    return map_named(
        lambda name, leaf: narrowed(averages[name], leaf.dtype) if name in averages else leaf,
        params,
    )
