"""Rules for the rank of each weight; `decomposition` computes the factors."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from jaxcompress.core import exports
from jaxcompress.core.checks import check_count, check_share
from jaxcompress.structure.decomposition import Decomposition

exports.list_definitions(globals())

Ranks = Callable[[Mapping[str, Decomposition]], dict[str, int]]
"""Decompositions by leaf name, of the leaves that share a rule, to a rank for each.

A leaf whose factors would hold no fewer parameters at its rank stays as it is.
"""


def at_most(rank: int) -> Ranks:
    """The same rank for every weight, less where a weight has less.

    Args:
      rank: at least 1.

    Raises:
      ValueError: `rank` is no count.
    """
    rank = check_count("at_most", "rank", rank)
    return _each(lambda name, found: min(rank, found.full_rank))


def energy(share: float) -> Ranks:
    """The smallest rank that keeps this share of a weight's squared singular values.

    Not for: a size that must be met, since it follows from singular values; `budget`
    and `parameters` meet one.

    Also known as: explained variance, energy threshold.

    With covariances, of the squared outputs over the calibration data.

    Args:
      share: in (0, 1].

    Raises:
      ValueError: `share` is outside (0, 1].

    Example:
      >>> weight = jnp.diag(jnp.array([3.0, 1.0, 0.1, 0.1, 0.1, 0.1]))
      >>> rank = jc.structure.ranks.energy(0.9)
      >>> small, _ = jc.structure.factorize({"kernel": weight}, rank=rank)
      >>> small["kernel"].left.shape
      (6, 2)
    """
    _check_share("energy", share)

    def rank(name: str, found: Decomposition) -> int:
        del name
        enough = found.left_out[1:] <= 1 - share
        return 1 + int(np.argmax(enough))

    return _each(rank)


def parameters(share: float) -> Ranks:
    """The largest rank whose factors hold this share of a weight's parameters or less.

    Args:
      share: in (0, 1].

    Raises:
      ValueError: `share` is outside (0, 1]; when the ranks are chosen:
        rank 1 is too much.

    Example:
      >>> rank = jc.structure.ranks.parameters(0.5)
      >>> small, _ = jc.structure.factorize({"kernel": jnp.ones((64, 64))}, rank=rank)
      >>> small["kernel"].left.shape
      (64, 16)
    """
    _check_share("parameters", share)

    def rank(name: str, found: Decomposition) -> int:
        allowed = min(int(share * found.size) // found.cost, found.full_rank)
        if allowed < 1:
            raise ValueError(
                f"parameters(share={share}): the factors of leaf {name!r} hold "
                f"{found.cost / found.size:.3g} of its parameters at rank 1, and no less. "
                "Give a larger share, or leave it out with select=."
            )
        return allowed

    return _each(rank)


def budget(count: int) -> Ranks:
    """The ranks of all weights with the least error within a number of parameters.

    From rank 1 everywhere, the next parameters go where they save the most relative
    squared error each. A weight may also stay as it is, at the cost and without the
    error of that. Where every step fits the budget, no other ranks of as many
    parameters leave out less; what is not enough for a whole step goes to what still
    fits, in that order.

        error = Σ over weights of  (squared singular values left out) / (all of them)

    Args:
      count: parameters that all the weights may hold, factored or not.

    Raises:
      ValueError: `count` is no count; when the ranks are chosen, and before anything is
        decomposed: rank 1 in every weight is too much.

    Example:
      >>> steep, flat = jnp.diag(jnp.array([9.0, 1, 1, 1])), jnp.diag(jnp.ones(4))
      >>> rank = jc.structure.ranks.budget(24)
      >>> small, _ = jc.structure.factorize({"steep": steep, "flat": flat}, rank=rank)
      >>> small["steep"].left.shape, small["flat"].shape
      ((4, 1), (4, 4))
    """
    count = check_count("budget", "count", count)

    def ranks(found: Mapping[str, Decomposition]) -> dict[str, int]:
        # A weight whose factors hold no fewer parameters stays as it is.
        least = sum(min(each.cost, each.size) for each in found.values())
        if least > count:
            raise ValueError(
                f"budget(count={count}): rank 1 in all {len(found)} weights holds {least:,} "
                "parameters, and no ranks hold less. Give at least that."
            )
        steps = [step for name, each in found.items() for step in _steps(name, each)]
        steps.sort(key=lambda step: -step.density)
        return _taken(steps, found, count - least)

    return ranks


class _Step(NamedTuple):
    """A rise of one weight's rank to `rank`: its parameters and the error it saves."""

    name: str
    rank: int
    cost: int
    saved: float

    @property
    def density(self) -> float:
        return self.saved / self.cost


def _steps(name: str, found: Decomposition) -> list[_Step]:
    """From rank 1 to the whole weight, joined so that none is denser than the last."""
    shares = found.energies.reshape(-1, found.full_rank).mean(axis=0)
    factored = found.saving_rank
    whole = _Step(
        name, found.full_rank, found.size - factored * found.cost, float(shares[factored:].sum())
    )
    ranks = [_Step(name, i + 1, found.cost, float(shares[i])) for i in range(1, factored)]
    steps: list[_Step] = []
    for step in [*ranks, whole] if factored else []:
        while steps and steps[-1].density < step.density:
            last = steps.pop()
            step = _Step(name, step.rank, last.cost + step.cost, last.saved + step.saved)
        steps.append(step)
    return steps


def _taken(steps: list[_Step], found: Mapping[str, Decomposition], left: int) -> dict[str, int]:
    """The ranks after the steps that `left` parameters pay for, in order."""
    ranks, closed = dict.fromkeys(found, 1), set()
    for step in steps:
        if step.name in closed:
            continue
        if step.cost <= left:
            ranks[step.name], left = step.rank, left - step.cost
        else:
            each = found[step.name]
            more = min(left // each.cost, each.saving_rank - ranks[step.name])
            ranks[step.name], left = ranks[step.name] + more, left - more * each.cost
            closed.add(step.name)
    return ranks


def _each(choose: Callable[[str, Decomposition], int]) -> Ranks:
    return lambda found: {name: choose(name, each) for name, each in found.items()}


def _check_share(caller: str, share: float) -> None:
    check_share(caller, "share", share)
    if share == 0:
        raise ValueError(f"{caller}(share={share}) must be above 0.")
