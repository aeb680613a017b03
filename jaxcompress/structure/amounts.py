"""How much is removed: of each family, or of all together down to a budget.

An amount chooses widths; within a family the units of the lowest scores go. What units
are worth is the matter of `importance`.
"""

import bisect
import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from jaxcompress.core.checks import check_count, check_positive, check_range
from jaxcompress.core.numerics import round_to_count
from jaxcompress.core.rules import Rules, as_rules
from jaxcompress.core.timing import interleaved
from jaxcompress.core.types import Model, Params
from jaxcompress.graph.removal import Removal
from jaxcompress.graph.shrink import shrink, slice_params
from jaxcompress.structure.widths import (
    Candidates,
    Ledger,
    Prices,
    Widths,
    byte_prices,
    mac_prices,
    parameter_prices,
    shrunk_macs,
    shrunk_parameters,
    shrunk_size_bytes,
)

HostScores = Mapping[str, np.ndarray]
"""Finite scores of every candidate."""

Probe = Callable[..., float]
"""(fn, params, *inputs) to milliseconds of one call."""


class Amount(NamedTuple):
    """Two functions.

    Fields:
      check: (candidates) -> None; raises a ValueError, before anything is scored, where
        no widths will do.
      widths: (candidates, scores) -> the width of every candidate.
    """

    check: Callable[[Candidates], None]
    widths: Callable[[Candidates, HostScores], Widths]


def fraction(removed: Rules[float] | float) -> Amount:
    """The same share of every family, never below its floor.

    Args:
      removed: share of the units that go, in [0, 1), or `Rules` of it over family
        names. The width is rounded up to an allowed one.

    Returns:
      Amount.

    Raises:
      ValueError: a share is outside [0, 1); when applied, a rule matches no family.
    """
    rules = as_rules(removed)
    for _, share in rules.pairs:
        check_range("fraction", "removed", share, 0, 1)

    def check(candidates: Candidates) -> None:
        rules.assign(candidates.ladders)

    def widths(candidates: Candidates, scores: HostScores) -> Widths:
        del scores
        shares = rules.assign(candidates.ladders)
        present = candidates.present
        return present | {
            name: candidates.allowed(
                name, present[name] - int(round_to_count(share, present[name]))
            )
            for name, share in shares.items()
        }

    return Amount(check, widths)


def count(removed: Rules[int] | int) -> Amount:
    """The same number of units of every family.

    Args:
      removed: units that go, at least 0, or `Rules` of it over family names. The width
        is rounded up to an allowed one.

    Returns:
      Amount.

    Raises:
      ValueError: a number is no count; when applied, a rule matches no family, or a
        family cannot lose so many.
    """
    rules = as_rules(removed).map(partial(check_count, "count", "removed", least=0))

    def check(candidates: Candidates) -> None:
        for name, number in rules.assign(candidates.ladders).items():
            units, least = candidates.ladders[name][0], candidates.ladders[name][-1]
            if units - number < least:
                raise ValueError(
                    f"count(removed={number}): family {name!r} has {units} units, of which "
                    f"{units - least} can go. Remove fewer, or lower its floor."
                )

    def widths(candidates: Candidates, scores: HostScores) -> Widths:
        del scores
        present = candidates.present
        return present | {
            name: candidates.allowed(name, present[name] - number)
            for name, number in rules.assign(candidates.ladders).items()
        }

    return Amount(check, widths)


def within_parameters(limit: int) -> Amount:
    """As few units as bring the leaves down to so many numbers.

    Step by step the units go whose score is least for the numbers that they save, as
    the model then is. Scores should be comparable between families: rises of a loss
    are, others after `normalized`. The model that is left fits, and without the last
    step it would not.

    Args:
      limit: numbers in all leaves, at most; above 0.

    Returns:
      Amount.

    Raises:
      ValueError: `limit` is not above 0 and finite; when applied and before anything
        is scored, the floors leave more: says how much.

    Source: Molchanov et al. 2017, arXiv:1611.06440, section 2.2, weighs scores against
    costs. Differs: as a ratio, and the cost is that of the model as it then is.
    """
    check_positive("within_parameters", "limit", limit)
    call = f"within_parameters(limit={limit})"
    return _down_to(call, limit, parameter_prices, shrunk_parameters, "{:,} parameters".format)


def within_bytes(limit: int) -> Amount:
    """As few units as bring the leaves down to so many bytes in memory.

    As `within_parameters`, for what they save of bytes.

    Args:
      limit: bytes of all leaves, at most; above 0.

    Returns:
      Amount.

    Raises:
      ValueError: as `within_parameters`.
    """
    check_positive("within_bytes", "limit", limit)
    call = f"within_bytes(limit={limit})"
    return _down_to(call, limit, byte_prices, shrunk_size_bytes, "{:,} bytes".format)


def within_macs(limit: int) -> Amount:
    """As few units as bring one call down to so many multiply-adds.

    As `within_parameters`, for what they save of multiply-adds. These are counted on
    the shrunk program itself, for the given inputs: pass one example
    to count per example.

    Args:
      limit: multiply-adds at all sites, at most; above 0.

    Returns:
      Amount.

    Raises:
      ValueError: as `within_parameters`.
    """
    check_positive("within_macs", "limit", limit)
    call = f"within_macs(limit={limit})"
    return _down_to(call, limit, mac_prices, shrunk_macs, "{:,} multiply-adds".format)


def within_latency(milliseconds: float, probe: Probe | None = None) -> Amount:
    """As few units as bring one call within a time, by timing some shrunk models.

    Units go in the order of `within_macs`; how many is bisected, so about ten models
    are compiled and timed. Measured times scatter: take it for a search, and time what
    comes of it against the dense model.

    Args:
      milliseconds: of one call on the given inputs, above 0.
      probe: (fn, params, *inputs) to milliseconds; by default `median_milliseconds`.

    Returns:
      Amount.

    Raises:
      ValueError: `milliseconds` is not above 0 and finite; when applied and before
        anything is scored, the narrowest model takes longer: says how long.
    """
    check_positive("within_latency", "milliseconds", milliseconds)
    probe = median_milliseconds if probe is None else probe

    def measured(candidates: Candidates, removal: Removal) -> float:
        small = slice_params(candidates.params, removal)
        return probe(shrink(candidates.fn, removal), small, *candidates.inputs)

    call = f"within_latency(milliseconds={milliseconds})"
    return _down_to(call, milliseconds, mac_prices, measured, "{:.3g} ms".format)


def median_milliseconds(fn: Model, params: Params, *inputs) -> float:
    """The median time of one compiled call, over 20 of them.

    Args:
      fn: the model.
      params: its params.
      inputs: its inputs.

    Returns:
      Milliseconds.
    """
    compiled = jax.jit(fn)
    timing = interleaved({"model": lambda: compiled(params, *inputs)}, repeats=20)
    return 1e3 * timing["model"].median_seconds


def _down_to(
    call: str,
    limit: float,
    prices: Callable[[Candidates], Prices],
    measured: Callable[[Candidates, Removal], float],
    shown: Callable[[float], str],
) -> Amount:
    """As few steps as bring what is measured to the limit."""

    def check(candidates: Candidates) -> None:
        least = measured(candidates, candidates.any_removal(candidates.narrowest))
        if least > limit:
            raise ValueError(
                f"{call} cannot be met: with every family at its floor the model still has "
                f"{shown(least)}. Ask for at least that, or lower floors and multiples."
            )

    def widths(candidates: Candidates, scores: HostScores) -> Widths:
        ledger = Ledger(candidates.couplings, prices(candidates))
        steps = [candidates.present, *_steps(candidates, scores, ledger)]

        def fits(step: int) -> bool:
            return measured(candidates, candidates.removal(steps[step], scores)) <= limit

        # Removing more never costs more, so the first that fits is found by halving.
        return steps[bisect.bisect_left(range(len(steps) - 1), True, key=fits)]

    return Amount(check, widths)


def _steps(candidates: Candidates, scores: HostScores, ledger: Ledger) -> Iterator[Widths]:
    """Ever narrower widths, one rung of one family at a time, the least loss first."""
    widths = candidates.present
    lost = {name: _cumulative(scores[name]) for name in widths}
    left = {name: list(reversed(ladder[1:])) for name, ladder in candidates.ladders.items()}

    def price(name: str) -> float:
        units, width = candidates.ladders[name][0], left[name][-1]
        saved = ledger.saved(widths, name, width)
        rise = lost[name][units - width] - lost[name][units - widths[name]]
        return rise / saved if saved else math.inf

    prices = {name: price(name) for name in widths if left[name]}
    while prices:
        name = min(prices, key=prices.__getitem__)
        widths = widths | {name: left[name].pop()}
        yield widths
        if not left[name]:
            del prices[name]
        prices |= {other: price(other) for other in ledger.neighbours(name) if other in prices}


def _cumulative(scores: np.ndarray) -> np.ndarray:
    """The scores lost with the n lowest units, of every layer: (units + 1,)."""
    lowest = np.sort(scores, axis=-1).reshape(-1, scores.shape[-1]).sum(axis=0, dtype=np.float64)
    return np.concatenate([[0.0], np.cumsum(lowest)])
