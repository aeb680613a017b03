"""Pruning in training: an optax transformation that wraps an optimizer, exactly."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core import schedules
from jaxcompress.core.axes import Axes
from jaxcompress.core.criterion import Criterion
from jaxcompress.core.masks import apply_mask, apply_masks
from jaxcompress.core.names import named_leaves
from jaxcompress.core.rules import Rules
from jaxcompress.core.types import Array, Masks, Params, PyTree, Selector, When
from jaxcompress.prune import targets
from jaxcompress.prune.allocation import Allocation, uniform
from jaxcompress.prune.patterns import Pattern, unstructured
from jaxcompress.prune.targets import Amount


class PruneState(NamedTuple):
    """What pruning remembers between steps.

    Attributes:
      count: () int32, updates so far.
      masks: of the params' structure; bool of a pruned leaf's shape,
        () True for others.
      evidence: the criterion's state.
      leaked: (leaves,) int32 in the masks' order: the most weights of each leaf found
        alive outside its mask, by updates that change masks and by the first update
        after each. All zero where pruning is wired up right.
      inner: the inner transformation's state.
    """

    count: ArrayLike
    masks: Masks
    evidence: PyTree
    leaked: PyTree
    inner: optax.OptState


def prune(
    inner: optax.GradientTransformation,
    criterion: Criterion,
    *,
    sparsity: Rules[Amount] | Amount,
    pattern: Pattern = unstructured,
    allocate: Allocation = uniform,
    select: Selector | None = None,
    axes: Axes | None = None,
    when: When = schedules.every(100),
) -> optax.GradientTransformationExtraArgs:
    """Trains with `inner` while the weights that are worth least stay exactly 0.

    After `optax.apply_updates` every weight outside the mask is 0, in every dtype, for
    finite params, because its update is its own negative:

        update = where(keep, inner's update, -param)

    The criterion sees raw gradients, `inner` sees `where(keep, gradient, 0)`. New masks
    are found at the steps that `when` names, from scores at that step; in between they
    stay. A weight may return when the sparsity falls or another one is worth less.

    It must be outermost, since what changes its updates lets pruned weights live.
    Around it go `optax.MultiSteps`, `optax.masked`, `optax.partition`, and
    `inject_hyperparams` as `lambda rate, sparsity: prune(adamw(rate), criterion,
    sparsity=sparsity)`. `check` tells whether that was kept. An optimizer with a second
    set of params (schedule-free, lookahead, averages) needs `apply(masks_of(opt_state),
    second)` before it is used.

    Args:
      inner: optimizer, without a line search.
      criterion: what a weight is worth.
      sparsity: fraction to remove, in [0, 1): a number, a () array, a schedule from
        step to number (clipped to [0, 1]), or `Rules` of those. Leaves without a rule
        stay whole.
      pattern: where weights may go.
      allocate: how each rule's sparsity is shared out among the leaves it matches.
      select: which leaves; by default those that meet data.
      axes: from `graph.axes`; by default the layout of `assumed_axes`.
      when: at which steps masks are found anew, counted from 0.

    Returns:
      Transformation with a `PruneState`; extra arguments go to `inner`.

    Raises:
      ValueError: a number is outside [0, 1); when `init` sees the params: nothing is
        selected, a rule is never used, a selected leaf is empty, `inner` has a line
        search; in `update`: params are missing.
      TypeError: a selected leaf is not real floating, or is already compressed.

    Example:
      >>> params = {"kernel": jnp.array([[0.1, -2.0], [3.0, -0.4]])}
      >>> optimizer = jc.prune.prune(optax.sgd(0.5), jc.prune.magnitude(), sparsity=0.5)
      >>> opt_state = optimizer.init(params)
      >>> grads = {"kernel": jnp.ones((2, 2))}
      >>> updates, opt_state = optimizer.update(grads, opt_state, params)
      >>> optax.apply_updates(params, updates)["kernel"]
      Array([[ 0. , -2.5],
             [ 2.5,  0. ]], dtype=float32)

    Source: Zhu and Gupta 2017, arXiv:1710.01878, section 3. Differs: one transformation
    instead of hooks around the step; exact counts.
    """
    targets.check_amount("prune", sparsity)
    inner = optax.with_extra_args_support(inner)

    def init(params: Params) -> PruneState:
        found = targets.groups("prune", params, sparsity, select, axes)
        selected = targets.selection(params, found)
        inner_state = inner.init(params)
        _refuse_line_search(inner_state)
        return PruneState(
            count=jnp.zeros((), jnp.int32),
            masks=jax.tree.map(
                lambda chosen, leaf: jnp.ones_like(leaf if chosen else True, bool), selected, params
            ),
            evidence=criterion.init(targets.targeted(selected, params)),
            leaked=jnp.zeros(len(jax.tree.leaves(selected)), jnp.int32),
            inner=inner_state,
        )

    def update(updates: optax.Updates, state: Any, params: Params = None, **extra):
        if params is None:
            raise ValueError("prune(...).update(updates, state, params) needs the params.")
        found = targets.groups("prune", params, sparsity, select, axes)
        selected = targets.selection(params, found)
        weights = targets.targeted(selected, params)
        evidence = criterion.update(targets.targeted(selected, updates), state.evidence, weights)

        def fresh() -> Masks:
            scores = named_leaves(criterion.score(evidence, weights))
            masks = targets.masks_at(state.count, scores, found, pattern, allocate)
            return targets.mask_tree(masks, params)

        def on_selected(function, tree: PyTree, *rest: PyTree) -> PyTree:
            return jax.tree.map(
                lambda chosen, leaf, *more: function(leaf, *more) if chosen else leaf,
                selected,
                tree,
                *rest,
            )

        due, was_due = when(state.count), when(jnp.maximum(state.count - 1, 0))
        # On CPU counting takes longer than a step of Adam: it waits for these steps.
        leaked = jax.lax.cond(
            due | was_due,
            lambda: jnp.maximum(state.leaked, _alive_outside(state.masks, weights)),
            lambda: state.leaked,
        )
        # Counts are never negative. Reading them here puts the branches in an order,
        # without which XLA copies params and masks in every step.
        masks = jax.lax.cond(due & jnp.all(leaked >= 0), fresh, lambda: state.masks)
        grads = on_selected(lambda leaf, mask: apply_mask(mask, leaf), updates, masks)
        updates, inner_state = inner.update(grads, state.inner, params, **extra)
        updates = on_selected(_landing_on_zero, updates, masks, params)
        count = optax.safe_increment(state.count)
        return updates, PruneState(count, masks, evidence, leaked, inner_state)

    return optax.GradientTransformationExtraArgs(init, update)


def masks_of(opt_state: optax.OptState) -> Masks:
    """The masks inside an optimizer's state.

    Args:
      opt_state: of a transformation that holds one `prune`.

    Returns:
      Tree of the params' structure, see `PruneState`.

    Raises:
      ValueError: there is no `prune` in it, or more than one.

    Example:
      >>> optimizer = jc.prune.prune(optax.sgd(0.1), jc.prune.magnitude(), sparsity=0.5)
      >>> jc.prune.masks_of(optimizer.init({"kernel": jnp.ones((1, 2))}))
      {'kernel': Array([[ True,  True]], dtype=bool)}
    """
    states = _prune_states("masks_of", opt_state)
    if len(states) > 1:
        raise ValueError(
            f"masks_of(opt_state) found {len(states)} states of prune. Pass the part of "
            "opt_state that holds one."
        )
    return states[0].masks


def apply(masks: Masks, tree: Params) -> Params:
    """The tree with every removed weight exactly 0.

    For a second set of params that an optimizer keeps (schedule-free evaluation,
    lookahead, averages), and for params from elsewhere. Applying twice equals once.

    Args:
      masks: as `masks_of` or `masks` gives them.
      tree: of the same structure.

    Returns:
      Tree of the same structure, shapes and dtypes.

    Raises:
      ValueError: the trees differ, or a mask does not broadcast to its leaf.

    Example:
      >>> jc.prune.apply({"kernel": jnp.array([True, False])}, {"kernel": jnp.ones(2)})
      {'kernel': Array([1., 0.], dtype=float32)}
    """
    return apply_masks(masks, tree)


def check(opt_state: optax.OptState) -> None:
    """Raises an error when pruned weights were found alive; not for use inside jit.

    Weights are looked at where masks change and one update later, before it acts; what
    happened since then is not known here.

    Args:
      opt_state: of a transformation that holds `prune`.

    Raises:
      ValueError: some weights outside the masks were not 0, or
        there is no `prune` in it.

    Example:
      >>> optimizer = jc.prune.prune(optax.sgd(0.1), jc.prune.magnitude(), sparsity=0.5)
      >>> jc.prune.check(optimizer.init({"kernel": jnp.ones((1, 2))}))
    """
    listed = ", ".join(
        f"{name!r} ({count})"
        for state in _prune_states("check", opt_state)
        for name, count in zip(named_leaves(state.masks), state.leaked.tolist(), strict=True)
        if count
    )
    if listed:
        raise ValueError(
            f"check(opt_state): pruned weights were not 0 in {listed}. Make prune the outermost "
            "transformation, apply its updates as they are, and change params by nothing else."
        )


def _alive_outside(masks: Masks, weights: Params) -> Array:
    """How many weights of each leaf live outside its mask, (leaves,) int32."""
    alive = jax.tree.map(
        lambda mask, leaf: jnp.sum(~mask & (leaf != 0), dtype=jnp.int32), masks, weights
    )
    return jnp.array(jax.tree.leaves(alive), jnp.int32)


def _landing_on_zero(update: Array, mask: Array, param: Array) -> Array:
    """The update, -param outside the mask; wide enough for the sum to be exactly 0."""
    dtype = jnp.promote_types(update.dtype, param.dtype)
    return jnp.where(mask, update.astype(dtype), -param.astype(dtype))


def _prune_states(caller: str, opt_state: optax.OptState) -> list[PruneState]:
    leaves = jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, PruneState))
    states = [leaf for leaf in leaves if isinstance(leaf, PruneState)]
    if not states:
        raise ValueError(f"{caller}(opt_state) holds no state of prune. Pass what its init gave.")
    return states


def _refuse_line_search(inner_state: optax.OptState) -> None:
    searches = (optax.ScaleByBacktrackingLinesearchState, optax.ScaleByZoomLinesearchState)
    for node in jax.tree.leaves(inner_state, is_leaf=lambda node: isinstance(node, searches)):
        if isinstance(node, searches):
            raise ValueError(
                f"prune(inner) holds a {type(node).__name__}: a line search remembers the value "
                "at a point that pruning then moves. Give lbfgs(linesearch=None) or another one."
            )
