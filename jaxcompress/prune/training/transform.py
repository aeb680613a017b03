"""Pruning in training: an optax transformation around an optimizer."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxcompress.core import schedules
from jaxcompress.core.checks import require_params
from jaxcompress.core.kinds import check_transformation, check_when
from jaxcompress.core.trees import check_leaves
from jaxcompress.core.types import Array, Masks, Params, When
from jaxcompress.prune import chosen
from jaxcompress.prune.criterion import Criterion, check_criterion
from jaxcompress.prune.target import Aim, as_target
from jaxcompress.prune.training.state import (
    PruneState,
    check_state,
    kept_unless,
    leaked_by,
    masked_update,
    refuse_line_search,
)


def prune(
    inner: optax.GradientTransformation,
    criterion: Criterion,
    target: Aim,
    *,
    when: When = schedules.every(100),
) -> optax.GradientTransformationExtraArgs:
    """Prunes while training: the weights with the lowest scores stay exactly 0.

    Not for: models that are trained no further; `one_shot` and `reconstruct` prune them
    at once.

    After `optax.apply_updates` every weight outside the mask is 0, in every dtype, for
    finite params, because its update is its own negative:

        update = where(keep, inner's update, -param)

    The criterion sees raw gradients, `inner` sees `where(keep, gradient, 0)`. New masks
    are found at the steps that `when` names, from scores at that step; in between they
    stay. A weight may return when the sparsity falls or another one is worth less.
    Where a score or the sparsity is NaN, masks stay as they are, and `check` raises.

    It must be outermost: a change of its updates can make pruned weights nonzero.
    Around it go `optax.MultiSteps`, `optax.masked`, `optax.partition`, and
    `inject_hyperparams` as `lambda rate, sparsity: prune(adamw(rate), criterion,
    sparsity)`. `check` raises if that was not kept. An optimizer with a second
    set of params (schedule-free, lookahead, averages) needs `apply(masks_of(opt_state),
    second)` before it is used.

    Also known as: GMP (gradual magnitude pruning) with `schedules.cubic`; AC/DC with
    `schedules.cyclic`; movement pruning with `criteria.movement`.

    Args:
      inner: optimizer, without a line search.
      criterion: what a weight is worth.
      target: which weights, how much and where: a `Target`, or its sparsity.
      when: at which steps masks are found anew, counted from 0. How long a run is, is
        not known here: one that ends before the first such step has pruned nothing.

    Returns:
      Transformation with a `PruneState`; extra arguments go to `inner`.

    Raises:
      ValueError: as `Target`; when `init` sees the params: nothing is selected, a rule
        is never used, a selected leaf is empty, `inner` has a line search; in `update`:
        params are missing.
      TypeError: a selected leaf is not real floating, or is already compressed.

    Example:
      >>> params = {"kernel": jnp.array([[0.1, -2.0], [3.0, -0.4]])}
      >>> magnitude = jc.prune.criteria.magnitude()
      >>> optimizer = jc.prune.prune(optax.sgd(0.5), magnitude, 0.5)
      >>> opt_state = optimizer.init(params)
      >>> grads = {"kernel": jnp.ones((2, 2))}
      >>> updates, opt_state = optimizer.update(grads, opt_state, params)
      >>> optax.apply_updates(params, updates)["kernel"]
      Array([[ 0. , -2.5],
             [ 2.5,  0. ]], dtype=float32)

    Source: Zhu and Gupta 2017, arXiv:1710.01878, section 3. Differs: one transformation
    instead of hooks around the step; exact counts.
    """
    check_transformation("prune", "inner", inner)
    check_criterion("prune", criterion)
    check_when("prune", when)
    target = as_target("prune", target)
    inner = optax.with_extra_args_support(inner)

    def init(params: Params) -> PruneState:
        found = chosen.choose("prune", params, target, criterion=criterion).groups
        selected = chosen.selection(params, found)
        inner_state = inner.init(params)
        refuse_line_search("prune", inner_state)
        return PruneState(
            count=jnp.zeros((), jnp.int32),
            masks=jax.tree.map(
                lambda chosen, leaf: jnp.ones_like(leaf if chosen else True, bool), selected, params
            ),
            evidence=criterion.init(chosen.targeted(selected, params)),
            leaked=jnp.zeros(len(jax.tree.leaves(selected)), jnp.int32),
            missed=jnp.zeros((), jnp.int32),
            inner=inner_state,
        )

    def update(updates: optax.Updates, state: Any, params: Params = None, **extra):
        require_params("prune", params)
        check_state("prune", state)
        check_leaves("prune", "updates", updates, params)
        found = chosen.choose("prune", params, target, criterion=criterion).groups
        selected = chosen.selection(params, found)
        weights = chosen.targeted(selected, params)
        evidence = criterion.update(chosen.targeted(selected, updates), state.evidence, weights)

        def fresh() -> tuple[Masks, Array]:
            scores = chosen.scored("prune", criterion, evidence, weights, found)
            masks = chosen.masks_at(state.count, scores, found, target)
            known = chosen.are_known(state.count, scores, found)
            masks = kept_unless(known, chosen.mask_tree(masks, params), state.masks)
            return masks, state.missed + (~known).astype(jnp.int32)

        due, was_due = when(state.count), when(jnp.maximum(state.count - 1, 0))
        leaked = leaked_by(state, weights, due | was_due)
        # Counts are never negative. Reading them here puts the branches in an order,
        # without which XLA copies params and masks in every step.
        masks, missed = jax.lax.cond(
            due & jnp.all(leaked >= 0), fresh, lambda: (state.masks, state.missed)
        )
        updates, inner_state = masked_update(
            inner, selected, masks, updates, state.inner, params, **extra
        )
        count = optax.safe_increment(state.count)
        return updates, PruneState(count, masks, evidence, leaked, missed, inner_state)

    return optax.GradientTransformationExtraArgs(init, update)
