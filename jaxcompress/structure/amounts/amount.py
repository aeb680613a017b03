"""An amount chooses the width of every family.

Within a family the units of the lowest scores are removed; `importance` scores them.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from jaxcompress.structure.widths import (
    Candidates,
    Widths,
)

HostScores = Mapping[str, np.ndarray]
"""Finite scores of every candidate."""


class Amount(NamedTuple):
    """Two functions.

    Attributes:
      check: (candidates) -> None; raises a ValueError, before anything is scored, where
        no widths will do.
      widths: (candidates, scores) -> the width of every candidate.
    """

    check: Callable[[Candidates], None]
    widths: Callable[[Candidates, HostScores], Widths]
