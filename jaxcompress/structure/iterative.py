"""Removal in rounds: some units go, the rest are trained, and again.

One round is the matter of `remove`; training is the caller's.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from jaxcompress.core.names import named_leaves
from jaxcompress.core.rules import Rules
from jaxcompress.core.types import Model, Params
from jaxcompress.graph.divisors import Divisors
from jaxcompress.graph.removal import Cut, Removal
from jaxcompress.graph.shrink import shrink
from jaxcompress.structure.amounts import Amount
from jaxcompress.structure.importance import Importance
from jaxcompress.structure.remove import RemovalReport, remove

FineTune = Callable[[Model, Params, int], Params]
"""(fn, params, round from 0) to the params after training."""


class Rounds(NamedTuple):
    """A model that lost units in rounds.

    Fields:
      fn: the smaller model; jit it.
      params: its params, trained after the last round.
      removal: what went in all rounds together, of the original model.
      reports: one per round.
    """

    fn: Model
    params: Params
    removal: Removal
    reports: tuple[RemovalReport, ...]


def iterative(
    fn: Model,
    params: Params,
    importance: Importance,
    *inputs,
    amounts: Sequence[Amount],
    fine_tune: FineTune,
    floors: Rules[int] | int = 1,
    multiple_of: Rules[int] | int = 1,
    select: Sequence[str] = ("*",),
    divisors: Divisors = Divisors.KEPT,
) -> Rounds:
    """Removes some units, trains the rest, and repeats, scoring anew each time.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: its params, not compressed; unchanged.
      importance: what units are worth; applied to the smaller model of each round.
      inputs: a batch of arrays.
      amounts: one per round, of the model as it then is: a schedule, for example
        `[within_macs(limit) for limit in (400_000, 200_000, 100_000)]`.
      fine_tune: trains after every round, the last included.
      floors, multiple_of, select: as in `plan`. An axis of one unit is no family in the
        next round, so floors of 2 and more keep names valid to the end.
      divisors: as in `remove`, in all rounds.

    Returns:
      Rounds.

    Raises:
      ValueError: there is no amount, or as `plan`.

    Example:
      >>> fn = lambda params, x: jax.nn.relu(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.eye(4), "out": jnp.array([[1.0], [4.0], [3.0], [2.0]])}
      >>> rounds = iterative(
      ...     fn,
      ...     params,
      ...     jc.structure.magnitude(),
      ...     jnp.ones((1, 4)),
      ...     amounts=[jc.structure.count(1)] * 2,
      ...     fine_tune=lambda fn, params, turn: params,
      ... )
      >>> [(cut.leaf, cut.indices) for cut in rounds.removal.cuts]
      [('in', (0, 3)), ('out', (0, 3))]
    """
    if not amounts:
        raise ValueError("iterative(amounts=[]) has no round. Give one amount per round.")
    names = list(named_leaves(params))
    smaller, removal, reports = fn, Removal((), divisors), []
    for turn, amount in enumerate(amounts):
        removed = remove(
            smaller,
            params,
            importance,
            *inputs,
            amount=amount,
            floors=floors,
            multiple_of=multiple_of,
            select=select,
            divisors=divisors,
        )
        removal = after_one_another(removal, removed.removal, names)
        smaller = shrink(fn, removal)
        params = fine_tune(smaller, removed.params, turn)
        reports.append(removed.report)
    return Rounds(smaller, params, removal, tuple(reports))


def after_one_another(first: Removal, second: Removal, names: Sequence[str]) -> Removal:
    """One removal that does what two do, the second on what the first leaves.

    Args:
      first: of the original model.
      second: of the model after the first.
      names: all leaves in the tree's order.

    Returns:
      Removal of the original model.
    """
    cuts = {(cut.leaf, cut.axis): cut for cut in first.cuts}
    for cut in second.cuts:
        place = cut.leaf, cut.axis
        cuts[place] = _both(cuts[place], cut) if place in cuts else cut
    order = {name: position for position, name in enumerate(names)}
    ordered = sorted(cuts.values(), key=lambda cut: (order[cut.leaf], cut.axis))
    return Removal(tuple(ordered), first.divisors)


def _both(first: Cut, second: Cut) -> Cut:
    """The indices of the second are counted without those of the first."""
    lead = np.broadcast_shapes(first.gone.shape[:-1], second.gone.shape[:-1])
    gone = np.broadcast_to(first.gone, (*lead, first.size)).copy()
    kept = np.flatnonzero(~gone.reshape(-1)).reshape(*lead, second.size)
    later = np.broadcast_to(second.gone, (*lead, second.size))
    gone.reshape(-1)[kept[later]] = True
    indices = [np.flatnonzero(row).tolist() for row in gone.reshape(-1, first.size)]
    rows = tuple(tuple(row) for row in indices)
    return Cut(first.leaf, first.axis, first.size, rows if lead else rows[0])
