"""SOAP: Adam in the basis where the gradients of a matrix are least correlated."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.axes import UNUSED, Axes, LeafAxes
from jaxcompress.core.kinds import check_select
from jaxcompress.core.matrices import as_matrices, from_matrices, matrix_shape
from jaxcompress.core.names import leaf_names, map_named
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.selectors import meeting_data
from jaxcompress.core.trees import chosen_by, named_axes
from jaxcompress.core.types import Array, Params, PyTree, Selector
from jaxcompress.optimizers.descent import descending
from jaxcompress.optimizers.hyperparameters import check_counts, check_decays, check_sizes
from jaxcompress.optimizers.leafwise import (
    check_gradients,
    check_trainable,
    in_nodes_of,
    map_to_trees,
)
from jaxcompress.optimizers.matrix.eigenbases import next_bases
from jaxcompress.optimizers.matrix.matrices import (
    Sides,
    as_sides,
    between,
    gram,
    hidden,
    identities,
    matrix_axes,
)
from jaxcompress.optimizers.matrix.products import product
from jaxcompress.optimizers.moments import average, divided, root, unbiased


class SoapState(NamedTuple):
    """The state of SOAP.

    Attributes:
      count: () int32, updates so far.
      moments: "first_moment" and "second_moment", means of gradients and of squares,
        both in the bases; trees of the params' structure and shapes, float32.
      correlations: for each leaf the sides that are kept, "left" (batch, m, m) and
        "right" (batch, n, n), or one, or none: means of G · G^T and G^T · G.
      bases: the same sides, orthonormal columns: eigenvectors of `correlations`.
    """

    count: ArrayLike
    moments: dict[str, PyTree]
    correlations: PyTree
    bases: PyTree


def scale_by_soap(
    b1: ArrayLike = 0.95,
    b2: ArrayLike = 0.95,
    *,
    eps: ArrayLike = 1e-8,
    every: ArrayLike = 10,
    largest_side: int = 10_000,
    select: Selector | None = None,
    axes: Axes | None = None,
) -> optax.GradientTransformation:
    """Adam on rotated matrices: the mean of squares is one of G' = Q_l^T · G · Q_r.

        m <- b1 · m + (1 - b1) · G
        v <- b2 · v + (1 - b2) · (Q_l^T · G · Q_r)²
        update = Q_l · [Q_l^T · m̂ · Q_r / (sqrt(v̂) + eps)] · Q_r^T
        L <- b2 · L + (1 - b2) · G · G^T;   R <- b2 · R + (1 - b2) · G^T · G
        every `every` updates: Q_l <- qr(L · Q_l);   Q_r <- qr(R · Q_r)
            v <- max((T_l ∘ T_l) · v · (T_r ∘ T_r)^T, what makes v̂ the square of m̂)

    where m̂ and v̂ are divided by 1 - b^t and T = Q_new^T · Q_old. The first update of a
    matrix is 0: its gradient only gives the first bases, the eigenvectors of L and R,
    and t counts from the second. A leaf without a basis (a bias, a norm, a table) is
    Adam's. The state has m' = Q_l^T · m · Q_r in place of m, which is turned whenever
    the bases are.

    Bound: the root mean square of a matrix's update is at most Adam's bound,
    (1 - b1) / sqrt((1 - b2) · (1 - b1² / b2)) for b1² < b2, which is 1 for b1 = b2,
    whatever the gradients.

    Args:
      b1: () in [0, 1), how long the mean of gradients remembers.
      b2: () in [0, 1), how long means of squares and correlations remember.
      eps: () at least 0, outside the root.
      every: () int, at least 1: updates from one basis to the next.
      largest_side: a longer side of a matrix has the identity as its basis. Under
        `inject_hyperparams` it goes into `static_args`.
      select: which leaves have bases; by default `hidden(axes)`. Under
        `inject_hyperparams` it goes into `static_args`.
      axes: from `graph.axes`; by default the layout of `assumed_axes`.

    Returns:
      Transformation with a `SoapState`. For an m x n matrix it is 2 · (m² + n²) numbers
      larger than Adam's.

    Raises:
      ValueError: a number is outside its range; when `init` sees the params: a selected
        leaf does not multiply data as a matrix.
      TypeError: when `init` sees the params: a leaf is not real floating.

    Example:
      >>> scaled = jc.optimizers.scale_by_soap()
      >>> grads = {"kernel": jnp.array([[3.0, 0.0], [0.0, -0.5]]), "bias": jnp.ones(2)}
      >>> first, state = scaled.update(grads, scaled.init(grads))
      >>> scaled.update(grads, state)[0]["kernel"].round(3) + 0.0
      Array([[ 1.,  0.],
             [ 0., -1.]], dtype=float32)

    Source: Vyas et al. 2024, arXiv:2409.11321, algorithm 3. Differs from the authors'
    code: a refresh does not sort the columns of a basis, which power iterations do by
    themselves, and v is turned as the variance of independent entries would be: in
    their code it stays as it was, which divides by almost nothing where a direction is
    new. On a TPU bases are products of matrices alone, see `next_bases`.
    """
    check_decays("scale_by_soap", b1=b1, b2=b2)
    check_sizes("scale_by_soap", eps=eps)
    every, largest_side = check_counts("scale_by_soap", every=every, largest_side=largest_side)
    check_select("scale_by_soap", select)
    known = named_axes("scale_by_soap", axes)
    select = select or hidden(axes)

    def empty(name: str, leaf: Array, chosen: dict[str, bool]) -> Sides:
        if not chosen[name]:
            return {}
        roles = matrix_axes("scale_by_soap", name, leaf, known)
        batch, rows, columns = matrix_shape(leaf.shape, roles)
        return {
            side: jnp.zeros((batch, size, size), jnp.float32)
            for side, size in {"left": rows, "right": columns}.items()
            if size <= largest_side
        }

    def roles_of(name: str, leaf: Array, bases: Sides) -> LeafAxes:
        return matrix_axes("scale_by_soap", name, leaf, known) if bases else UNUSED

    def step(count: Array, gradient: Array, first: Array, second: Array, bases: Sides, roles):
        # Without a gradient before this one there are no bases to see it in.
        taken = count - 1 if bases else count
        inverses = {side: basis.mT for side, basis in bases.items()}
        gradient = _turned(gradient, inverses, roles)
        first = jnp.where(taken > 0, average(first, gradient, b1), first)
        second = jnp.where(taken > 0, average(second, gradient * gradient, b2), second)
        taken = jnp.maximum(taken, 1)
        divisor = root(unbiased(second, taken, b2), eps, 0.0)
        update = divided(unbiased(first, taken, b1), divisor)
        return _turned(update, bases, roles), first, second

    def refreshed(moments: tuple[PyTree, PyTree], correlations: PyTree, bases: PyTree, count):
        following = next_bases(correlations, bases, count == 1)
        taken = jnp.maximum(count - 1, 1)

        def change(
            first: Array, name: str, second: Array, old: Sides, new: Sides
        ) -> tuple[Any, ...]:
            roles = roles_of(name, first, old)
            if not old:
                return first, second
            turns = {side: product(new[side].mT, old[side]) for side in old}
            shares = {side: turn * turn for side, turn in turns.items()}
            first, second = _turned(first, turns, roles), _turned(second, shares, roles)
            # A mean of entries that were not independent may be larger than its root.
            least = unbiased(first, taken, b1) ** 2 / unbiased(jnp.ones((), jnp.float32), taken, b2)
            return first, jnp.maximum(second, least)

        first, second = moments
        rest = (leaf_names(first), second, bases, following)
        return tuple(map_to_trees(change, 2, first, *rest)), following

    def init(params: Params) -> SoapState:
        check_trainable("scale_by_soap", params)
        moments = {
            name: jax.tree.map(lambda leaf: jnp.zeros_like(leaf, jnp.float32), params)
            for name in ("first_moment", "second_moment")
        }
        chosen = chosen_by("scale_by_soap", select, params)
        correlations = map_named(lambda name, leaf: empty(name, leaf, chosen), params)
        bases = jax.tree.map(identities, correlations)
        return SoapState(jnp.zeros((), jnp.int32), moments, correlations, bases)

    def update(updates: optax.Updates, state: Any, params: Params = None):
        check_gradients("scale_by_soap", updates, params, state.moments["first_moment"])
        count = jnp.asarray(optax.safe_increment(state.count))

        def on_leaf(
            gradient: Array, name: str, first, second, correlations, bases
        ) -> tuple[Any, ...]:
            roles = roles_of(name, gradient, bases)
            wide = gradient.astype(jnp.float32)
            update, first, second = step(count, wide, first, second, bases, roles)
            correlations = {
                side: average(mean, gram(as_matrices(wide, roles), side), b2)
                for side, mean in correlations.items()
            }
            return narrowed(update, gradient.dtype), first, second, correlations

        former, bases = as_sides(updates, state.correlations), as_sides(updates, state.bases)
        rest = (leaf_names(updates), *state.moments.values(), former, bases)
        updates, first, second, correlations = map_to_trees(on_leaf, 4, updates, *rest)
        means, following = jax.lax.cond(
            (count == 1) | ((count - 1) % every == 0),
            lambda: refreshed((first, second), correlations, bases, count),
            lambda: ((first, second), bases),
        )
        moments = dict(zip(state.moments, means, strict=True))
        return updates, in_nodes_of(SoapState(count, moments, correlations, following), state)

    return optax.GradientTransformation(init, update)


def soap(
    learning_rate: ArrayLike | optax.Schedule,
    *,
    b1: ArrayLike = 0.95,
    b2: ArrayLike = 0.95,
    eps: ArrayLike = 1e-8,
    every: ArrayLike = 10,
    largest_side: int = 10_000,
    weight_decay: ArrayLike = 0.01,
    select: Selector | None = None,
    axes: Axes | None = None,
) -> optax.GradientTransformation:
    """`scale_by_soap`, then decoupled `weight_decay`, then the learning rate.

    Args:
      learning_rate: at least 0: a number, a () array or a schedule; 3e-3 with a warm-up
        is the paper's.
      b1: () in [0, 1).
      b2: () in [0, 1).
      eps: () at least 0, outside the root.
      every: () int, at least 1: updates from one basis to the next.
      largest_side: a longer side of a matrix has the identity as its basis. Under
        `inject_hyperparams` it goes into `static_args`.
      weight_decay: () at least 0; of all leaves that meet data.
      select: which leaves have bases; by default `hidden(axes)`. Under
        `inject_hyperparams` it goes into `static_args`.
      axes: from `graph.axes`; by default the layout of `assumed_axes`.

    Raises:
      ValueError: a number is outside its range; in `update`, with a decay: params are
        missing.

    Example:
      >>> optimizer = jc.optimizers.soap(0.1, weight_decay=0.0)
      >>> optimizer.update(jnp.array([2.0]), optimizer.init(jnp.zeros(1)))[0]
      Array([-0.1], dtype=float32)
    """
    check_sizes("soap", eps=eps)
    check_decays("soap", b1=b1, b2=b2)
    check_counts("soap", every=every, largest_side=largest_side)
    check_select("soap", select)
    named_axes("soap", axes)
    scaled = scale_by_soap(
        b1, b2, eps=eps, every=every, largest_side=largest_side, select=select, axes=axes
    )
    return descending("soap", scaled, learning_rate, weight_decay, meeting_data(axes))


def _turned(x: Array, bases: Sides, roles: LeafAxes) -> Array:
    """Left · x · right^T of the matrices of a leaf; without bases the leaf as it is."""
    return from_matrices(between(as_matrices(x, roles), bases), roles, x) if bases else x
