"""Optimal Brain Surgeon: removes the cheapest weight, adjusts the others, repeats."""

import functools

import jax
import jax.numpy as jnp

from jaxcompress.core.checks import check_positive
from jaxcompress.core.numerics import round_to_count
from jaxcompress.core.types import Array
from jaxcompress.layerwise.solver import damped, inverse_factor
from jaxcompress.prune.ranking import lowest
from jaxcompress.prune.solvers.solver import SparsitySolver

_IN_CACHE = 2**20
"""Numbers of the inverses that change at once: about what a core has near it."""


def optimal_brain_surgeon(*, damping: float = 0.01) -> SparsitySolver:
    """Removes one weight at a time, the cheapest of all outputs, and adjusts the rest.

    Not for: matrices of more than some hundred inputs, whose work grows with their
    cube; take `alps`.

    Also known as: OBS, layer-wise OBS (L-OBS), ExactOBS, OBC.

        cost_oq = w_oq² / P_qq
        w_o <- w_o - w_oq / P_qq · P[:, q]
        P <- P - P[:, q] · P[q, :] / P_qq

    where P, each output's own, is the inverse of H, damped, over the weights that it
    still has; a cost is exactly what E[|(w - w') x|²] rises by. For `reconstruct` and
    matrices up to some hundred inputs: work grows with outputs · inputs³, against
    inputs² · (inputs + outputs) of `sparsegpt`.

    As outputs do not meet, each is emptied once by itself and its costs are kept. Then
    the sequences are merged: the least next cost of all outputs goes first, until
    exactly `round_half_even(sparsity · outputs · inputs)` are gone.

    Args:
      damping: share of the mean energy of the inputs that each counts at least, above
        0.

    Returns:
      SparsitySolver. Weights of an input that was always 0 cost nothing, and go first;
      so do weights that are 0, which stay so.

    Raises:
      ValueError: `damping` is not above 0.

    Example:
      >>> solver = jc.prune.solvers.optimal_brain_surgeon(damping=1e-9)
      >>> moment = jnp.array([[1.0, 1.0], [1.0, 2.0]])
      >>> weight, mask = solver(jnp.array([[4.0, 1.0]]), moment, 0.5)
      >>> weight.round(3)
      Array([[5., 0.]], dtype=float32)

    Source: Hassibi and Stork 1992, "Second order derivatives for network pruning:
    Optimal Brain Surgeon", equation 5, on each layer's own error as Dong et al. 2017,
    arXiv:1705.07565, take it; the merge is that of Frantar et al. 2022,
    arXiv:2208.11580, algorithm 2. Differs: damping; an output's weights are found by
    emptying it a second time.
    """
    check_positive("optimal_brain_surgeon", "damping", damping)

    def solve(weight: Array, second_moment: Array, sparsity: float) -> tuple[Array, Array]:
        inputs = weight.shape[1]
        factor = inverse_factor(damped(second_moment, damping))
        inverse = jnp.matmul(factor.T, factor, precision=jax.lax.Precision.HIGHEST)
        seen = jnp.diagonal(second_moment) > 0
        # Two at least: around one alone XLA's CPU loop copies the inverse in each turn.
        each = functools.partial(jax.lax.map, batch_size=max(2, _IN_CACHE // inputs**2))
        costs = each(lambda row: _emptied(row, inverse, seen, inputs)[2], weight)
        # The next cost of an output may be below its last: then it goes with the last.
        order = jax.lax.cummax(costs, axis=1)
        gone = lowest(order, round_to_count(sparsity, weight.size), axis=(0, 1))
        counts = jnp.sum(gone, axis=1, dtype=jnp.int32)
        found, keep = each(
            lambda row: _emptied(row[0], inverse, seen, row[1])[:2], (weight, counts)
        )
        return found, keep & (weight != 0)

    return solve


def _emptied(
    row: Array, inverse: Array, seen: Array, count: Array | int
) -> tuple[Array, Array, Array]:
    """One output without `count` weights, its mask, and the cost of each removal.

    Args:
      row: (inputs,) float32.
      inverse: (inputs, inputs) of the second moment.
      seen: (inputs,) bool, which inputs ever were other than 0.
      count: () integer, at most inputs.
    """

    def remove(step, state):
        row, keep, inverse, costs = state
        diagonal = jnp.where(keep, jnp.diagonal(inverse), 1.0)
        cost = jnp.where(seen, jnp.square(row) / diagonal, 0.0)
        q = jnp.argmin(jnp.where(keep, cost, jnp.inf))
        column = inverse[q] / diagonal[q]
        keep = keep.at[q].set(False)
        row = jnp.where(keep, row - row[q] * column, 0.0)
        inverse = inverse - jnp.outer(column, inverse[q])
        return row, keep, inverse, costs.at[step].set(cost[q])

    start = (row, jnp.ones(row.shape, bool), inverse, jnp.zeros_like(row))
    row, keep, _, costs = jax.lax.fori_loop(0, count, remove, start)
    return row, keep, costs
