"""Training under fixed masks."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxcompress.core import schedules
from jaxcompress.core.checks import require_params
from jaxcompress.core.kinds import check_transformation
from jaxcompress.core.masks import check_masks
from jaxcompress.core.trees import check_leaves
from jaxcompress.core.types import Masks, Params
from jaxcompress.prune import chosen
from jaxcompress.prune.training.state import (
    PruneState,
    check_state,
    leaked_by,
    masked_leaves,
    masked_update,
    refuse_line_search,
    starting_masks,
)

_LOOKED = schedules.every(100, begin=1)


def hold(
    inner: optax.GradientTransformation, masks: Masks
) -> optax.GradientTransformationExtraArgs:
    """Trains under fixed masks: pruned weights stay exactly 0.

    Not for: masks that may still move; on LeNets `prune` with a schedule beat fixed
    masks in as many epochs.

        update = where(mask, inner's update, -param)

    For training on after `one_shot`, and for lottery tickets. It must be outermost, as
    `prune`; `masks_of` and `check` read its state.

    Also known as: fine-tuning with fixed masks, sparse fine-tuning.

    Args:
      inner: optimizer, without a line search; it sees `where(mask, gradient, 0)`.
      masks: as `masks` gives them; looked up by name. A leaf with a () mask
        stays whole.

    Returns:
      Transformation with a `PruneState`; extra arguments go to `inner`.

    Raises:
      ValueError: when `init` sees the params: a leaf has no mask or one that does not
        fit, a masked leaf is empty, `inner` has a line search; in `update`: params are
        missing.
      TypeError: a masked leaf is not real floating, or is already compressed.

    Example:
      >>> params = {"kernel": jnp.array([[0.1, -2.0]])}
      >>> masks = jc.prune.masks(params, jc.prune.criteria.magnitude(), 0.5)
      >>> optimizer = jc.prune.hold(optax.sgd(1.0), masks)
      >>> grads = {"kernel": jnp.ones((1, 2))}
      >>> updates, _ = optimizer.update(grads, optimizer.init(params), params)
      >>> optax.apply_updates(params, updates)["kernel"]
      Array([[ 0., -3.]], dtype=float32)
    """
    check_transformation("hold", "inner", inner)
    check_masks("hold", masks)
    inner = optax.with_extra_args_support(inner)

    def init(params: Params) -> PruneState:
        start = starting_masks("hold", masks, params)
        inner_state = inner.init(params)
        refuse_line_search("hold", inner_state)
        leaked = jnp.zeros(len(jax.tree.leaves(start)), jnp.int32)
        # Two arrays, so that a step may donate both.
        count, missed = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)
        return PruneState(count, start, (), leaked, missed, inner_state)

    def update(updates: optax.Updates, state: Any, params: Params = None, **extra):
        require_params("hold", params)
        check_state("hold", state)
        check_leaves("hold", "updates", updates, params)
        selected = masked_leaves(state.masks)
        leaked = leaked_by(state, chosen.targeted(selected, params), _LOOKED(state.count))
        # As in `prune`, reading the counts puts looking before updating.
        looked = jnp.all(leaked >= 0)
        masks = jax.tree.map(lambda mask: mask & looked, state.masks)
        updates, inner_state = masked_update(
            inner, selected, masks, updates, state.inner, params, **extra
        )
        count = optax.safe_increment(state.count)
        return updates, PruneState(count, state.masks, (), leaked, state.missed, inner_state)

    return optax.GradientTransformationExtraArgs(init, update)
