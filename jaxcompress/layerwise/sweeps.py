"""One pass over the inputs of a matrix, each decided on what became of those before."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.sharding import in_mesh_of
from jaxcompress.core.types import Array, PyTree

Decide = Callable[[PyTree, Array, Array], tuple[Array, Any]]
"""(row of an input, its pull (outputs,), its state (outputs,)) -> (state, found)."""


Open = Callable[[PyTree, Array], PyTree]
"""(rows of a block, their pulls (width, outputs)) -> rows for `decide`."""


def sweep(
    decide: Decide,
    couplings: Array,
    state: Array,
    rows: PyTree,
    block_size: int,
    opened: Open = lambda rows, pulls: rows,
) -> tuple[Array, PyTree]:
    """Decides on one input after another, with the state as those before have left it.

        pull_j = Σ_i couplings_ji · state_i
        state_j, found_j = decide(rows_j, pull_j, state_j)

    The pulls of a block are one product, to which each of its inputs adds what it has
    changed. The program is as long for thousands of inputs as for one block and a rest.

    Args:
      decide: what becomes of an input; compiled.
      couplings: (inputs, inputs) float32.
      state: (inputs, outputs) float32 at the start.
      rows: tree of arrays (inputs, …), of which `decide` gets one entry.
      block_size: inputs of a block, at least 1.
      opened: what is decided of a block as a whole before its inputs have their turns,
        from their pulls as they are then.

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
    state = in_mesh_of(state, *jax.tree.leaves((couplings, rows)))

    def block(state: Array, part: PyTree) -> tuple[Array, PyTree]:
        return _block(decide, opened, state, part)

    many = jax.tree.map(lambda each: each[:whole].reshape(blocks, width, *each.shape[1:]), parts)
    state, found = jax.lax.scan(block, state, many)
    found = jax.tree.map(lambda each: each.reshape(whole, *each.shape[2:]), found)
    if whole < inputs:
        state, last = block(state, jax.tree.map(lambda each: each[whole:], parts))
        found = jax.tree.map(lambda *each: jnp.concatenate(each), found, last)
    return state, found


def _block(decide: Decide, opened: Open, state: Array, part: PyTree) -> tuple[Array, PyTree]:
    """Decides on the inputs of one block: positions, couplings, rows."""
    positions, couplings, rows = part
    width, start = len(positions), positions[0]
    own = jax.lax.dynamic_slice(state, (start, 0), (width, state.shape[1]))
    pulls = product(couplings, state)
    couplings = jax.lax.dynamic_slice(couplings, (0, start), (width, width))

    def column(moved: Array, part: PyTree) -> tuple[Array, Any]:
        j, row, before, pull, factors = part
        after, found = decide(row, pull + product(factors, moved), before)
        return jax.lax.dynamic_update_slice(moved, (after - before)[None], (j, 0)), (after, found)

    # What changes within the block is added; nothing has to be taken off again.
    parts = (jnp.arange(width), opened(rows, pulls), own, pulls, couplings)
    unmoved = in_mesh_of(jnp.zeros_like(own), own)
    _, (own, found) = jax.lax.scan(column, unmoved, parts)
    return jax.lax.dynamic_update_slice(state, own, (start, 0)), found


def product(a: Array, b: Array) -> Array:
    """The matrix product in full float32, on every device."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
