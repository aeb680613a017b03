"""Narrows families step by step until a measure of the model is within a limit."""

import bisect
import math
from collections.abc import Callable, Iterator

import numpy as np

from jaxcompress.graph.surgery.removal import Removal
from jaxcompress.structure.amounts.amount import Amount, HostScores
from jaxcompress.structure.widths import (
    Candidates,
    Ledger,
    Prices,
    Widths,
)


def down_to(
    call: str,
    limit: float,
    prices: Callable[[Candidates], Prices],
    measured: Callable[[Candidates, Removal], float],
    shown: Callable[[float], str],
) -> Amount:
    """Takes the fewest narrowing steps that bring a measure within the limit."""

    def check(candidates: Candidates) -> None:
        least = measured(candidates, candidates.any_removal(candidates.narrowest))
        if least > limit:
            raise ValueError(
                f"{call} cannot be met: with every family at its floor the model still has "
                f"{shown(least)}. Ask for at least that, a total and no share, or lower floors "
                "and multiples."
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

    # A family's price changes only with widths of families that share a leaf with it,
    # so that only those are priced again after a step.
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
