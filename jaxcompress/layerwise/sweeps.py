"""One pass over the inputs of a matrix, each decided on what became of those before."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.types import Array, PyTree

Decide = Callable[[PyTree, Array, Array], tuple[Array, Any]]
"""(row of an input, its pull (outputs,), its state (outputs,)) -> (state, found)."""


def sweep(
    decide: Decide, couplings: Array, state: Array, rows: PyTree, block_size: int
) -> tuple[Array, PyTree]:
    """Decides on one input after another, with the state as those before have left it.

        pull_j = Σ_i couplings_ji · state_i
        state_j, found_j = decide(rows_j, pull_j, state_j)

    Of each block of inputs the share of all others in its pulls is one product; only
    within the block it is formed input by input. The program is as long for thousands
    of inputs as for one block and a rest.

    Args:
      decide: what becomes of an input; compiled.
      couplings: (inputs, inputs) float32.
      state: (inputs, outputs) float32 at the start.
      rows: tree of arrays (inputs, …), of which `decide` gets one entry.
      block_size: inputs of a block, at least 1.

    Returns:
      (state after the sweep, what was found, with a leading axis of inputs).

    Example:
      >>> def solved(row, pull, state):  # Gauss and Seidel's method
      ...     right, diagonal = row
      ...     state = state + (right - pull) / diagonal
      ...     return state, ()
      >>> a, b = jnp.array([[2.0, 0.0], [1.0, 4.0]]), jnp.array([[2.0], [9.0]])
      >>> x, _ = sweep(solved, a, jnp.zeros((2, 1)), (b, jnp.diagonal(a)), 128)
      >>> x.ravel()
      Array([1., 2.], dtype=float32)
    """
    inputs = len(couplings)
    width = min(block_size, inputs)
    blocks, whole = inputs // width, inputs // width * width
    parts = (jnp.arange(inputs), couplings, rows)

    def block(state: Array, part: PyTree) -> tuple[Array, PyTree]:
        return _block(decide, state, part)

    many = jax.tree.map(lambda each: each[:whole].reshape(blocks, width, *each.shape[1:]), parts)
    state, found = jax.lax.scan(block, state, many)
    found = jax.tree.map(lambda each: each.reshape(whole, *each.shape[2:]), found)
    if whole < inputs:
        state, last = block(state, jax.tree.map(lambda each: each[whole:], parts))
        found = jax.tree.map(lambda *each: jnp.concatenate(each), found, last)
    return state, found


def _block(decide: Decide, state: Array, part: PyTree) -> tuple[Array, PyTree]:
    """Decides on the inputs of one block: positions, couplings, rows."""
    positions, couplings, rows = part
    width, start = len(positions), positions[0]
    own = jax.lax.dynamic_slice(state, (start, 0), (width, state.shape[1]))
    # The block's own share is left out here, not taken off again: nothing is lost.
    others = jax.lax.dynamic_update_slice(state, jnp.zeros_like(own), (start, 0))
    pulls = product(couplings, others)
    couplings = jax.lax.dynamic_slice(couplings, (0, start), (width, width))

    def column(own: Array, part: PyTree) -> tuple[Array, Any]:
        j, row, pull, factors = part
        before = jax.lax.dynamic_index_in_dim(own, j, keepdims=False)
        after, found = decide(row, pull + product(factors, own), before)
        return jax.lax.dynamic_update_slice(own, after[None], (j, 0)), found

    own, found = jax.lax.scan(column, own, (jnp.arange(width), rows, pulls, couplings))
    return jax.lax.dynamic_update_slice(others, own, (start, 0)), found


def product(a: Array, b: Array) -> Array:
    """The matrix product in full float32, on every device."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
