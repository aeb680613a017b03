"""The result of a bridge: a model as pure functions of one parameter tree.

No framework is known here.
"""

import dataclasses
import types
from collections.abc import Callable, Mapping
from typing import Any

from jaxcompress.core import statistics
from jaxcompress.core.kinds import check_mapping, check_text
from jaxcompress.core.types import Model, Params, Selector

Keywords = Mapping[str, Any]
NO_KEYWORDS: Keywords = types.MappingProxyType({})


@dataclasses.dataclass(frozen=True, eq=False)
class Functional:
    """A model as pure functions of its parameter tree.

    Invariants:
      - `params` holds every floating array the model stores: weights and statistics.
      - Both functions are pure: no argument changes, nor the model they came from.
      - Any leaf of `params` may be compressed: both functions form its array inside the
        call, so the module's own code never meets one. What `restore` gives holds the
        leaf itself; call that as `materialized(lambda module, x: module(x))`.

    Args:
      fn: `fn(params, *inputs) -> outputs`, in evaluation mode.
      params: the tree both functions take.
      train_fn: `train_fn(params, *inputs, key) -> (outputs, new_params)`, in training
        mode. `new_params` has the structure of `params`; statistics are updated and
        weights passed through. The same key gives the same dropout.
      restore: from params to what the framework itself works with: the NNX module, or
        Linen's variables.
      statistics: selects the leaves that `train_fn` updates and no optimizer is to see:
        `select=none_of(functional.statistics)` in a `train.Recipe`, or in `partition`.
        `train.fit` refuses to train them through `fn`.
    """

    fn: Model
    params: Params
    train_fn: Callable[..., tuple[Any, Params]]
    restore: Callable[[Params], Any]
    statistics: Selector = statistics.none

    def __post_init__(self) -> None:
        statistics.reading(self.statistics, self.fn)


def check_keywords(caller: str, **keywords: Any) -> None:
    """Raises a TypeError unless each holds values by the name of a keyword."""
    for argument, value in keywords.items():
        check_mapping(caller, argument, value, "Give keywords of the model by name.")
        for name in value:
            check_text(caller, f"keyword of {argument}", name)
