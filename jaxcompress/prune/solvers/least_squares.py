"""Least squares over the weights that a mask keeps, by conjugate gradients."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.checks import check_count, check_positive
from jaxcompress.core.types import Array
from jaxcompress.layerwise.solver import damped, inverse_factor
from jaxcompress.prune.patterns.pattern import Pattern, check_pattern, unstructured
from jaxcompress.prune.solvers.solver import SparsitySolver, check_solver

_MATRIX = LeafAxes(contracting=(1,), output=(0,))

ROUGHLY, ENOUGH = 1e-2, 1e-5
"""The residual, as a share of the first one, at which an output has arrived: where the
next mask is to be found, and at the end."""


def least_squares(
    *,
    pattern: Pattern = unstructured,
    rounds: int = 8,
    steps: int = 50,
    damping: float = 0.01,
) -> SparsitySolver:
    """Prunes in rounds, and refits all kept weights by least squares after each.

    In round t of R, with W the weights as they were and W' as they are:

        share = sparsity · (1 - (1 - t / R)³)
        score_oj = w'_oj² / [H⁻¹]_jj             the pattern's, for the whole matrix
        W' <- least trace((W - W') · H · (W - W')ᵀ) over W' that is 0 where removed

    Where data have more rows than a matrix has inputs, it leaves about as little error
    as `optimal_brain_surgeon` and less than `sparsegpt`; with fewer, the scores, which
    are those before any removal, say little, and `optimal_brain_surgeon` or
    `refitted(sparsegpt())` find the better mask. At most rounds · steps · outputs ·
    inputs² multiply-adds, all in products of whole matrices.

    Args:
      pattern: where weights may be removed; it sees the whole matrix.
      rounds: at least 1; the first ones take most.
      steps: of conjugate gradients in a round, at most, at least 1; fewer where all
        outputs have arrived.
      damping: share of the mean energy of the inputs that each counts at least, above
        0; more where the calibration data are few.

    Returns:
      SparsitySolver. Weights of an input that was always 0 are worth 0, and go first;
      so are weights that are 0, which stay so.

    Raises:
      ValueError: `rounds` or `steps` is below 1 or `damping` not above 0; when applied:
        what the pattern raises.

    Example:
      >>> solver = jc.prune.solvers.least_squares(damping=1e-9)
      >>> moment = jnp.array([[1.0, 1.0], [1.0, 2.0]])
      >>> weight, mask = solver(jnp.array([[1.0, 4.0]]), moment, 0.5)
      >>> weight.round(3)
      Array([[0. , 4.5]], dtype=float32)

    Source: Boža 2024, arXiv:2401.02938, gradual selection of the mask and an update of
    all weights. Differs: scores are those of Optimal Brain Surgeon before anything
    went, in place of Wanda's; conjugate gradients in place of ADMM.
    """
    check_pattern("least_squares", pattern)
    _check("least_squares", steps, damping)
    rounds = check_count("least_squares", "rounds", rounds)

    def solve(weight: Array, second_moment: Array, sparsity: float) -> tuple[Array, Array]:
        matrix = damped(second_moment, damping)
        seen = jnp.diagonal(second_moment) > 0
        worth = jnp.where(seen, 1 / jnp.sum(jnp.square(inverse_factor(matrix)), axis=0), 0.0)

        def turn(state: tuple[Array, Array], share: Array) -> tuple[tuple[Array, Array], None]:
            found, _ = state
            keep = pattern(jnp.square(found) * worth[None], share, _MATRIX) & (weight != 0)
            found = jnp.where(keep, found, 0.0)
            return (fitted(found, keep, weight, matrix, steps, ROUGHLY), keep), None

        left = 1 - np.arange(1, rounds + 1) / rounds
        shares = (sparsity * (1 - left**3)).astype(np.float32)
        start = (weight, jnp.ones(weight.shape, bool))
        (found, keep), _ = jax.lax.scan(turn, start, jnp.asarray(shares))
        return fitted(found, keep, weight, matrix, steps, ENOUGH), keep

    return solve


def refitted(solver: SparsitySolver, *, steps: int = 50, damping: float = 0.01) -> SparsitySolver:
    """Refits the weights that a solver keeps, by least squares on the layer's inputs.

        least trace((W - W') · H · (W - W')ᵀ) over W' that is 0 outside the mask

    A solver that goes through the inputs once fits each weight to those before it
    only; this fits all that stay to each other. All outputs go at once, by conjugate
    gradients from the solver's own weights, so a step costs one product with H,
    whatever the masks: outputs · inputs² multiply-adds. Weights that are 0 stay so.

    Args:
      solver: finds the mask and the weights to begin with, such as `sparsegpt()`.
      steps: at most, at least 1; fewer where all outputs have arrived.
      damping: share of the mean energy of the inputs that each counts at least, above
        0.

    Returns:
      SparsitySolver.

    Raises:
      ValueError: `steps` is below 1 or `damping` not above 0.

    Example:
      >>> keep = jnp.array([[False, True]])
      >>> zeroed = lambda weight, moment, sparsity: (weight * keep, keep)
      >>> solver = jc.prune.solvers.refitted(zeroed, damping=1e-9)
      >>> moment = jnp.array([[1.0, 1.0], [1.0, 2.0]])
      >>> solver(jnp.array([[1.0, 4.0]]), moment, 0.5)[0].round(3)
      Array([[0. , 4.5]], dtype=float32)

    Source: Boža 2024, arXiv:2401.02938, updates weights under a given mask. Differs:
    conjugate gradients, divided by the diagonal of H, in place of ADMM.
    """
    check_solver("refitted", solver)
    _check("refitted", steps, damping)

    def solve(weight: Array, second_moment: Array, sparsity: float) -> tuple[Array, Array]:
        start, keep = solver(weight, second_moment, sparsity)
        keep &= weight != 0
        matrix = damped(second_moment, damping)
        return fitted(start, keep, weight, matrix, steps, ENOUGH), keep

    return solve


def fitted(
    start: Array, keep: Array, weight: Array, matrix: Array, steps: int, enough: float
) -> Array:
    """Conjugate gradients for every output, among the weights that it keeps.

    Args:
      start: (outputs, inputs) float32, 0 outside the mask.
      keep: (outputs, inputs) bool.
      weight: (outputs, inputs), what is to be imitated.
      matrix: (inputs, inputs), positive definite.
      steps: at most.
      enough: share of the first residual at which an output has arrived.

    Returns:
      (outputs, inputs) float32, 0 outside the mask.
    """
    scale = jnp.where(keep, 1 / jnp.diagonal(matrix)[None], 0.0)

    def product(rows: Array) -> Array:
        return jnp.matmul(rows, matrix, precision=jax.lax.Precision.HIGHEST)

    def energy(rows: Array) -> Array:
        return jnp.sum(scale * jnp.square(rows), axis=1, keepdims=True)

    residual = product(weight - start)
    first = energy(residual)

    def going(residual: Array) -> Array:
        # Below 1e-30 squares are hardly normal numbers, and their ratios say nothing.
        return energy(residual) > jnp.maximum(enough**2 * first, 1e-30)

    def more(state) -> Array:
        count, _, residual, _ = state
        return (count < steps) & jnp.any(going(residual))

    def step(state):
        count, solved, residual, direction = state
        before, goes = energy(residual), going(residual)
        moved = product(direction)
        along = jnp.sum(direction * moved, axis=1, keepdims=True)
        length = jnp.where(goes, before / jnp.where(goes, along, 1.0), 0.0)
        residual = residual - length * moved
        turn = jnp.where(goes, energy(residual) / jnp.where(goes, before, 1.0), 0.0)
        solved = solved + length * direction
        return count + 1, solved, residual, scale * residual + turn * direction

    begun = (jnp.int32(0), start, residual, scale * residual)
    return jax.lax.while_loop(more, step, begun)[1]


def _check(caller: str, steps: int, damping: float) -> None:
    check_count(caller, "steps", steps)
    check_positive(caller, "damping", damping)
