"""The optimizer state of pruning, and the masked update that keeps zeros exact.

Which weights go, and when, is decided by the transformations that hold a `PruneState`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_concrete
from jaxcompress.core.flax_leaf import unwrapped
from jaxcompress.core.kinds import check_kind
from jaxcompress.core.masks import apply_mask, cleared, fitted
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Masks, Params, PyTree
from jaxcompress.prune.kinds import check_leaf
from jaxcompress.prune.ranking import count_true


class PruneState(NamedTuple):
    """The state of pruning between steps.

    Attributes:
      count: () int32, updates so far.
      masks: of the params' structure; bool of a pruned leaf's shape,
        () True for others.
      evidence: the criterion's state.
      leaked: (leaves,) int32 in the masks' order: the most weights of each leaf found
        alive outside its mask, by updates that change masks and by the first update
        after each. All zero where pruning is wired up right.
      missed: () int32, steps that were to find new masks and kept the old ones, since
        a score or the sparsity was NaN.
      inner: the inner transformation's state.
    """

    count: ArrayLike
    masks: Masks
    evidence: PyTree
    leaked: PyTree
    missed: Array
    inner: optax.OptState


def masks_of(opt_state: optax.OptState) -> Masks:
    """Reads the masks from an optimizer's state.

    Args:
      opt_state: of a transformation that holds one `prune`, `regrow` or `hold`; that
        of an `nnx.Optimizer`, too.

    Returns:
      Tree of the params' structure, see `PruneState`; of an `nnx.Optimizer` an
      `nnx.State` of arrays.

    Raises:
      ValueError: there is no `prune` in it, or more than one.

    Example:
      >>> magnitude = jc.prune.criteria.magnitude()
      >>> optimizer = jc.prune.prune(optax.sgd(0.1), magnitude, 0.5)
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
    """Sets every weight outside the masks to exactly 0.

    For a second set of params that an optimizer keeps (schedule-free evaluation,
    lookahead, averages), and for params from elsewhere. Applying twice equals once.

    Args:
      masks: as `masks_of` or `masks` gives them; looked up by name.
      tree: params, of the same leaf names.

    Returns:
      Tree of the structure, shapes and dtypes of `tree`.

    Raises:
      ValueError: a leaf has no mask, a mask has no leaf, or does not broadcast to it.

    Example:
      >>> jc.prune.apply({"kernel": jnp.array([True, False])}, {"kernel": jnp.ones(2)})
      {'kernel': Array([1., 0.], dtype=float32)}
    """
    check_arrays("apply", "tree", tree)
    return jax.tree.map(apply_mask, fitted("apply", masks, tree), tree)


def check(opt_state: optax.OptState) -> None:
    """Raises an error where pruned weights were not 0; not for use inside jit.

    Weights are looked at where masks change and one update later, before it acts, by
    `hold` at every hundredth update; what happened since then is not known here.
    Masks stay as they are where a score or the sparsity is NaN.

    Args:
      opt_state: of a transformation that holds `prune`, `regrow` or `hold`.

    Raises:
      ValueError: some weights outside the masks were not 0, new masks could not be
        found, or there is no `prune` in it.

    Example:
      >>> magnitude = jc.prune.criteria.magnitude()
      >>> optimizer = jc.prune.prune(optax.sgd(0.1), magnitude, 0.5)
      >>> jc.prune.check(optimizer.init({"kernel": jnp.ones((1, 2))}))
    """
    check_concrete("check", opt_state=opt_state)
    states = _prune_states("check", opt_state)
    listed = ", ".join(
        f"{name!r} ({count})"
        for state in states
        for name, count in zip(named_leaves(state.masks), state.leaked.tolist(), strict=True)
        if count
    )
    if listed:
        raise ValueError(
            f"check(opt_state): pruned weights were not 0 in {listed}. Make prune (or regrow, or "
            "hold) the outermost transformation, apply its updates as they are, and change params "
            "by nothing else."
        )
    missed = sum(int(state.missed) for state in states)
    if missed:
        raise ValueError(
            f"check(opt_state): masks stayed as they were at {missed} steps that were to find new "
            "ones, since a score or the sparsity was NaN. Check params and schedule."
        )


def check_state(caller: str, state: object) -> None:
    """Raises a TypeError unless it is a state of pruning."""
    check_kind(caller, "state", state, PruneState, "Pass what its init or last update gave.")


def starting_masks(caller: str, masks: Masks, params: Params) -> Masks:
    """The given masks in the params' structure and sharding, found by name.

    A () mask stays; any other becomes bool of its leaf's shape. Masks of leaves that
    are not among the params are not looked at.

    Raises:
      ValueError: a leaf has no mask, or one that is not bool or does not broadcast to
        it; a masked leaf is empty.
      TypeError: a masked leaf is not real floating, or is already compressed.
    """
    leaves = named_leaves(params)
    known = {name: mask for name, mask in named_leaves(masks).items() if name in leaves}
    own = fitted(caller, jax.tree.map(jnp.asarray, known), params)

    def start(name: str, leaf, mask: Array) -> Array:
        if mask.shape == ():
            return mask
        check_leaf(caller, name, leaf)
        # The zeros lend the mask, which may come from elsewhere, the leaf's sharding.
        return jnp.zeros_like(leaf, bool) | jnp.broadcast_to(mask, leaf.shape)

    return map_named(start, params, own)


def masked_leaves(masks: Masks) -> PyTree:
    """Which leaves have a mask of their shape, a tree of bool."""
    return jax.tree.map(lambda mask: mask.shape != (), masks)


def masked_update(
    inner: optax.GradientTransformationExtraArgs,
    selected: PyTree,
    masks: Masks,
    updates: optax.Updates,
    inner_state: optax.OptState,
    params: Params,
    **extra: Any,
) -> tuple[optax.Updates, optax.OptState]:
    """The inner update on masked gradients, landing on 0 outside the masks."""

    def on_selected(function, tree: PyTree, *rest: PyTree) -> PyTree:
        return jax.tree.map(
            lambda chosen, leaf, *more: function(leaf, *more) if chosen else leaf,
            selected,
            tree,
            *rest,
        )

    grads = on_selected(lambda leaf, mask: cleared(mask, leaf), updates, masks)
    updates, inner_state = inner.update(grads, inner_state, params, **extra)
    return on_selected(_landing_on_zero, updates, masks, params), inner_state


def leaked_by(state: PruneState, weights: Params, due: Array) -> Array:
    """`state.leaked`, updated with the nonzero weights outside the masks if `due`.

    On CPU counting takes longer than a step of Adam.
    """
    return jax.lax.cond(
        due,
        lambda: jnp.maximum(state.leaked, _alive_outside(state.masks, weights)),
        lambda: state.leaked,
    )


def kept_unless(known: Array, new: PyTree, old: PyTree) -> PyTree:
    """The new tree, or the old one where what the new comes from is not `known`."""
    return jax.tree.map(lambda now, before: jnp.where(known, now, before), new, old)


def refuse_line_search(caller: str, inner_state: optax.OptState) -> None:
    """Raises a ValueError when an inner transformation searches along a line."""
    searches = (optax.ScaleByBacktrackingLinesearchState, optax.ScaleByZoomLinesearchState)
    for node in jax.tree.leaves(inner_state, is_leaf=lambda node: isinstance(node, searches)):
        if isinstance(node, searches):
            raise ValueError(
                f"{caller}(inner) holds a {type(node).__name__}: a line search remembers the value "
                "at a point that pruning then moves. Give lbfgs(linesearch=None) or another one."
            )


def _alive_outside(masks: Masks, weights: Params) -> Array:
    """How many nonzero weights each leaf has outside its mask, (leaves,) int32."""
    alive = jax.tree.map(
        lambda mask, leaf: count_true(~mask & (leaf != 0), tuple(range(leaf.ndim))), masks, weights
    )
    return jnp.stack([count.reshape(()) for count in jax.tree.leaves(alive)])


def _landing_on_zero(update: Array, mask: Array, param: Array) -> Array:
    """The update, -param outside the mask; wide enough for the sum to be exactly 0."""
    dtype = jnp.promote_types(update.dtype, param.dtype)
    return jnp.where(mask, update.astype(dtype), -param.astype(dtype))


def _prune_states(caller: str, opt_state: optax.OptState) -> list[PruneState]:
    nodes = jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, PruneState))
    states = [node for node in nodes if isinstance(node, PruneState)]
    # `nnx.Optimizer` keeps each array in a variable. Masks of a plain state have the
    # params' structure, which may hold variables of its own.
    states = [each if unwrapped(each.count) is each.count else unwrapped(each) for each in states]
    if not states:
        raise ValueError(f"{caller}(opt_state) holds no state of prune. Pass what its init gave.")
    return states
