"""ALPS: the mask and the weights of a matrix found together, by ADMM."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.checks import check_count, check_positive
from jaxcompress.core.types import Array
from jaxcompress.layerwise.solver import damped
from jaxcompress.prune.patterns.pattern import Pattern, check_pattern, unstructured
from jaxcompress.prune.solvers.least_squares import ENOUGH, fitted
from jaxcompress.prune.solvers.solver import SparsitySolver

_MATRIX = LeafAxes(contracting=(1,), output=(0,))

BETWEEN, EARLIEST = 3, 30
"""Steps from one look at the mask to the next; before a small change may end them."""
HIGHEST, LOWEST = 0.1, 1e-4
"""The penalty at first, and the one from which it is not lowered any more."""
MUCH, LITTLE, NOTHING = 0.1, 5e-3, 3e-4
"""Changes of the mask between two looks, as shares of the weights that are kept."""
FIT = 100
"""Steps of conjugate gradients for the mask that was found, at most."""


def alps(
    *, pattern: Pattern = unstructured, steps: int = 300, damping: float = 0.01
) -> SparsitySolver:
    """Finds mask and weights together, by a dense fit and a sparse copy that converge.

    Not for: quick looks, since it takes many times as long as `sparsegpt`.

    Also known as: ALPS, one-shot pruning by ADMM (alternating directions).

    In units in which every input has energy 1, H, damped, becomes A (inputs, inputs)
    and the weights B₀. With the penalty ρ, the sparse copy D and the multipliers V:

        B <- (B₀ · A - V + ρ · D) · (A + ρ · I)⁻¹
        D <- B + V / ρ where the pattern keeps its squares, else 0
        V <- V + ρ · (B - D)

    One eigendecomposition of A serves every ρ. After every third step ρ rises by 30, 20
    or 10 % where much, some or little of the mask has changed, and the search ends
    where nothing has. Where the first look finds almost no change, ρ was too high to
    leave the first mask, and the search starts again at a fifth of it. The mask is that
    of the squares of the last B; weights are fitted to each other by conjugate
    gradients. The first mask, of the squares of B₀, is fitted too, and the better of
    the two is taken.

    Each step takes two products of (outputs, inputs) with (inputs, inputs), and 30 to
    60 steps are most common. Above some thousand inputs the eigendecomposition costs
    most.

    Args:
      pattern: where weights may be removed; it sees the whole matrix.
      steps: of the search, at least 1; looked at in threes.
      damping: share of the mean energy of the inputs that each counts at least, above
        0; more where the calibration data are few.

    Returns:
      SparsitySolver. Weights of an input that was always 0 are worth 0, and go first;
      so are weights that are 0, which stay so. An output that loses nothing is not
      changed.

    Raises:
      ValueError: `steps` is below 1 or `damping` not above 0; when applied: what the
        pattern raises.

    Example:
      >>> solver = jc.prune.solvers.alps(damping=1e-9)
      >>> moment = jnp.array([[1.0, 1.0], [1.0, 2.0]])
      >>> weight, mask = solver(jnp.array([[1.0, 4.0]]), moment, 0.5)
      >>> weight.round(3)
      Array([[0. , 4.5]], dtype=float32)

    Source: Meng et al. 2024, arXiv:2406.07831, algorithms 1 and 2. Differs: float32;
    any pattern; a lowest penalty; the first mask competes; conjugate gradients stop
    where every output has arrived.
    """
    check_pattern("alps", pattern)
    steps = check_count("alps", "steps", steps)
    check_positive("alps", "damping", damping)

    def solve(weight: Array, second_moment: Array, sparsity: float) -> tuple[Array, Array]:
        matrix = damped(second_moment, damping)
        energy = jnp.sqrt(jnp.diagonal(matrix))[None]  # (1, inputs)
        matrix = matrix / energy / energy.T
        # Squares of entries of about 1 are normal numbers, whatever the scales.
        largest, energy = _largest(weight), energy / _largest(energy)
        wanted = weight / largest * energy
        alive = weight != 0
        counts = alive & (jnp.diagonal(second_moment) > 0)[None]

        def kept(found: Array) -> Array:
            return pattern(jnp.where(counts, jnp.square(found), 0.0), sparsity, _MATRIX) & alive

        def refit(start: Array) -> tuple[Array, Array, Array]:
            keep = kept(start)
            found = fitted(jnp.where(keep, start, 0.0), keep, wanted, matrix, FIT, ENOUGH)
            lost = found - wanted
            return found, keep, jnp.sum(lost * _product(lost, matrix))

        starts = jnp.stack([_searched(wanted, matrix, kept, steps), wanted])
        fits, masks, errors = jax.lax.map(refit, starts)
        best = jnp.argmin(errors)
        keep = masks[best]
        untouched = jnp.all(keep == alive, axis=1, keepdims=True)
        found = jnp.where(untouched, weight, fits[best] / energy * largest)
        return jnp.where(keep, found, 0.0), keep

    return solve


class _Search(NamedTuple):
    """Where the search is: its penalty, D, V and the mask, as in `alps`.

    Attributes:
      count: () int32 steps taken.
      penalty: () float32.
      sparse: (outputs, inputs) float32.
      dual: (outputs, inputs) float32.
      keep: (outputs, inputs) bool.
      left: () bool, whether the penalty is one that leaves the first mask.
      settled: () bool.
    """

    count: Array
    penalty: Array
    sparse: Array
    dual: Array
    keep: Array
    left: Array
    settled: Array


def _searched(wanted: Array, matrix: Array, kept: Callable[[Array], Array], steps: int) -> Array:
    """The dense B (outputs, inputs) when the mask has settled.

    Args:
      wanted: (outputs, inputs), B₀ of `alps`.
      matrix: (inputs, inputs) with a diagonal of 1.
      kept: (outputs, inputs) -> bool mask of what stays.
      steps: at most.
    """
    values, vectors = jnp.linalg.eigh(matrix)
    # Of a matrix that is almost singular float32 gives some eigenvalues below 0.
    values, target = jnp.maximum(values, 0.0), _product(wanted, matrix)

    def dense(search: _Search) -> Array:
        sides = target - search.dual + search.penalty * search.sparse
        return _product(_product(sides, vectors) / (values + search.penalty)[None], vectors.T)

    def step(search: _Search) -> _Search:
        moved = dense(search) + search.dual / search.penalty
        keep = kept(moved)
        dual = jnp.where(keep, 0.0, search.penalty * moved)
        return search._replace(sparse=jnp.where(keep, moved, 0.0), dual=dual, keep=keep)

    def look(before: _Search) -> _Search:
        after = jax.lax.fori_loop(0, BETWEEN, lambda _, search: step(search), before)
        return _judged(before, after._replace(count=before.count + BETWEEN), start)

    first = kept(wanted)
    start = _Search(
        count=jnp.int32(0),
        penalty=jnp.float32(HIGHEST),
        sparse=jnp.where(first, wanted, 0.0),
        dual=jnp.zeros_like(wanted),
        keep=first,
        left=jnp.array(False),
        settled=jnp.array(False),
    )
    return dense(
        jax.lax.while_loop(lambda search: (search.count < steps) & ~search.settled, look, start)
    )


def _judged(before: _Search, after: _Search, start: _Search) -> _Search:
    """Goes on with a higher penalty, or starts again with a lower one."""
    many = jnp.maximum(jnp.sum(after.keep, dtype=jnp.float32), 1.0)
    changed = jnp.sum(after.keep != before.keep, dtype=jnp.float32) / many
    growth = jnp.where(changed > MUCH, 1.3, jnp.where(changed > LITTLE, 1.2, 1.1))
    lower = ~before.left & (changed <= LITTLE) & (before.penalty > LOWEST)
    small = (changed == 0) | ((after.count >= EARLIEST) & (changed < NOTHING))
    higher = after._replace(penalty=before.penalty * growth, left=~lower, settled=small & ~lower)
    again = start._replace(count=after.count, penalty=before.penalty / 5)
    return jax.tree.map(lambda one, other: jnp.where(lower, one, other), again, higher)


def _largest(entries: Array) -> Array:
    """The largest magnitude, 1 where all are 0: ()."""
    most = jnp.max(jnp.abs(entries))
    return jnp.where(most > 0, most, 1.0)


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
