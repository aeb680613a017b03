"""Which weights are pruned, how much of them and where: one value for every verb."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import optax
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxcompress.core.axes import Axes
from jaxcompress.core.checks import check_range, is_number
from jaxcompress.core.kinds import check_built, check_iterable, check_select
from jaxcompress.core.messages import shown
from jaxcompress.core.rules import Rules, as_rules
from jaxcompress.core.trees import named_axes
from jaxcompress.core.types import Selector
from jaxcompress.prune.allocations.totals import Allocation, check_allocation, uniform
from jaxcompress.prune.patterns.pattern import Pattern, check_pattern, unstructured

Sparsity = ArrayLike | optax.Schedule
"""The fraction to remove: a number in [0, 1), or a schedule from step to one."""


@dataclasses.dataclass(frozen=True)
class Target:
    """Which weights to remove, how much of them and where.

    Every verb of `prune` that chooses weights takes one. Where only the sparsity is not
    the default, the sparsity may be given in its place: `one_shot(params, criterion,
    0.5)` is `one_shot(params, criterion, Target(0.5))`.

    Attributes:
      sparsity: fraction to remove, in [0, 1): a number, a () array (where it is traced,
        it is clipped to [0, 1]), a schedule from step to number where there are steps,
        or `Rules` of those. Leaves without a rule stay whole.
      pattern: where weights may be removed, of `prune.patterns`.
      allocate: how the sparsity of each rule is shared out among the leaves that it
        matches, of `prune.allocations`.
      select: which leaves; by default those that meet data.
      axes: from `graph.axes`; by default the layout of `assumed_axes`.

    Raises:
      ValueError: a number is outside [0, 1), or a schedule is NaN at step 0.
      TypeError: a sparsity is no number, `pattern`, `allocate` or `select` is not such
        a function, or `axes` holds anything but `LeafAxes`.

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

    def __post_init__(self) -> None:
        check_sparsity("Target", "sparsity", self.sparsity)
        check_pattern("Target", self.pattern)
        check_allocation("Target", "allocate", self.allocate)
        check_select("Target", self.select)
        named_axes("Target", self.axes)


Aim = Target | Rules[Sparsity] | Sparsity
"""A target, or a sparsity that stands for `Target(sparsity)`."""


def as_target(caller: str, target: Aim) -> Target:
    """The target itself, or the one that a sparsity stands for.

    Raises:
      ValueError: a number is outside [0, 1), or a schedule is NaN at step 0.
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


def check_targets(caller: str, targets: Sequence[Aim]) -> None:
    """Raises an error unless it is a list of targets and of sparsities."""
    check_iterable(caller, "targets", targets, "Give one target, or its sparsity, per round.")
    for target in targets:
        if not isinstance(target, Target):
            check_sparsity(caller, "targets", target)


def check_sparsity(caller: str, argument: str, value: Rules[Sparsity] | Sparsity) -> None:
    """Raises a ValueError for a number outside [0, 1); a traced one passes.

    Of a schedule the value at step 0 is looked at, whether it is NaN. What is no number
    at all is a TypeError.
    """
    for _, each in as_rules(value).pairs:
        if callable(each):
            check_built(caller, argument, each, 1, "Pass a schedule, as schedules.cubic(...).")
            _check_first(caller, argument, each, each(jnp.zeros((), jnp.int32)))
        elif is_number(each):
            check_range(caller, argument, each, 0, 1)
        else:
            meant = " Did you mean Rules({...})?" if isinstance(each, Mapping) else ""
            raise TypeError(
                f"{caller}({argument}={shown(each)}): a sparsity is a number in [0, 1), a () "
                f"array, a schedule of those, or Rules of them by leaf name.{meant}"
            )


def _check_first(caller: str, argument: str, schedule: object, first: Any) -> None:
    if not is_number(first):
        raise TypeError(
            f"{caller}({argument}={shown(schedule)}) gives {shown(first)} at step 0; a sparsity is "
            "a number in [0, 1)."
        )
    if not isinstance(first, Tracer) and math.isnan(float(first)):
        raise ValueError(
            f"{caller}({argument}={shown(schedule)}) is NaN at step 0. Give a share in [0, 1)."
        )
