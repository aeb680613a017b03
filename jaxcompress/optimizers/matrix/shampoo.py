"""Shampoo: each matrix divided by roots of the correlations of its rows and columns."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.axes import Axes, LeafAxes
from jaxcompress.core.checks import check_positive, check_share
from jaxcompress.core.kinds import check_select, check_transformation
from jaxcompress.core.matrices import as_matrices, from_matrices, matrix_shape
from jaxcompress.core.names import leaf_names, map_named
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.selectors import meeting_data
from jaxcompress.core.trees import chosen_by, named_axes
from jaxcompress.core.types import Array, Params, PyTree, Selector
from jaxcompress.optimizers.classic.adam import scale_by_adam
from jaxcompress.optimizers.descent import descending
from jaxcompress.optimizers.hyperparameters import check_counts, check_decays, check_narrow
from jaxcompress.optimizers.leafwise import (
    check_gradients,
    check_trainable,
    in_nodes_of,
    map_to_trees,
)
from jaxcompress.optimizers.matrix.blocks import as_blocks, blocks_shape, from_blocks
from jaxcompress.optimizers.matrix.matrices import (
    Sides,
    as_long_as,
    as_sides,
    between,
    gram,
    hidden,
    identities,
    matrix_axes,
)
from jaxcompress.optimizers.matrix.roots import inverse_roots
from jaxcompress.optimizers.moments import as_float32, average


class ShampooState(NamedTuple):
    """The state of Shampoo.

    Attributes:
      count: () int32, updates so far.
      first_moment: mean of gradients, float32 of the leaf's shape, for each leaf that
        is cut into matrices; nothing for the others.
      correlations: "left" (blocks, m, m) and "right" (blocks, n, n) for the same
        leaves: sums, or fading sums, of G · G^T and G^T · G of their blocks.
      roots: the same sides, their inverse fourth roots.
      graft: the state of the transformation that gives the length.
    """

    count: ArrayLike
    first_moment: PyTree
    correlations: PyTree
    roots: PyTree
    graft: optax.OptState


def scale_by_shampoo(
    b1: ArrayLike = 0.9,
    *,
    retention: ArrayLike = 0.95,
    every: ArrayLike = 10,
    block: int = 1024,
    ridge: ArrayLike = 1e-6,
    graft: optax.GradientTransformation = scale_by_adam(),
    select: Selector | None = None,
    axes: Axes | None = None,
) -> optax.GradientTransformationExtraArgs:
    """The direction of Shampoo, with the length of another optimizer's update.

        L <- retention · L + G · G^T;   R <- retention · R + G^T · G
        every `every` updates: L_root <- L^(-1/4);   R_root <- R^(-1/4)
        m <- b1 · m + (1 - b1) · G
        D = L_root · m · R_root;   update = D · ‖graft's update‖ / ‖D‖

    Until there are roots, and for a leaf that is no matrix, the update is the graft's.
    A long side is cut into blocks, which have correlations of their own; the length is
    that of the whole matrix. On a TPU roots are products of matrices alone, see
    `newton_root`.

    Bound: a matrix's update is as long as the graft's. With Adam's default decays its
    root mean square is at most (1 - b1) / sqrt((1 - b2) · (1 - b1² / b2)) = 7.3,
    whatever the gradients.

    Args:
      b1: () in [0, 1), how long the mean of gradients remembers; 0 is the original.
      retention: () in [0, 1], what is left of correlations at each update; 1 sums
        them, as the original does. As the graft gives the length, a fading sum is as
        good as a mean.
      every: () int, at least 1: updates from one root to the next. With 1 there are
        roots from the first on.
      block: the longest side of a block; blocks of one matrix are as equal as they can
        be. Under `inject_hyperparams` it goes into `static_args`.
      ridge: () above 0, added to the eigenvalues as a share of the largest.
      graft: gives the length, and the whole update of other leaves: any transformation
        without a learning rate, as `scale_by_adam()`, `scale_by_rmsprop()`,
        `scale_by_adagrad()`.
      select: which leaves are matrices; by default `hidden(axes)`. Under
        `inject_hyperparams` it goes into `static_args`.
      axes: from `graph.axes`; by default the layout of `assumed_axes`.

    Returns:
      Transformation with a `ShampooState`; extra arguments go to the graft.

    Raises:
      ValueError: a number is outside its range; when `init` sees the params: a selected
        leaf does not multiply data as a matrix.
      TypeError: when `init` sees the params: a leaf is not real floating.

    Example:
      >>> scaled = jc.optimizers.scale_by_shampoo(every=1)
      >>> grads = jnp.array([[3.0, 0.0], [0.0, -0.5]])
      >>> scaled.update(grads, scaled.init(grads))[0].round(3)
      Array([[ 1.,  0.],
             [ 0., -1.]], dtype=float32)

    Source: Gupta et al. 2018, arXiv:1802.09568, algorithm 1; grafting, blocks and stale
    roots as in Shi et al. 2023, arXiv:2309.06497. Differs: a side is cut into equal
    blocks, not into full ones and a rest; a ridge takes the place of eps · I at first.
    """
    check_decays("scale_by_shampoo", b1=b1)
    every, block = _check_options("scale_by_shampoo", retention, every, block, ridge)
    known = _check_kinds("scale_by_shampoo", graft, select, axes)
    select = select or hidden(axes)
    graft = optax.with_extra_args_support(graft)

    def started(selected: bool, name: str, leaf: Array) -> tuple[PyTree, Sides]:
        if not selected:
            return {}, {}
        roles = matrix_axes("scale_by_shampoo", name, leaf, known)
        count, rows, columns = blocks_shape(matrix_shape(leaf.shape, roles), block)
        correlations = {
            "left": jnp.zeros((count, rows, rows), jnp.float32),
            "right": jnp.zeros((count, columns, columns), jnp.float32),
        }
        return jnp.zeros_like(leaf, jnp.float32), correlations

    def grown(gradient: Array, name: str, first: PyTree, correlations: Sides) -> tuple[Any, ...]:
        if not correlations:
            return {}, {}
        roles = matrix_axes("scale_by_shampoo", name, gradient, known)
        parts = as_blocks(as_matrices(gradient, roles), block)
        correlations = {
            side: as_float32(retention) * sums + gram(parts, side)
            for side, sums in correlations.items()
        }
        return average(first, gradient, b1), correlations

    def directed(name: str, length: Array, first: PyTree, roots: Sides) -> Array:
        if not roots:
            return length
        roles = matrix_axes("scale_by_shampoo", name, length, known)
        matrices = as_matrices(first, roles)
        parts = between(as_blocks(matrices, block), roots)
        direction = from_blocks(parts, matrices.shape, block)
        grafted = as_long_as(as_matrices(length, roles), direction)
        return from_matrices(grafted, roles, length)

    def init(params: Params) -> ShampooState:
        check_trainable("scale_by_shampoo", params)
        names = leaf_names(params)
        chosen = chosen_by("scale_by_shampoo", select, params)
        selected = jax.tree.map(lambda name: chosen[name], names)
        first, correlations = map_to_trees(started, 2, selected, names, params)
        roots = jax.tree.map(identities, correlations)
        count = jnp.zeros((), jnp.int32)
        return ShampooState(count, first, correlations, roots, graft.init(params))

    def update(updates: optax.Updates, state: Any, params: Params = None, **extra):
        check_gradients("scale_by_shampoo", updates, params)
        count = jnp.asarray(optax.safe_increment(state.count))
        wide = jax.tree.map(lambda gradient: gradient.astype(jnp.float32), updates)
        lengths, graft_state = graft.update(wide, state.graft, params, **extra)

        former, roots = as_sides(updates, state.correlations), as_sides(updates, state.roots)
        rest = (leaf_names(updates), state.first_moment, former)
        first, correlations = map_to_trees(grown, 2, wide, *rest)
        following = jax.lax.cond(
            count % every == 0,
            lambda: inverse_roots(correlations, 4, ridge),
            lambda: roots,
        )

        def chosen(name: str, gradient: Array, length: Array, first, roots) -> Array:
            update = jnp.where(count < every, length, directed(name, length, first, roots))
            return narrowed(update, gradient.dtype)

        updates = map_named(chosen, updates, lengths, first, following)
        after = ShampooState(count, first, correlations, following, graft_state)
        return updates, in_nodes_of(after, state)

    return optax.GradientTransformationExtraArgs(init, update)


def shampoo(
    learning_rate: ArrayLike | optax.Schedule,
    *,
    b1: ArrayLike = 0.9,
    retention: ArrayLike = 0.95,
    every: ArrayLike = 10,
    block: int = 1024,
    ridge: ArrayLike = 1e-6,
    graft: optax.GradientTransformation = scale_by_adam(),
    weight_decay: ArrayLike = 0.0,
    select: Selector | None = None,
    axes: Axes | None = None,
) -> optax.GradientTransformationExtraArgs:
    """`scale_by_shampoo`, then decoupled `weight_decay`, then the learning rate.

    Args:
      learning_rate: at least 0: a number, a () array or a schedule; one that suits the
        graft.
      b1: () in [0, 1), of the direction.
      retention: () in [0, 1], what is left of correlations at each update; 1 sums them.
      every: () int, at least 1: updates from one root to the next.
      block: the longest side of a block. Under `inject_hyperparams` it goes into
        `static_args`.
      ridge: () above 0, added to the eigenvalues as a share of the largest.
      graft: gives the length, and the whole update of other leaves.
      weight_decay: () at least 0; of all leaves that meet data.
      select: which leaves are matrices; by default `hidden(axes)`. Under
        `inject_hyperparams` it goes into `static_args`.
      axes: from `graph.axes`; by default the layout of `assumed_axes`.

    Raises:
      ValueError: a number is outside its range; in `update`, with a decay: params are
        missing.

    Example:
      >>> optimizer = jc.optimizers.shampoo(0.1)
      >>> optimizer.update(jnp.array([2.0]), optimizer.init(jnp.zeros(1)))[0]
      Array([-0.1], dtype=float32)
    """
    check_decays("shampoo", b1=b1)
    _check_options("shampoo", retention, every, block, ridge)
    _check_kinds("shampoo", graft, select, axes)
    scaled = scale_by_shampoo(
        b1,
        retention=retention,
        every=every,
        block=block,
        ridge=ridge,
        graft=graft,
        select=select,
        axes=axes,
    )
    return descending("shampoo", scaled, learning_rate, weight_decay, meeting_data(axes))


def _check_options(
    caller: str, retention: ArrayLike, every: ArrayLike, block: int, ridge: ArrayLike
) -> tuple[Any, ...]:
    """`every` and `block` as `check_counts` gives them; an error outside a range."""
    check_share(caller, "retention", retention)
    check_narrow(caller, "retention", retention)
    check_positive(caller, "ridge", ridge)
    return check_counts(caller, every=every, block=block)


def _check_kinds(
    caller: str, graft: object, select: object, axes: Axes | None
) -> dict[str, LeafAxes] | None:
    """The axes by leaf name."""
    check_transformation(caller, "graft", graft)
    check_select(caller, select)
    return named_axes(caller, axes)
