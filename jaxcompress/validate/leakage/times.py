"""Examples that lie after those they are to predict."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxcompress.core.checks import is_number
from jaxcompress.core.kinds import check_function
from jaxcompress.core.messages import shown
from jaxcompress.validate.leakage import matches
from jaxcompress.validate.leakage.blocks import Block
from jaxcompress.validate.leakage.check import Check, Pairs, Reading, compared
from jaxcompress.validate.leakage.parts import Part, part_of
from jaxcompress.validate.leakage.reports import Overlap

DAY = np.timedelta64(1, "D")


def times(of: Part, *, gap: Any = 0) -> Check:
    """Looks for examples of an earlier set that do not lie before those of a later one.

    Not for: sets that need not follow one another; `exact` and `groups` look for what
    they share.

    Sets are in the order of time in which `leakage.check` has them: training data
    first. A pair of sets is in order where

        last time of the first + gap < first time of the second

    Args:
      of: `of(examples)`, the time of each example (n,): real numbers or datetime64.
      gap: how much must lie between, at least 0, in the unit of the times, or a
        timedelta64 for dates: as long as a target looks ahead.

    Returns:
      A check for `leakage.check`; every example of the first set that lies too late is
      in `touched`, and the examples of the second that lie before the last of the first
      are paired with it.

    Raises:
      TypeError: `of` is no function.
      ValueError: the gap is below 0 or no duration.

    Example:
      >>> leakage = jc.validate.leakage
      >>> sets = {"train": {"day": [1, 5, 2]}, "test": {"day": [4, 6]}}
      >>> report = leakage.check(sets, [leakage.times(lambda e: e["day"])])
      >>> report.overlaps[0].pairs, report.overlaps[0].touched
      (array([[1, 0]]), array([1]))

    Also known as: look-ahead bias, temporal leakage, purging and embargo (de Prado).
    """
    check_function("times", "of", of, "It takes the examples and gives their times.")
    _check_gap(gap)

    def update(block: Block, kept: list[np.ndarray]) -> list[np.ndarray]:
        return [*kept, _checked(part_of(of, block.examples), block.start)]

    def find(readings: Sequence[Reading], pairs: Pairs) -> list[Overlap]:
        moments = [np.concatenate(each.kept) for each in readings]
        if len({each.dtype.kind == "M" for each in moments}) > 1:
            raise TypeError("times(of) gives dates for one set and numbers for another.")
        between = gap
        if moments[0].dtype.kind == "M" and not isinstance(gap, np.timedelta64):
            if gap:
                raise TypeError(f"times(gap={shown(gap)}): of dates it must be a timedelta64.")
            between = 0 * DAY
        return [
            Overlap(
                "time",
                readings[i].name,
                readings[j].name,
                readings[j].n,
                *_too_late(moments[i], moments[j], between),
            )
            for i, j in compared(readings, pairs)
            if i != j
        ]

    what = "time: examples of an earlier set that do not lie before a later one"
    return Check(f"{what}, gap {gap}", list, update, find, rereads=False)


def _too_late(first: np.ndarray, second: np.ndarray, gap: Any) -> matches.Match:
    last = int(np.argmax(first))
    late = np.flatnonzero(second <= first[last] + gap)
    after = first[last] + gap - second[late]
    scores = after / DAY if after.dtype.kind == "m" else after.astype(np.float64)
    pairs = np.stack([np.full(late.size, last), late], axis=1)
    return matches.Match(pairs, scores, np.flatnonzero(first + gap >= second.min()))


def _checked(moments: Any, start: int) -> np.ndarray:
    """A copy, since a view of one column would keep the whole block."""
    if not isinstance(moments, np.ndarray) or moments.ndim != 1 or moments.dtype.kind not in "iufM":
        raise TypeError(
            "times(of) must give one array (n,) of real numbers or datetime64, not "
            f"{shown(moments)}."
        )
    bad = np.flatnonzero(np.isnat(moments) if moments.dtype.kind == "M" else np.isnan(moments))
    if bad.size:
        raise ValueError(f"times(of): example {start + bad[0]} has no time, {moments[bad[0]]}.")
    if moments.dtype.kind in "iu":
        return moments.astype(np.int64)  # in 8 bits a gap overflows
    return moments.astype(np.float64) if moments.dtype.kind == "f" else moments.copy()


def _check_gap(gap: Any) -> None:
    if isinstance(gap, np.timedelta64):
        fine = not np.isnat(gap) and gap >= 0 * DAY
    else:
        fine = is_number(gap) and math.isfinite(gap) and gap >= 0
    if not fine:
        raise ValueError(f"times(gap={shown(gap)}) must be a number or timedelta64, at least 0.")
