"""How long functions take on this device, one against the other."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

Probe = Callable[[Mapping[str, Callable[[], Any]]], dict[str, float]]
"""Functions by name to the seconds that each takes."""


def interleaved(functions: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
    """The median seconds of each function, called in turn, so that noise falls on all.

    Args:
      functions: by name, without arguments; a first call compiles and is not counted.

    Returns:
      Seconds by name: medians of as many rounds as fit into a second, at least three
      and at most sixty.

    Example:
      >>> sorted(interleaved({"short": lambda: 1, "long": lambda: sum(range(10_000))}))
      ['long', 'short']
    """
    for call in functions.values():
        jax.block_until_ready(call())
    rounds = [_round(functions)]
    count = max(3, min(60, int(1 / max(sum(rounds[0].values()), 1e-9))))
    rounds += [_round(functions) for _ in range(count - 1)]
    return {name: statistics.median(each[name] for each in rounds) for name in functions}


def _round(functions: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
    seconds = {}
    for name, call in functions.items():
        begin = time.perf_counter()
        jax.block_until_ready(call())
        seconds[name] = time.perf_counter() - begin
    return seconds
