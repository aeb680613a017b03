"""What a scale search is: it chooses among stored scales, which no range can name."""

from collections.abc import Callable
from typing import NamedTuple

from jaxcompress.core.formats.cuts import Cut
from jaxcompress.core.formats.grids import Grid
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array


class ScaleSearch(NamedTuple):
    """Finds the stored scales of an array's blocks; goes wherever `ranges=` goes.

    A range becomes a scale, which storage rounds, and all ranges of a leaf decide on
    its second scale. A search fixes the second scale first and chooses among the scales
    that can be stored under it.

    Attributes:
      find: (blocks, parts, spec, second_moment) -> Grid. The blocks are the array in
        the shape of its cut `parts`, float32. The second moment is None, or that of the
        inputs of a flat (outputs, inputs) matrix, (inputs, inputs).
    """

    find: Callable[[Array, Cut, QuantSpec, Array | None], Grid]
