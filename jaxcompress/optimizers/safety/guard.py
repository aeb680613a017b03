"""A guard around an optimizer: a gradient that is not finite changes nothing."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_concrete, check_count
from jaxcompress.core.flax_leaf import unwrapped
from jaxcompress.core.kinds import check_transformation
from jaxcompress.core.types import Array, Params, PyTree
from jaxcompress.optimizers.leafwise import check_gradients


class SkipState(NamedTuple):
    """The state of the guard.

    Attributes:
      skipped: () int32, steps skipped so far.
      consecutive: () int32, steps skipped since the last one that was taken.
      inner: the inner transformation's state.
    """

    skipped: ArrayLike
    consecutive: ArrayLike
    inner: optax.OptState


def skip_nonfinite(
    inner: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    """Skips the steps whose gradients hold a NaN or an infinity, and counts them.

    Not for: float16 gradients that overflow or vanish; `dynamic_loss_scale` finds a
    scale for them.

    In such a step params and the inner state stay as they are, bit for bit: updates are
    -0.0, which leaves even a param of -0.0 alone.

    It goes around `optax.MultiSteps`, which then never sees a bad micro-batch. Inside,
    it could save nothing: what accumulates there stays NaN for ever, and every later
    step is skipped. `should_skip_update_fn=optax.skip_not_finite` of MultiSteps does
    as well.

    It never gives in: a run that only skips goes nowhere. `check_skips(opt_state)`
    raises at a number of steps in a row, and where MultiSteps is on the wrong side.

    Args:
      inner: optimizer; extra arguments go to it.

    Returns:
      Transformation with a `SkipState`.

    Raises:
      ValueError: when `init` sees the params: a guard lies inside `optax.MultiSteps`
        that skips nothing itself.

    Example:
      >>> optimizer = jc.optimizers.skip_nonfinite(jc.optimizers.adam(0.1))
      >>> params = jnp.array([1.0, 2.0])
      >>> opt_state = optimizer.init(params)
      >>> grads = jnp.array([jnp.nan, 1.0])
      >>> updates, opt_state = optimizer.update(grads, opt_state, params)
      >>> optax.apply_updates(params, updates), int(opt_state.skipped)
      (Array([1., 2.], dtype=float32), 1)

    Differs from `optax.apply_if_finite`, which after enough errors in a row lets the
    next one through, and whose updates of +0.0 turn -0.0 into 0.0.

    Also known as: NaN guard, skipping bad steps.
    """
    check_transformation("skip_nonfinite", "inner", inner)
    inner = optax.with_extra_args_support(inner)

    def init(params: Params) -> SkipState:
        zero = jnp.zeros((), jnp.int32)
        inner_state = inner.init(params)
        check_order("skip_nonfinite(...).init(params)", inner_state)
        return SkipState(skipped=zero, consecutive=zero, inner=inner_state)

    def update(updates: optax.Updates, state: Any, params: Params = None, **extra):
        check_gradients("skip_nonfinite", updates, params)

        def take() -> tuple[Any, ...]:
            return inner.update(updates, state.inner, params, **extra)

        outline = jax.eval_shape(take)[0]

        def skip() -> tuple[Any, ...]:
            still = jax.tree.map(
                lambda gradient, shape: jnp.full_like(gradient, -0.0, shape.dtype),
                updates,
                outline,
            )
            return still, state.inner

        finite = all_finite(updates)
        updates, inner_state = jax.lax.cond(finite, take, skip)
        skipped = jnp.where(finite, state.skipped, optax.safe_increment(state.skipped))
        consecutive = jnp.where(finite, 0, optax.safe_increment(state.consecutive))
        return updates, SkipState(skipped, consecutive, inner_state)

    return optax.GradientTransformationExtraArgs(init, update)


def check_skips(opt_state: optax.OptState, *, most: int = 100) -> None:
    """Raises an error when a guard only skips, or will; not for use inside jit.

    Call it where losses are logged.

    Args:
      opt_state: of a transformation that holds `skip_nonfinite` or
        `dynamic_loss_scale`.
      most: steps in a row that may be skipped, at least 1. A loss scale that starts far
        too high takes up to 24.

    Raises:
      ValueError: more were skipped; a guard lies inside `optax.MultiSteps`, where one
        bad micro-batch stops training for ever; there is no guard.

    Example:
      >>> guarded = jc.optimizers.skip_nonfinite(optax.sgd(0.1))
      >>> jc.optimizers.check_skips(optax.MultiSteps(guarded, 2).init(jnp.ones(2)))
      Traceback (most recent call last):
      ValueError: check_skips(opt_state): a guard lies inside optax.MultiSteps, ...
    """
    check_count("check_skips", "most", most)
    check_concrete("check_skips", opt_state=opt_state)
    check_order("check_skips(opt_state)", opt_state)
    states = _nodes(opt_state, SkipState)
    if not states:
        raise ValueError(
            "check_skips(opt_state) finds no guard. Pass the opt_state of an optimizer that holds "
            "skip_nonfinite or dynamic_loss_scale."
        )
    for state in states:
        if state.consecutive > most:
            raise ValueError(
                f"check_skips(opt_state, most={most}): the last {int(state.consecutive)} steps "
                f"were skipped, {int(state.skipped)} in all. Params or batches hold NaN or "
                "infinity; go back to a checkpoint, with a lower rate or other data."
            )


def has_guard(opt_state: optax.OptState) -> bool:
    """Whether a guard is somewhere in a state."""
    return bool(_nodes(opt_state, SkipState))


def check_order(caller: str, opt_state: optax.OptState) -> None:
    """Raises a ValueError where a guard lies inside an accumulation that keeps NaN."""
    for state in _nodes(opt_state, optax.MultiStepsState):
        held = state.inner_opt_state
        skips = jax.tree.leaves(state.skip_state)
        if not skips and _nodes(held, SkipState | optax.ApplyIfFiniteState):
            raise ValueError(
                f"{caller}: a guard lies inside optax.MultiSteps, whose accumulated gradient stays "
                "NaN after one bad micro-batch, so that every later step is skipped. Put the guard "
                "around MultiSteps, or give that should_skip_update_fn=optax.skip_not_finite."
            )
        check_order(caller, held)


def _nodes(opt_state: optax.OptState, kind) -> list[Any]:
    """The outermost nodes of a class in a state."""
    nodes = jax.tree.leaves(unwrapped(opt_state), is_leaf=lambda node: isinstance(node, kind))
    return [node for node in nodes if isinstance(node, kind)]


def all_finite(tree: PyTree) -> Array:
    """() bool, whether no leaf holds a NaN or an infinity.

    Example:
      >>> all_finite({"kernel": jnp.ones(2), "bias": jnp.array([jnp.inf])})
      Array(False, dtype=bool)
    """
    finite = jnp.ones((), bool)
    for leaf in jax.tree.leaves(tree):
        finite &= jnp.all(jnp.isfinite(leaf))
    return finite
