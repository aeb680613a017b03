"""How params are trained: objective, optimizer, what trains, augmentation."""

import dataclasses
from collections.abc import Callable

import optax

from jaxcompress.core.kinds import check_function, check_selector, check_transformation
from jaxcompress.core.selectors import inexact
from jaxcompress.core.types import Key, PyTree, Selector
from jaxcompress.train.objectives import Objective

Augment = Callable[[Key, PyTree], PyTree]
"""(key, batch) to a batch of the same number of examples."""


def as_they_are(key: Key, batch: PyTree) -> PyTree:
    """The batch itself: no augmentation."""
    del key
    return batch


@dataclasses.dataclass(frozen=True, eq=False)
class Recipe:
    """How a batch changes the params; it knows neither data nor length.

    Invariants:
      - Each recipe equals itself alone, so that any function may be in it; `fit` keeps
        compiled steps by recipe.

    Args:
      objective: what is made small, such as `supervised(fn, loss)` gives.
      optimizer: any optax transformation. Those that take extra arguments are given
        `value`, `grad` and `value_fn` (L-BFGS, line searches, plateaus).
      select: the leaves that train; by default all of a floating dtype. The others are
        carried along, running statistics as the objective leaves them.
      augment: changes each batch before the objective sees it.

    Raises:
      TypeError: a field is of another kind.
    """

    objective: Objective
    optimizer: optax.GradientTransformation
    select: Selector = dataclasses.field(default_factory=inexact)
    augment: Augment = as_they_are

    def __post_init__(self) -> None:
        mend = "Pass objective(params, batch, key), such as train.objectives.supervised(fn, loss)."
        check_function("Recipe", "objective", self.objective, mend)
        check_transformation("Recipe", "optimizer", self.optimizer)
        check_selector("Recipe", "select", self.select)
        mend = "Pass augment(key, batch), which gives a batch."
        check_function("Recipe", "augment", self.augment, mend)
