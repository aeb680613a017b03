"""Dynamic sparse training: weights are dropped and as many others grown."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from jaxcompress.core import schedules
from jaxcompress.core.axes import Axes, LeafAxes
from jaxcompress.core.checks import check_share, is_number, require_params
from jaxcompress.core.correspondence import start_of_param
from jaxcompress.core.kinds import (
    check_kind,
    check_takes,
    check_transformation,
    check_when,
)
from jaxcompress.core.masks import check_masks
from jaxcompress.core.names import named_leaves
from jaxcompress.core.selectors import axes_of
from jaxcompress.core.trees import check_leaves, named_axes
from jaxcompress.core.types import Array, Masks, Params, When
from jaxcompress.prune import chosen
from jaxcompress.prune.criterion import Criterion, check_criterion
from jaxcompress.prune.patterns.pattern import group_axis
from jaxcompress.prune.ranking import count_true, lowest
from jaxcompress.prune.shares import Share, as_dropped
from jaxcompress.prune.target import check_sparsity
from jaxcompress.prune.training.state import (
    PruneState,
    check_state,
    kept_unless,
    leaked_by,
    masked_leaves,
    masked_update,
    refuse_line_search,
    starting_masks,
)

LARGEST = float(np.finfo(np.float32).max)


@dataclasses.dataclass(frozen=True)
class Growth:
    """Which weights are grown, and how many are dropped for them.

    Attributes:
      criterion: what an absent weight would be worth; it sees raw gradients.
      fraction: of the living weights, that is dropped: in [0, 1], a number, a () array
        or a schedule, such as `optax.cosine_decay_schedule(0.3, end)`.
      share: how many of the dropped each leaf grows, of `prune.shares`.

    Raises:
      ValueError: `fraction` is outside [0, 1], an array of NaN, or NaN at step 0.
    """

    criterion: Criterion
    fraction: ArrayLike | optax.Schedule = 0.3
    share: Share = as_dropped

    def __post_init__(self) -> None:
        check_criterion("Growth", self.criterion)
        check_takes("Growth", "share", self.share, 4, "Take one of prune.shares.")
        if is_number(self.fraction):
            check_share("Growth", "fraction", self.fraction)
        else:
            check_sparsity("Growth", "fraction", self.fraction)


def regrow(
    inner: optax.GradientTransformation,
    growth: Growth | Criterion,
    masks: Masks,
    *,
    axes: Axes | None = None,
    when: When = schedules.every(100, begin=100),
) -> optax.GradientTransformationExtraArgs:
    """Trains a sparse model that drops small weights and grows promising ones.

    Not for: the lowest error where a dense model can be trained; on LeNets `prune`
    ended lower in as many epochs.

    At the steps that `when` names, in each leaf or slice along its batch axes with n
    living weights:

        drop the round(fraction · n) smallest |w|
        grow as many of the rest, of the highest growth score

    What was just dropped belongs to the rest: grown back at once it stays as it was. A
    weight that is new starts at 0. Where a weight came or went, the state of `inner`
    starts again from what its `init` gives for a weight of 0; arrays of the state are
    found by path and shape, so that holds for any optimizer's moments, traces and
    accumulated gradients. Factored moments, which weights share, go on, and so do codes
    of moments: let `quantize_state` go around `regrow`, not inside.

    By name, the methods are:

        SET              fresh_noise(key)
        RigL             gradient_momentum(0.0), the last dense gradient
        sparse momentum  Growth(gradient_momentum(0.9), share=by_mean_score)

    After `optax.apply_updates` every weight outside the masks is exactly 0, as with
    `prune`, and the same holds for where it stands: outermost, under `MultiSteps`,
    `masked`, `partition` or `inject_hyperparams`. `masks_of` and `check` read its
    state. Begin with `params = apply(masks, params)`; otherwise the first update does.

    Also known as: RigL, SET, sparse momentum, dynamic sparse training (DST).

    Args:
      inner: optimizer, without a line search.
      growth: how many weights are dropped and which grow: a `Growth`, or its criterion.
      masks: to begin with, for example `masks(params, random(key), Target(0.9,
        allocate=erk))`; looked up by name. A leaf with a () mask stays whole.
      axes: from `graph.axes`, for batch axes; by default the layout of `assumed_axes`.
      when: at which steps, counted from 0.

    Returns:
      Transformation with a `PruneState`; extra arguments go to `inner`.

    Raises:
      ValueError: when `init` sees the params: a leaf has no mask or one that does not
        fit, a masked leaf is empty, `inner` has a line search; in `update`: params are
        missing.
      TypeError: a masked leaf is not real floating, or is already compressed.

    Example:
      >>> masks = {"kernel": jnp.array([[True, True, False, False]])}
      >>> growth = jc.prune.Growth(jc.prune.criteria.gradient_momentum(0.0), 0.5)
      >>> always = jc.schedules.every(1)
      >>> optimizer = jc.prune.regrow(optax.sgd(1.0), growth, masks, when=always)
      >>> params = {"kernel": jnp.array([[5.0, 1.0, 0.0, 0.0]])}
      >>> grads = {"kernel": jnp.array([[1.0, 1.0, 1.0, 3.0]])}
      >>> updates, _ = optimizer.update(grads, optimizer.init(params), params)
      >>> optax.apply_updates(params, updates)["kernel"]
      Array([[ 4.,  0.,  0., -3.]], dtype=float32)

    Source: Mocanu et al. 2018, arXiv:1707.04780 (SET); Evci et al. 2020,
    arXiv:1911.11134, algorithm 1 (RigL); Dettmers and Zettlemoyer 2019,
    arXiv:1907.04840 (sparse momentum). Differs: a step that moves masks updates weights
    too; SET drops by size whatever the sign.
    """
    check_transformation("regrow", "inner", inner)
    mend = "Pass a Growth, or its criterion, as gradient_momentum()."
    check_kind("regrow", "growth", growth, Growth | Criterion, mend)
    check_masks("regrow", masks)
    check_when("regrow", when)
    growth = growth if isinstance(growth, Growth) else Growth(growth)
    inner = optax.with_extra_args_support(inner)
    known = named_axes("regrow", axes)

    def init(params: Params) -> PruneState:
        start = starting_masks("regrow", masks, params)
        inner_state = inner.init(params)
        refuse_line_search("regrow", inner_state)
        return PruneState(
            count=jnp.zeros((), jnp.int32),
            masks=start,
            evidence=growth.criterion.init(chosen.targeted(masked_leaves(start), params)),
            leaked=jnp.zeros(len(jax.tree.leaves(start)), jnp.int32),
            missed=jnp.zeros((), jnp.int32),
            inner=inner_state,
        )

    def update(updates: optax.Updates, state: Any, params: Params = None, **extra):
        require_params("regrow", params)
        check_state("regrow", state)
        check_leaves("regrow", "updates", updates, params)
        selected = masked_leaves(state.masks)
        weights = chosen.targeted(selected, params)
        grads = chosen.targeted(selected, updates)
        evidence = growth.criterion.update(grads, state.evidence, weights)

        def moved() -> tuple[Masks, Array, optax.OptState]:
            old, leaves = named_leaves(state.masks), named_leaves(weights)
            scores = named_leaves(growth.criterion.score(evidence, weights))
            roles = {
                name: axes_of(name, leaves[name], known) for name in old if old[name].shape != ()
            }
            part = chosen.value_at(state.count, growth.fraction)
            new = old | regrown(leaves, old, scores, roles, part, growth.share)
            usable = chosen.are_known(state.count, scores, [chosen.Group(growth.fraction, roles)])
            new = kept_unless(usable, chosen.mask_tree(new, params), state.masks)
            changed = jax.tree.map(jnp.not_equal, state.masks, new)
            missed = state.missed + (~usable).astype(jnp.int32)
            return new, missed, _restarted(inner, state.inner, changed, params)

        due, was_due = when(state.count), when(jnp.maximum(state.count - 1, 0))
        # The first update may itself have made the params sparse.
        looked = (state.count > 0) & (due | was_due | (state.count == 1))
        leaked = leaked_by(state, weights, looked)
        # As in `prune`, reading the counts puts the branches in an order.
        now, missed, inner_state = jax.lax.cond(
            due & jnp.all(leaked >= 0), moved, lambda: (state.masks, state.missed, state.inner)
        )
        updates, inner_state = masked_update(
            inner, selected, now, updates, inner_state, params, **extra
        )
        count = optax.safe_increment(state.count)
        return updates, PruneState(count, now, evidence, leaked, missed, inner_state)

    return optax.GradientTransformationExtraArgs(init, update)


def regrown(
    weights: dict[str, Array],
    masks: dict[str, Array],
    scores: dict[str, Array],
    axes: dict[str, LeafAxes],
    fraction: Array | float,
    share: Share,
) -> dict[str, Array]:
    """The masks after one drop and one growth, of the leaves in `axes`, by name."""
    axis = {name: group_axis(masks[name], axes[name]) for name in axes}
    kept = {name: drop(weights[name], masks[name], fraction, axis[name]) for name in axes}
    dropped = {
        name: count_true(masks[name], axis[name]) - count_true(kept[name], axis[name])
        for name in axes
    }
    scores = {name: _finite(scores[name]) for name in axes}
    grown = share(scores, {name: masks[name] for name in axes}, axes, dropped)
    return {name: grow(scores[name], kept[name], grown[name], axis[name]) for name in axes}


def drop(x: Array, mask: Array, fraction: Array | float, axis: tuple[int, ...]) -> Array:
    """The mask without round(fraction · living) of the smallest |x| in every group.

    Among equal sizes the earlier goes first, a NaN before everything.
    """
    living = count_true(mask, axis)
    count = jnp.round(fraction * living.astype(jnp.float32)).astype(jnp.int32)
    size = jnp.minimum(jnp.abs(x.astype(jnp.float32)), LARGEST)
    count = jnp.minimum(count, living)
    return mask & ~lowest(jnp.where(mask, size, jnp.inf), count, axis=axis)


def grow(scores: Array, mask: Array, count: Array, axis: tuple[int, ...]) -> Array:
    """The mask with `count` more in every group, of the highest finite scores.

    Among equal scores the earlier comes first.
    """
    return mask | lowest(jnp.where(mask, jnp.inf, -scores), count, axis=axis)


def _finite(scores: Array) -> Array:
    """Scores in which a NaN is the lowest, and infinities are large numbers."""
    scores = jnp.clip(scores.astype(jnp.float32), -LARGEST, LARGEST)
    return jnp.where(jnp.isnan(scores), -LARGEST, scores)


def _restarted(
    inner: optax.GradientTransformation, state: optax.OptState, changed: Masks, params: Params
) -> optax.OptState:
    """The inner state, as at the start wherever it stands for a weight that changed."""
    there = dict(jax.tree_util.tree_leaves_with_path(changed))
    shapes = {path: mask.shape for path, mask in there.items() if mask.shape != ()}
    start = inner.init(
        jax.tree.map(
            lambda mask, leaf: (
                jnp.where(mask, jnp.zeros((), leaf.dtype), leaf) if mask.shape != () else leaf
            ),
            changed,
            params,
        )
    )

    def restarted(path: tuple[Any, ...], leaf, first):
        begin = start_of_param(path, leaf, shapes)
        if begin is None:
            return leaf
        return jnp.where(there[path[begin:]], first.astype(leaf.dtype), leaf)

    # Leaf by leaf: `nnx.Optimizer` gives other nodes back than those of `init`.
    leaves, structure = jax.tree_util.tree_flatten_with_path(state)
    pairs = zip(leaves, jax.tree.leaves(start), strict=True)
    return jax.tree.unflatten(
        structure, [restarted(path, leaf, first) for (path, leaf), first in pairs]
    )
