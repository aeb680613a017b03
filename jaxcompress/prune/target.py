"""Which weights are pruned, how much of them and where: one value for every verb."""

import dataclasses
import numbers

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxcompress.core.axes import Axes
from jaxcompress.core.checks import check_range
from jaxcompress.core.rules import Rules, as_rules
from jaxcompress.core.types import Selector
from jaxcompress.prune.allocations.totals import Allocation, uniform
from jaxcompress.prune.patterns.pattern import Pattern, unstructured

Sparsity = ArrayLike | optax.Schedule
"""The fraction to remove: a number in [0, 1), or a schedule from step to one."""


@dataclasses.dataclass(frozen=True)
class Target:
    """Which weights to remove, how much of them and where.

    Every verb of `prune` that chooses weights takes one. Where only the sparsity is not
    the default, the sparsity may be given in its place: `one_shot(params, criterion,
    0.5)` is `one_shot(params, criterion, Target(0.5))`.

    Attributes:
      sparsity: fraction to remove, in [0, 1): a number, a () array (clipped to [0, 1];
        it may be traced), a schedule from step to number where there are steps, or
        `Rules` of those. Leaves without a rule stay whole.
      pattern: where weights may be removed, of `prune.patterns`.
      allocate: how the sparsity of each rule is shared out among the leaves that it
        matches, of `prune.allocations`.
      select: which leaves; by default those that meet data.
      axes: from `graph.axes`; by default the layout of `assumed_axes`.

    Raises:
      ValueError: a number is outside [0, 1), an array is NaN, or a schedule at step 0.
      TypeError: a sparsity is no number, or `pattern`, `allocate` or `select` is not a
        function.

    Example:
      >>> half = jc.prune.Target(0.5, jc.prune.patterns.n_of_m(2, 4))
      >>> params = {"kernel": jnp.array([[0.1], [-2.0], [3.0], [-0.4]])}
      >>> jc.prune.masks(params, jc.prune.criteria.magnitude(), half)["kernel"].T
      Array([[False,  True,  True, False]], dtype=bool)
    """

    sparsity: Rules[Sparsity] | Sparsity
    pattern: Pattern = unstructured
    allocate: Allocation = uniform
    select: Selector | None = None
    axes: Axes | None = None

    def __post_init__(self):
        check_sparsity("Target", "sparsity", self.sparsity)
        for argument in ("pattern", "allocate", "select"):
            value = getattr(self, argument)
            if not callable(value) and not (argument == "select" and value is None):
                raise TypeError(
                    f"Target({argument}={value!r}) must be a function. Patterns are those of "
                    "prune.patterns, allocations those of prune.allocations; n_of_m(2, 4) and "
                    "outliers() are called to make one."
                )


Aim = Target | Rules[Sparsity] | Sparsity
"""A target, or a sparsity that stands for `Target(sparsity)`."""


def as_target(caller: str, target: Aim) -> Target:
    """The target itself, or the one that a sparsity stands for.

    Raises:
      ValueError: a number is outside [0, 1), an array is NaN, or a schedule at step 0.
      TypeError: a sparsity is no number.
    """
    if isinstance(target, Target):
        return target
    check_sparsity(caller, "target", target)
    return Target(target)


def without_steps(caller: str, target: Aim) -> Target:
    """The target, for a verb without steps.

    Raises:
      TypeError: a sparsity is a schedule.
    """
    target = as_target(caller, target)
    for _, sparsity in as_rules(target.sparsity).pairs:
        if callable(sparsity):
            raise TypeError(
                f"{caller}: the target's sparsity {sparsity} is a schedule, and there are no steps "
                "here. Give a number in [0, 1), or use prune in training."
            )
    return target


def check_sparsity(caller: str, argument: str, value: Rules[Sparsity] | Sparsity) -> None:
    """Raises a ValueError for a number outside [0, 1), and for an array that is NaN.

    Of a schedule the first value is looked at; a traced one passes, and so do arrays
    outside [0, 1], which are clipped. What is no number at all is a TypeError.
    """
    for _, each in as_rules(value).pairs:
        if isinstance(each, numbers.Real):
            check_range(caller, argument, float(each), 0, 1)
            continue
        first = each(jnp.zeros((), jnp.int32)) if callable(each) else each
        numeric = isinstance(first, numbers.Real | np.generic | np.ndarray | jax.Array)
        if not numeric or getattr(first, "shape", ()) != ():
            raise TypeError(
                f"{caller}({argument}={each!r}): a sparsity is a number in [0, 1), a () array, a "
                "schedule of those, or Rules of them by leaf name."
            )
        if not isinstance(first, Tracer) and np.any(np.isnan(np.asarray(first, np.float32))):
            what = f"{each} is NaN at step 0" if callable(each) else f"{each} is NaN"
            raise ValueError(f"{caller}({argument}=...): {what}. Give a share in [0, 1).")
