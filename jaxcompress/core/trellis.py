"""The trellis of dependent quantization: levels of indices, and states.

A line of weights is written as whole numbers, the indices, one after the other. Each
stands for a level, in steps, by the state that those before it have led to:

    level = 2 · index                       in even states
            2 · index - sign(index)         in odd states
    next state = NEXT[state][index mod 2]

So each weight has a coarse set of levels, of every second or two steps, while a whole
line may come as near as the union of both sets allows.

Source: Schwarz et al. 2021, "Hybrid video coding with trellis-coded quantization", DCC,
with the eight states of ISO/IEC 15938-17 for weights.
"""

from typing import Any

from jaxcompress.core import exports

exports.list_definitions(globals())

Transitions = tuple[tuple[int, int], ...]
"""By state the states that follow an even and an odd index.

Each state follows exactly one by an even index, and exactly one by an odd index.
"""

NEXT: Transitions = ((0, 2), (7, 5), (1, 3), (6, 4), (2, 0), (5, 7), (3, 1), (4, 6))
"""Of eight states; a line begins in the state 0."""


def levels(indices: Any, odd: Any):
    """What indices stand for, in steps; of whole numbers of NumPy or JAX.

    Args:
      indices: whole numbers of a signed dtype.
      odd: 1 in odd states, 0 in even ones; a number, or an array of the indices' shape.

    Example:
      >>> levels(jnp.arange(-2, 3), 0)
      Array([-4, -2,  0,  2,  4], dtype=int32)
      >>> levels(jnp.arange(-2, 3), 1)
      Array([-3, -1,  0,  1,  3], dtype=int32)
    """
    above, below = (each.astype(indices.dtype) for each in (indices > 0, indices < 0))
    return 2 * indices - odd * (above - below)
