"""Fair timing of calls that are to be compared: in turn, after a warm-up, medians."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

Probe = Callable[[Mapping[str, Callable[[], Any]]], dict[str, float]]
"""Calls by name to the seconds that each takes, as `median_seconds` gives them."""

SECONDS = 1.0
"""How long the rounds of `median_seconds` may take together."""


class Timing(NamedTuple):
    """How long one call took beside the others.

    Attributes:
      median_seconds: the middle of all rounds.
      ratio: how many times as fast as the first call; above 1 is faster.
      spread: distance between the quartiles, as a share of the median.
    """

    median_seconds: float
    ratio: float
    spread: float


def interleaved(
    calls: Mapping[str, Callable[[], Any]], *, repeats: int = 30, warmup: int = 3
) -> dict[str, Timing]:
    """Times calls in turn, so that a slow moment of the machine falls on all of them.

    Each round makes every call once, each round beginning one call later, and waits for
    the arrays it returns.

    Args:
      calls: what to time, without arguments; the first is the reference.
      repeats: timed rounds, at least 2.
      warmup: rounds before those, which compile and are not timed.

    Returns:
      One `Timing` per call.

    Raises:
      ValueError: there is no call, or fewer than two rounds.

    Example:
      >>> timings = interleaved({"dense": lambda: 1, "int8": lambda: 2}, repeats=2)
      >>> timings["dense"].ratio
      1.0
    """
    if not calls:
        raise ValueError("interleaved(calls={}) has nothing to time.")
    if repeats < 2:
        raise ValueError(f"interleaved(repeats={repeats}) must be at least 2 to tell a spread.")
    _seconds(calls, range(warmup))
    seconds = _seconds(calls, range(warmup, warmup + repeats))
    reference = statistics.median(next(iter(seconds.values())))
    return {name: timing(each, reference) for name, each in seconds.items()}


def median_seconds(calls: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
    """The median seconds of each call over as many rounds as fit into `SECONDS`.

    Args:
      calls: what to time, without arguments; a first call compiles and is not counted.

    Returns:
      Seconds by name, over at least three rounds and at most sixty, in turn as in
      `interleaved`.

    Example:
      >>> calls = {"short": lambda: 1, "long": lambda: sum(range(10_000))}
      >>> sorted(median_seconds(calls))
      ['long', 'short']
    """
    _seconds(calls, range(1))
    first = _seconds(calls, range(1))
    round_seconds = sum(sum(each) for each in first.values())
    count = max(3, min(60, int(SECONDS / max(round_seconds, 1e-9))))
    rest = _seconds(calls, range(1, count))
    return {name: statistics.median(first[name] + rest[name]) for name in calls}


def _seconds(calls: Mapping[str, Callable[[], Any]], rounds: range) -> dict[str, list[float]]:
    """How long each call took in each round; round i begins with call i."""
    names = list(calls)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in rounds:
        first = turn % max(len(names), 1)
        for name in names[first:] + names[:first]:
            begin = time.perf_counter()
            jax.block_until_ready(calls[name]())
            seconds[name].append(time.perf_counter() - begin)
    return seconds


def timing(seconds: Sequence[float], reference: float) -> Timing:
    """The `Timing` of one call's rounds against the median of another's.

    Example:
      >>> timing([1.0, 2.0, 3.0, 4.0, 5.0], reference=6.0).ratio
      2.0
    """
    median = statistics.median(seconds)
    low, _, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return Timing(median, reference / median, (high - low) / median)
