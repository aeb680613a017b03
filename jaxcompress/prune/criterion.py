"""The type of a criterion: how weights are scored for pruning.

Criteria themselves are in `criteria`.
"""

import types
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxcompress.core.kinds import check_kind
from jaxcompress.core.types import Params, PyTree

State = Any

_NONE: Mapping[str, str] = types.MappingProxyType({})


class Criterion(NamedTuple):
    """Scores weights by three pure functions; the lowest scores are pruned first.

    All trees have the params' structure. A leaf that is not to be pruned stands in them
    as a () float32 zero, so a criterion needs no branch and stores nothing for it.

    Attributes:
      init: params -> state.
      update: (grads, state, params) -> state of the same structure and dtypes, one step
        later; the gradients are raw, those of removed weights included.
      score: (state, params) -> tree of float32 scores of the params' shapes.
      unscored: by name the leaves that the criterion cannot score, and why: no data
        reached them, or they meet data otherwise than it knows.
    """

    init: Callable[[Params], State]
    update: Callable[[PyTree, State, Params], State]
    score: Callable[[State, Params], PyTree]
    unscored: Mapping[str, str] = _NONE


def check_criterion(caller: str, criterion: Criterion) -> None:
    """Raises a TypeError unless it is a criterion.

    Example:
      >>> check_criterion("prune", jc.prune.criteria.magnitude)
      Traceback (most recent call last):
      TypeError: prune(criterion=magnitude) must be of type Criterion, not function.
      Call one of prune.criteria. Did you mean magnitude(...), which gives one?
    """
    check_kind(caller, "criterion", criterion, Criterion, "Call one of prune.criteria.")
