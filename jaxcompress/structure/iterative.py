"""Removes units in rounds, with training between them.

`remove` removes units in each round; the caller trains.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from jaxcompress.core.checks import check_concrete
from jaxcompress.core.kinds import check_each, check_takes
from jaxcompress.core.names import named_leaves
from jaxcompress.core.trees import check_call
from jaxcompress.core.types import Model, Params, PyTree
from jaxcompress.graph.surgery.divisors import Divisors
from jaxcompress.graph.surgery.removal import LeafCut, Removal
from jaxcompress.graph.surgery.shrink import shrunk_by
from jaxcompress.structure.amounts.amount import Amount
from jaxcompress.structure.cut import Cut, as_cut, check_cut
from jaxcompress.structure.importance.scores import Importance, check_importance
from jaxcompress.structure.remove import RemovalReport, remove

FineTune = Callable[[Model, Params, int], Params]
"""(fn, params, round from 0) to the params after training."""


class Rounds(NamedTuple):
    """A model that lost units in rounds.

    Attributes:
      fn: the smaller model; jit it.
      params: its params, trained after the last round.
      removal: what all rounds together removed from the original model.
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
    *inputs: PyTree,
    cuts: Sequence[Cut | Amount],
    fine_tune: FineTune,
) -> Rounds:
    """Removes some units, trains the rest, and repeats, scoring anew each time.

    Not for: models that are trained no further; `remove` cuts at once.

    Also known as: iterative structured pruning, prune and fine-tune.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: its params, not compressed; unchanged.
      importance: what units are worth; applied to the smaller model of each round.
      inputs: a batch of arrays.
      cuts: one per round, of the model as it then is; amounts alone make a schedule,
        for example `[within_macs(limit) for limit in (400_000, 200_000, 100_000)]`. An
        axis of one unit is no family in the next round, so floors of 2 and more keep
        names valid to the end.
      fine_tune: trains after every round, the last included.

    Returns:
      Rounds.

    Raises:
      ValueError: there is no cut, the cuts have different divisors, or as `plan`.

    Example:
      >>> fn = lambda params, x: jax.nn.relu(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.eye(4), "out": jnp.array([[1.0], [4.0], [3.0], [2.0]])}
      >>> rounds = jc.structure.iterative(
      ...     fn,
      ...     params,
      ...     jc.structure.importance.magnitude(),
      ...     jnp.ones((1, 4)),
      ...     cuts=[jc.structure.amounts.count(1)] * 2,
      ...     fine_tune=lambda fn, params, turn: params,
      ... )
      >>> [(cut.leaf, cut.indices) for cut in rounds.removal.cuts]
      [('in', (0, 3)), ('out', (0, 3))]
    """
    check_call("iterative", fn, params, inputs)
    check_importance("iterative", importance)
    check_each("iterative", "cuts", cuts, check_cut)
    check_takes("iterative", "fine_tune", fine_tune, 3, "Pass (fn, params, turn) -> params.")
    check_concrete("iterative", params=params, inputs=inputs)
    rounds = [as_cut(cut) for cut in cuts]
    divisors = _divisors(rounds)
    names = list(named_leaves(params))
    smaller, removal, reports = fn, Removal((), divisors), []
    for turn, cut in enumerate(rounds):
        removed = remove(smaller, params, importance, *inputs, cut=cut)
        removal = after_one_another(removal, removed.removal, names)
        smaller = shrunk_by("iterative", fn, removal)
        params = fine_tune(smaller, removed.params, turn)
        reports.append(removed.report)
    return Rounds(smaller, params, removal, tuple(reports))


def _divisors(rounds: Sequence[Cut]) -> Divisors:
    """The divisor of means in all rounds, since one removal has one choice of it."""
    if not rounds:
        raise ValueError("iterative(cuts=[]) has no round. Give one cut per round.")
    chosen = {cut.divisors for cut in rounds}
    if len(chosen) > 1:
        raise ValueError("iterative(cuts=...) mixes divisors. Give every cut the same `divisors`.")
    return rounds[0].divisors


def after_one_another(first: Removal, second: Removal, names: Sequence[str]) -> Removal:
    """Composes two removals, the second of the model that the first leaves, into one.

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


def _both(first: LeafCut, second: LeafCut) -> LeafCut:
    """The indices of the second are counted without those of the first."""
    lead = np.broadcast_shapes(first.gone.shape[:-1], second.gone.shape[:-1])  # (layers,)
    gone = np.broadcast_to(first.gone, (*lead, first.size)).copy()
    # Where in the original, layers in a row, each index that the second sees lies.
    kept = np.flatnonzero(~gone.reshape(-1)).reshape(*lead, second.size)
    later = np.broadcast_to(second.gone, (*lead, second.size))
    gone.reshape(-1)[kept[later]] = True
    indices = [np.flatnonzero(row).tolist() for row in gone.reshape(-1, first.size)]
    rows = tuple(tuple(row) for row in indices)
    return LeafCut(first.leaf, first.axis, first.size, rows if lead else rows[0])
