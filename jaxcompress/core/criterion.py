"""What a weight is worth: the word that every way of removing weights shares.

No criterion lives here.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxcompress.core.types import Params, PyTree

State = Any


class Criterion(NamedTuple):
    """Three pure functions; the lowest scores go first.

    All trees have the params' structure. A leaf that is not to be pruned stands in them
    as a () float32 zero, so a criterion needs no branch and stores nothing for it.

    Attributes:
      init: params -> state.
      update: (grads, state, params) -> state of the same structure and dtypes, one step
        later; the gradients are raw, those of removed weights included.
      score: (state, params) -> tree of float32 scores of the params' shapes.
    """

    init: Callable[[Params], State]
    update: Callable[[PyTree, State, Params], State]
    score: Callable[[State, Params], PyTree]
