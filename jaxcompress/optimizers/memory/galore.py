"""GaLore: an optimizer on gradients of matrices, projected to a low rank."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.axes import Axes
from jaxcompress.core.kinds import check_select, check_transformation
from jaxcompress.core.matrices import as_matrices, from_matrices, matrix_shape
from jaxcompress.core.names import map_named
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.trees import chosen_by, named_axes
from jaxcompress.core.types import Array, Params, PyTree, Selector
from jaxcompress.optimizers.hyperparameters import check_counts, check_sizes
from jaxcompress.optimizers.leafwise import check_gradients, check_trainable
from jaxcompress.optimizers.matrix.eigenbases import largest_entry, leading_eigenvectors
from jaxcompress.optimizers.matrix.matrices import between, gram, hidden, matrix_axes
from jaxcompress.optimizers.moments import as_float32


class GaloreState(NamedTuple):
    """The state of GaLore.

    Attributes:
      count: () int32, updates so far.
      directions: of the params' structure; for a leaf that is projected (batch, short,
        rank) float32, orthonormal columns on the shorter side; for others () 0.
      inner: the inner transformation's state, of the shapes of projected gradients.
    """

    count: ArrayLike
    directions: PyTree
    inner: optax.OptState


def galore(
    inner: optax.GradientTransformation,
    *,
    rank: int,
    every: ArrayLike = 200,
    scale: ArrayLike = 0.25,
    select: Selector | None = None,
    axes: Axes | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Runs `inner` on gradients of matrices that are projected to a low rank.

    Not for: updates along all directions, of which it keeps `rank`; `quantize_state`
    and `adafactor` keep them.

        P = the first `rank` singular vectors of G, every `every` updates
        update = scale · P · inner's update for P^T · G

    where the shorter side of G is the left one; else from the right. The state of
    `inner` has `rank` in the place of that side: with P, rank · (short + 2 · long)
    numbers under Adam, which by itself takes 2 · short · long. A leaf whose shorter
    side is `rank` or less, and one that is not selected, passes through as it is.

    `inner` sees no params, since they have other shapes: a decoupled `weight_decay`
    acts on whole weights and comes after it in the chain.

    Args:
      inner: what scales gradients, Adam in the paper; extra arguments go to it. Its
        state stays as it is when the directions change.
      rank: at least 1. Under `inject_hyperparams` it goes into `static_args`.
      every: () int, at least 1: updates from one P to the next.
      scale: () at least 0.
      select: which leaves; by default `hidden(axes)`.
      axes: from `graph.axes`; by default the layout of `assumed_axes`. Layers of a
        scan and experts have directions of their own, if `axes` is given.

    Returns:
      Transformation with a `GaloreState`.

    Raises:
      ValueError: a number is outside its range; when `init` sees the params: a
        selected leaf does not multiply data as a matrix.
      TypeError: when `init` sees the params: a leaf is not real floating.

    Example:
      >>> scaled = jc.optimizers.galore(jc.optimizers.scale_by_adam(), rank=4)
      >>> decay = jc.optimizers.weight_decay(0.01)
      >>> optimizer = optax.chain(scaled, decay, optax.sgd(0.1))
      >>> state = optimizer.init({"kernel": jnp.ones((64, 16))})
      >>> optax.tree.get(state, "first_moment")["kernel"].shape
      (1, 4, 64)

    Also known as: gradient low-rank projection.

    Source: Zhao et al. 2024, arXiv:2403.03507, algorithm 2. Differs: singular vectors
    are the eigenvectors of the shorter side's Gram matrix, and each is turned to the
    side of the one before, since their signs are arbitrary but the moments stay.
    """
    check_transformation("galore", "inner", inner)
    rank, every = check_counts("galore", rank=rank, every=every)
    check_sizes("galore", scale=scale)
    inner = optax.with_extra_args_support(inner)
    check_select("galore", select)
    known = named_axes("galore", axes)
    select = select or hidden(axes)

    def started(name: str, leaf: Array, chosen: dict[str, bool]) -> Array:
        if not chosen[name]:
            return jnp.zeros((), jnp.float32)
        roles = matrix_axes("galore", name, leaf, known)
        batch, *sides = matrix_shape(leaf.shape, roles)
        return jnp.zeros((batch, min(sides), rank) if rank < min(sides) else (), jnp.float32)

    def matrices(name: str, leaf: Array, directions: Array) -> Array:
        if not directions.ndim:
            return leaf
        roles = matrix_axes("galore", name, leaf, known)
        return as_matrices(leaf.astype(jnp.float32), roles)

    def placed(name: str, leaf: Array, directions: Array) -> Array:
        """What `inner` starts from: a projection of zeros, or the leaf itself."""
        if not directions.ndim:
            return leaf
        low = jax.eval_shape(lambda: projected(matrices(name, leaf, directions), directions))
        return jnp.zeros(low.shape, jnp.float32)

    def restored(name: str, gradient: Array, whole: Array, directions: Array, step: Array):
        if not directions.ndim:
            return step
        roles = matrix_axes("galore", name, gradient, known)
        back = as_float32(scale) * between(step, {shorter_side(whole): directions})
        return narrowed(from_matrices(back, roles, gradient), gradient.dtype)

    def init(params: Params) -> GaloreState:
        check_trainable("galore", params)
        chosen = chosen_by("galore", select, params)
        directions = map_named(lambda name, leaf: started(name, leaf, chosen), params)
        seen = map_named(placed, params, directions)
        return GaloreState(jnp.zeros((), jnp.int32), directions, inner.init(seen))

    def update(updates: optax.Updates, state: Any, params: Params = None, **extra):
        check_gradients("galore", updates, params)
        whole = map_named(matrices, updates, state.directions)
        directions = jax.lax.cond(
            state.count % every == 0,
            lambda: refreshed(whole, state.directions),
            lambda: state.directions,
        )
        low = jax.tree.map(projected, whole, directions)
        steps, inner_state = inner.update(low, state.inner, None, **extra)
        updates = map_named(restored, updates, whole, directions, steps)
        count = optax.safe_increment(state.count)
        return updates, GaloreState(count, directions, inner_state)

    return optax.GradientTransformationExtraArgs(init, update)


def principal_directions(matrices: PyTree, rank: int) -> PyTree:
    """The first singular vectors on the shorter side, as columns.

    Args:
      matrices: its leaves are (batch, m, n) float32.
      rank: at most min(m, n).

    Returns:
      Tree of (batch, min(m, n), rank) float32, orthonormal columns, largest singular
      value first; also for a matrix of zeros.

    Example:
      >>> matrices = jnp.array([[[3.0, 0.0, 4.0], [0.0, 1.0, 0.0]]])
      >>> jnp.abs(principal_directions(matrices, 1)).round(3)
      Array([[[1.],
              [0.]]], dtype=float32)
    """

    def squared(x: Array) -> Array:
        return gram(x / largest_entry(x), shorter_side(x))

    return leading_eigenvectors(jax.tree.map(squared, matrices), rank)


def shorter_side(matrices: Array) -> str:
    """Which of "left" and "right" is shorter; "left" of a square."""
    return "left" if matrices.shape[1] <= matrices.shape[2] else "right"


def refreshed(whole: PyTree, directions: PyTree) -> PyTree:
    """The directions of new gradients, each turned to the side of the one before.

    Example:
      >>> whole = jnp.array([[[3.0, 0.0], [0.0, 1.0]]])
      >>> refreshed([whole], [jnp.full((1, 2, 1), -0.5)])[0].round() + 0.0
      Array([[[-1.],
              [ 0.]]], dtype=float32)
    """
    leaves, outline = jax.tree.flatten(directions)
    matrices = {
        place: leaf for place, leaf in enumerate(outline.flatten_up_to(whole)) if leaves[place].ndim
    }
    if not matrices:
        return directions
    (rank,) = {leaves[place].shape[-1] for place in matrices}
    for place, found in principal_directions(matrices, rank).items():
        across = jnp.sum(found * leaves[place], axis=1, keepdims=True) < 0
        leaves[place] = jnp.where(across, -found, found)
    return outline.unflatten(leaves)


def projected(whole: Array, directions: Array) -> Array:
    """P^T · G or G · P, whose shorter side is the rank; what passes through as it is.

    Example:
      >>> projected(jnp.ones((1, 2, 3)), jnp.array([[[1.0], [0.0]]])).shape
      (1, 1, 3)
    """
    return between(whole, {shorter_side(whole): directions.mT}) if directions.ndim else whole
