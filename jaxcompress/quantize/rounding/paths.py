"""The cheapest path through a trellis: Viterbi's algorithm, for all lines at once."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.trellis import Transitions
from jaxcompress.core.types import Array


class Path(NamedTuple):
    """The path of each line, both (outputs, inputs) int32.

    Attributes:
      odd: 1 where the state is odd.
      parities: of the indices there: 0 even, 1 odd.
    """

    odd: Array
    parities: Array


def cheapest_path(branches: Array, transitions: Transitions) -> Path:
    """The path of least cost through each line, beginning in the state 0.

    Args:
      branches: (2, 2, outputs, inputs) float32, what an entry costs by the parity of
        its state and by that of its index; `inf` where there is no such index. Of every
        state one of both is finite.
      transitions: which states follow, up to eight of them.

    Returns:
      Path.

    Example:
      >>> costs = jnp.array([[[[3, 0]], [[0, 9]]], [[[1, 1]], [[1, 2]]]], float)
      >>> path = cheapest_path(costs, ((0, 1), (1, 0)))
      >>> path.parities, path.odd
      (Array([[1, 0]], dtype=int32), Array([[0, 1]], dtype=int32))

    Source: Viterbi 1967, "Error bounds for convolutional codes and an asymptotically
    optimum decoding algorithm", section IV.
    """
    follow = np.array(transitions, np.int32)  # (states, 2)
    # Of each state the one that an even, and that an odd index comes from.
    before = np.argsort(follow, axis=0).T.astype(np.int32)  # (2, states)
    bits = (1 << np.arange(len(follow)))[:, None].astype(np.uint8)  # (states, 1)
    costs = jnp.moveaxis(branches, -1, 0)  # (inputs, 2, 2, outputs)

    def step(so_far: Array, cost: Array) -> tuple[Array, Array]:
        even, odd = (so_far[before[way]] + cost[before[way] & 1, way] for way in (0, 1))
        best = jnp.minimum(even, odd)  # (states, outputs)
        # A bit for each state: which way it was reached.
        way = jnp.sum(jnp.where(odd < even, bits, np.uint8(0)), axis=0, dtype=jnp.uint8)
        # Differences alone count, and stay exact where lines are long.
        return best - jnp.min(best, axis=0, keepdims=True), way

    def back(state: Array, ways: Array) -> tuple[Array, Path]:
        way = ways.astype(jnp.int32) >> state & 1
        earlier = jnp.asarray(before)[way, state]
        return earlier, Path(earlier & 1, way)

    start = jnp.full((len(follow), costs.shape[-1]), jnp.inf, costs.dtype).at[0].set(0)
    last, ways = jax.lax.scan(step, start, costs)
    end = jnp.argmin(last, axis=0).astype(jnp.int32)
    path = jax.lax.scan(back, end, ways, reverse=True)[1]
    return Path(path.odd.T, path.parities.T)
