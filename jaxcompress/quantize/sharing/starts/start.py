"""What a start is: the levels that k-means begins with."""

from collections.abc import Callable
from typing import NamedTuple

from jaxcompress.core.types import Array
from jaxcompress.quantize.sharing.points import Points


class Start(NamedTuple):
    """Where the levels of a codebook begin, before k-means moves them.

    Attributes:
      levels: (points, count) -> (blocks, count) float32 in any order, in the unit of
        the points. Zero is a level besides, so that none needs to lie there.
    """

    levels: Callable[[Points, int], Array]
