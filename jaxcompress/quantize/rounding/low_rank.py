"""Low-rank correction: codes, and two thin factors that mend most of their error."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.checks import check_count, check_floating
from jaxcompress.core.corrected import Corrected
from jaxcompress.core.formats.sharing import Channel, Tensor
from jaxcompress.core.kinds import check_kind, check_shape, check_takes
from jaxcompress.core.lowrank import LowRank
from jaxcompress.core.matrices import matrix_shape
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.layerwise.solver import Solution, Solver
from jaxcompress.quantize.rounding.nearest import nearest
from jaxcompress.quantize.rounding.roots import Root, exact_root
from jaxcompress.quantize.rounding.rounding import Rounding, without_data

_MATRIX = "(outputs, inputs)"

Begin = Callable[[Array, Array], Array]
"""(weight, its error once rounded) -> what is taken off before it is rounded again."""


def from_error(weight: Array, error: Array) -> Array:
    """Takes off the largest part of the first rounding's error.

    Args:
      weight: (outputs, inputs) float32.
      error: what the first codes leave of it.

    Returns:
      The error.

    Raises:
      TypeError: one of them is no matrix.

    Example:
      >>> jc.quantize.rounding.from_error(jnp.ones((1, 2)), jnp.zeros((1, 2))).tolist()
      [[0.0, 0.0]]
    """
    check_shape("from_error", "weight", weight, _MATRIX)
    check_shape("from_error", "error", error, _MATRIX)
    return error


def from_weight(weight: Array, error: Array) -> Array:
    """Takes the largest part of the weight itself into the factors: SVDQuant.

    What is left has fewer outliers; for formats that are too coarse for the weight.

    Args:
      weight: (outputs, inputs) float32.
      error: what the first codes leave of it.

    Returns:
      The weight.

    Raises:
      TypeError: one of them is no matrix.

    Example:
      >>> jc.quantize.rounding.from_weight(jnp.ones((1, 2)), jnp.zeros((1, 2))).tolist()
      [[1.0, 1.0]]

    Source: Li et al. 2024, arXiv:2411.05007, section 4.2, without its smoothing.
    """
    check_shape("from_weight", "weight", weight, _MATRIX)
    check_shape("from_weight", "error", error, _MATRIX)
    return weight


def low_rank(
    inner: Rounding = nearest(),
    rank: int = 32,
    *,
    rounds: int = 3,
    factors: QuantSpec | np.dtype | type[Any] = jnp.bfloat16,
    root: Root = exact_root,
    begin: Begin = from_error,
) -> Rounding:
    """Rounds weights, and adds the low-rank product that mends most of the error.

    Not for: inputs that share their energy evenly: there smaller groups, or `rotated`,
    win more with fewer bits.

        Q = inner(W - A B),   A B = the best of rank r for E[|(W - Q - A B) x|²]

    in turns, of which the best pair is kept, so that a matrix is never worse than by
    `inner` alone. With S · Sᵀ = E[x xᵀ] and D = W - Q, the best A holds the first r
    left singular vectors of D · S, and B = Aᵀ · D. Leaves are `Corrected`.

    A product costs bits: at rank 32 in 16 bits a 768 × 768 matrix takes 1.3 more per
    weight, so compare with a finer format or smaller groups at equal bytes. Weights
    that were pruned do not stay 0: the product fills them.

    Also known as: QERA, LQER, LoftQ (its initialization), SVDQuant (`from_weight`),
    ZeroQuant-V2 LoRC (without data).

    Args:
      inner: how the codes are found.
      rank: columns of A, at least 1; a smaller matrix has as many as its smaller side.
      rounds: how many times the weight is rounded and a product found, at least 1.
      factors: what A and B are stored as: a floating dtype, or a format per channel or
        tensor, rounded to nearest. B makes up for the rounding of A.
      root: `exact_root` or `diagonal_root`. Without data both are the identity's, and
        the product is the truncated singular value decomposition of the error.
      begin: what is taken off before the second round: `from_error` or `from_weight`.

    Returns:
      Rounding.

    Raises:
      TypeError: `inner` is no Rounding, `root` or `begin` no function of an array, or
        `factors` neither a format nor a dtype.
      ValueError: a number is too small, or `factors` is no floating dtype, or a format
        in groups or blocks.

    Example:
      >>> kernel = jnp.outer(jnp.arange(1.0, 5.0), jnp.array([0.3, -0.21]))
      >>> rounding = jc.quantize.rounding.low_rank(rank=1, factors=jnp.float32)
      >>> quantized, _ = jc.quantize.quantize(
      ...     {"kernel": kernel}, jc.quantize.int4(), rounding=rounding
      ... )
      >>> quantized["kernel"]
      Corrected(int4 per channel, rank=1, shape=(4, 2), dtype=float32)

    Source: Zhang et al. 2024, arXiv:2410.06040, algorithm 1; the turns are those of Li
    et al. 2023, arXiv:2310.08659, algorithm 1. Differs: the best turn is kept, the
    rounding of the factors counts in it, and no root is inverted.
    """
    check_kind("low_rank", "inner", inner, Rounding, "Take one of quantize.rounding.")
    rank = check_count("low_rank", "rank", rank)
    rounds = check_count("low_rank", "rounds", rounds)
    check_takes("low_rank", "root", root, 1, "Take rounding.exact_root or diagonal_root.")
    check_takes("low_rank", "begin", begin, 2, "Take rounding.from_error or from_weight.")
    stored, turns = _stored(factors), _Turns(rank, rounds, root, begin)

    def solver(spec: QuantSpec) -> Solver:
        own = inner.solver(spec)

        def solve(weight: Array, second_moment: Array) -> Solution:
            return _best(weight, second_moment, own, stored, turns)

        def found_weight(found: _Found) -> Array:
            return own.weight(found.codes) + _product(found, stored)

        def leaf(found: _Found, leaf: Array, axes: LeafAxes) -> Corrected:
            base = own.leaf(found.codes, leaf, axes)
            if not isinstance(base, QTensor):
                raise TypeError(
                    f"low_rank(inner=...) must give a QTensor, and gave {base!r}. Rotate around "
                    "it: rotated(low_rank(...))."
                )
            return Corrected.from_parts(
                base, _factored(found, leaf, axes, stored, rank), dtype=leaf.dtype
            )

        return Solver(solve, found_weight, leaf, lambda found: own.note(found.codes))

    return Rounding(solver, without_data(solver))


class _Turns(NamedTuple):
    rank: int
    rounds: int
    root: Root
    begin: Begin


class _Found(NamedTuple):
    """Codes, and the factors (outputs, rank) and (rank, inputs), as they are stored."""

    codes: Solution
    left: Solution
    right: Solution


def _best(
    weight: Array, second_moment: Array, inner: Solver, stored: Solver, turns: _Turns
) -> _Found:
    """The best of all turns, and of the first codes alone."""
    # In units in which no square overflows, and that change no choice.
    largest, energy = jnp.max(jnp.abs(weight)), jnp.mean(jnp.diagonal(second_moment))
    unit = jnp.where(largest > 0, largest, 1.0)
    moment = second_moment / jnp.where(energy > 0, energy, 1.0)
    root, rank = turns.root(moment), min(turns.rank, *weight.shape)

    def factors(target: Array) -> tuple[Solution, Solution]:
        vectors, _, _ = jnp.linalg.svd((target / unit) @ root, full_matrices=False)
        vectors = vectors[:, :rank]
        vectors = jnp.where(jnp.isfinite(vectors), vectors, 0.0)  # of subnormal errors
        left = stored.solve(vectors, moment)
        right = jnp.linalg.pinv(stored.weight(left)) @ target
        return left, stored.solve(right, moment)

    def corrected(codes: Solution) -> _Found:
        return _Found(codes, *factors(weight - inner.weight(codes)))

    def loss(found: _Found) -> Array:
        error = (weight - inner.weight(found.codes) - _product(found, stored)) / unit
        return jnp.sum((error @ moment) * error)

    def better(found: _Found, best: _Found) -> _Found:
        wins = loss(found) < loss(best)  # false for a NaN
        return jax.tree.map(lambda one, other: jnp.where(wins, one, other), found, best)

    def turn(_, state: tuple[Array, _Found]) -> tuple[Array, _Found]:
        product, best = state
        found = corrected(inner.solve(weight - product, second_moment))
        return _product(found, stored), better(found, best)

    first = corrected(inner.solve(weight, second_moment))
    nothing = stored.solve(jnp.zeros((rank, weight.shape[1]), jnp.float32), moment)
    best = better(first, first._replace(right=nothing))
    if turns.rounds == 1:
        return best
    begun = factors(turns.begin(weight, weight - inner.weight(first.codes)))
    taken = _product(_Found(first.codes, *begun), stored)
    return jax.lax.fori_loop(1, turns.rounds, turn, (taken, best))[1]


def _product(found: _Found, stored: Solver) -> Array:
    return stored.weight(found.left) @ stored.weight(found.right)


def _stored(factors: QuantSpec | np.dtype | type[Any]) -> Solver:
    """How a factor becomes what is stored of it, as the solver of a matrix."""
    if isinstance(factors, QuantSpec):
        if not isinstance(factors.sharing, Channel | Tensor):
            raise ValueError(
                f"low_rank(factors={factors}) must share scales by channel or tensor: the rank is "
                "an axis of the factors, which groups may not divide."
            )
        return nearest().solver(factors)
    mend = "Take a format or a floating dtype."
    check_kind("low_rank", "factors", factors, type | np.dtype, mend)
    check_floating("low_rank", "factors", factors)

    def solve(factor: Array, second_moment: Array) -> Array:
        del second_moment
        return narrowed(factor, factors)

    def leaf(factors: Array, like: Any, axes: LeafAxes) -> Array:
        del axes
        return factors.reshape(like.shape)

    return Solver(solve, lambda factor: factor.astype(jnp.float32), leaf)


def _factored(found: _Found, leaf: Array, axes: LeafAxes, stored: Solver, rank: int) -> LowRank:
    """The leaf of the factors of all its matrices."""
    sizes = [leaf.shape[axis] for axis in axes.order]
    batch, first = len(axes.batch), len(axes.batch + axes.output)
    _, outputs, inputs = matrix_shape(leaf.shape, axes)
    rank = min(rank, outputs, inputs)
    shapes = (*sizes[:first], rank), (*sizes[:batch], rank, *sizes[first:])
    layers = tuple(range(batch))
    roles = (
        LeafAxes((first,), tuple(range(batch, first)), layers),
        LeafAxes(tuple(range(batch + 1, len(shapes[1]))), (batch,), layers),
    )
    likes: list[Any] = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    left, right = map(stored.leaf, (found.left, found.right), likes, roles)
    return LowRank.from_factors(left, right, dtype=leaf.dtype, axes=axes)
