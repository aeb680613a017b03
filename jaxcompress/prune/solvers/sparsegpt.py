"""SparseGPT: prunes inputs in turn, and adjusts the weights of those that follow."""

from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.checks import check_count, check_positive
from jaxcompress.core.kinds import check_takes
from jaxcompress.core.left_out import Obstacle, UnfitLeafError
from jaxcompress.core.types import Array
from jaxcompress.layerwise.solver import damped, inverse_factor
from jaxcompress.layerwise.sweeps import sweep
from jaxcompress.prune.patterns.pattern import Pattern, check_pattern, unstructured
from jaxcompress.prune.solvers.solver import ColumnRounding, SparsitySolver, unrounded

_COLUMNS = LeafAxes(contracting=(0,), output=(1,))
"""Of a transposed matrix, whose columns are contiguous rows."""


def sparsegpt(
    *,
    pattern: Pattern = unstructured,
    block_size: int = 128,
    damping: float = 0.01,
    rounding: ColumnRounding = unrounded,
) -> SparsitySolver:
    """Prunes block by block of inputs; weights of later inputs make up for the errors.

    Not for: the least error; `alps`, `least_squares` and `refitted` leave less.

        U: upper Cholesky factor of the inverse of H, damped
        score_oj = w_oj² / U_jj²                     the pattern's, for a block of j
        w'_oj = 0 where it goes, else rounding(w_oj)
        error_oj = (w_oj - w'_oj) / U_jj
        w_oi <- w_oi - error_oj · U_ji               for i > j

    One pass for all outputs, with one factor of H, so that a matrix of thousands of
    inputs takes seconds. For `reconstruct`. With a `rounding` the same pass finds
    weights that are sparse and low-bit at once, as GPTQ finds the latter.

    The pattern sees one block at a time. Of its n inputs an output drops on average
    `round_half_even(sparsity · end) - round_half_even(sparsity · begin)`, and the last
    ones what is missing, so that the counts of `unstructured` and `within_outputs` are
    exact for the whole matrix; only where the outputs are odd in number and a half is
    to go of each, `within_outputs` may round it the other way. Patterns of groups are
    exact at multiples of 1 / size.
    Among equal scores the earlier input goes first.

    Args:
      pattern: where weights of one block may be removed.
      block_size: inputs whose mask is found at once, from weights that make up for the
        blocks before, at least 1; a multiple of the pattern's groups. For N:M the
        paper has M.
      damping: share of the mean energy of the inputs that each counts at least, above
        0; more where the calibration data are few.
      rounding: what the weights that stay are rounded to, such as the values of 4-bit
        codes; by default they stay as they are. The result is an array; for codes
        see `quantize.rounding.sparse`.

    Returns:
      SparsitySolver. Weights of an input that was always 0 are worth 0, and go first
      of their block; so are weights that are 0, which stay so.

    Raises:
      ValueError: `block_size` is below 1 or `damping` not above 0; when applied: the
        pattern takes no block of this size, or what the pattern raises.

    Example:
      >>> solver = jc.prune.solvers.sparsegpt(damping=1e-9)
      >>> moment = jnp.array([[1.0, 1.0], [1.0, 2.0]])
      >>> weight, mask = solver(jnp.array([[1.0, 4.0]]), moment, 0.5)
      >>> mask
      Array([[False,  True]], dtype=bool)
      >>> weight.round(3)
      Array([[0. , 4.5]], dtype=float32)

    Source: Frantar and Alistarh 2023, arXiv:2301.00774, algorithm 1. Differs: one block
    size for masks and updates; exact totals; errors are kept and taken off a block when
    its turn comes, in place of a write to all later weights; of an input that was never
    seen, damped by the mean of those that were, weights that stay are not changed.
    """
    check_pattern("sparsegpt", pattern)
    check_takes("sparsegpt", "rounding", rounding, 1, "See prune.solvers.ColumnRounding.")
    block_size = check_count("sparsegpt", "block_size", block_size)
    check_positive("sparsegpt", "damping", damping)

    def solve(weight: Array, second_moment: Array, sparsity: float) -> tuple[Array, Array]:
        outputs, inputs = weight.shape
        width = min(block_size, inputs)
        _check_blocks(pattern, outputs, inputs, width)
        shares = block_shares(sparsity, outputs, inputs, width)
        factor = inverse_factor(damped(second_moment, damping))
        pivots = jnp.diagonal(factor)
        worth = jnp.where(jnp.diagonal(second_moment) > 0, 1 / jnp.square(pivots), 0.0)
        rounded = rounding(weight)

        def opened(rows: tuple[Any, ...], pulls: Array) -> tuple[Any, ...]:
            """Adds where the weights of a block stay."""
            _, weights, _, worth, share = rows
            alive = weights != 0
            scores = jnp.where(alive, jnp.square(weights - pulls) * worth[:, None], 0.0)
            return *rows[:3], pattern(scores, share[0], _COLUMNS) & alive

        def decide(
            row: tuple[Any, ...], pull: Array, error: Array
        ) -> tuple[Array, tuple[Array, Array]]:
            j, weights, pivot, stays = row
            del error  # 0: this input had no turn yet.
            weights = weights - pull
            left = jnp.where(stays, rounded(weights, j), 0.0)
            return (weights - left) / pivot, (left, stays)

        each = jnp.asarray(np.repeat(shares, width)[:inputs])
        rows = (jnp.arange(inputs), weight.T, pivots, worth, each)
        errors = jnp.zeros_like(weight.T)
        _, (pruned, keep) = sweep(decide, factor.T, errors, rows, width, opened)
        return pruned.T, keep.T

    return solve


def block_shares(sparsity: float, outputs: int, inputs: int, width: int) -> np.ndarray:
    """The sparsity of each block of inputs, (blocks,) float32; see `sparsegpt`.

    Example:
      >>> block_shares(0.7, outputs=1, inputs=9, width=4)
      array([0.7, 0.7, 0. ], dtype=float32)
    """
    exact = Fraction(float(np.float32(sparsity)))
    total, gone = round(exact * outputs * inputs), 0
    shares = []
    for begin in range(0, inputs, width):
        end = min(begin + width, inputs)
        length, each = end - begin, round(exact * end) - round(exact * begin)
        # Never more than in all, nor so few that the inputs after these are not enough.
        target = max(outputs * round(exact * end), total - outputs * (inputs - end))
        drop = min(target, total) - gone
        gone += drop
        if (round(exact * length), round(exact * length * outputs)) == (each, drop):
            shares.append(sparsity)
            continue
        # What an output drops on average such that both counts round as they should.
        half = Fraction(1, 2)
        low = max(each - half, (drop - half) / outputs)
        high = min(each + half, (drop + half) / outputs)
        average = (low + high) / 2 if low < high else Fraction(drop, outputs)
        shares.append(float(average / length))
    return np.array(shares, np.float32)


def _check_blocks(pattern: Pattern, outputs: int, inputs: int, width: int) -> None:
    """Raises an `UnfitLeafError` when the pattern does not take the blocks."""
    for length in {width, inputs % width} - {0}:
        scores = jax.ShapeDtypeStruct((length, outputs), jnp.float32)
        try:
            jax.eval_shape(lambda scores: pattern(scores, 0.0, _COLUMNS), scores)
        except UnfitLeafError as unfit:
            reason, mend, _ = unfit.obstacle
            blocks = f"of {inputs} inputs a block of {length} does not fit the pattern"
            raise UnfitLeafError(
                f"sparsegpt(block_size={width})",
                Obstacle(f"{blocks}: {reason}", f"Take another block_size than {width}. {mend}"),
            ) from unfit
