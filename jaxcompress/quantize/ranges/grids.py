"""The grid of each block of an array, by a range estimator or a scale search.

The one way from `ranges=` to a grid, for whatever rounds.
"""

import jax.numpy as jnp

from jaxcompress.core.formats.cuts import Cut
from jaxcompress.core.formats.grids import Grid, covered, grid
from jaxcompress.core.kinds import check_takes
from jaxcompress.core.observers import Range
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.quantize.ranges.estimator import RangeEstimator, estimate
from jaxcompress.quantize.scales.search import ScaleSearch

Ranges = RangeEstimator | ScaleSearch
"""What finds the grid of a block of weights."""


def found_grid(
    ranges: Ranges, blocks: Array, parts: Cut, spec: QuantSpec, second_moment: Array | None = None
) -> Grid:
    """The grid of each block of an array that was cut.

    Args:
      ranges: a range estimator, or a scale search.
      blocks: the array in the shape of its cut, float32.
      parts: the cut.
      spec: the format.
      second_moment: of the inputs of a flat (outputs, inputs) matrix, (inputs, inputs),
        for searches that weigh errors with it; None for the identity.

    Returns:
      Grid of the rank of `blocks`, whose shared axes have size 1.

    Example:
      >>> weight, spec = jnp.array([[0.5, -7.0], [14.0, 2.0]]), jc.quantize.int4()
      >>> parts = Cut(weight.shape, shared=(1,), entries=(), leaf=(0, 1))
      >>> found_grid(jc.quantize.ranges.min_max, weight, parts, spec).scale
      Array([[1.],
             [2.]], dtype=float32)
    """
    return found_cover(ranges, blocks, parts, spec, second_moment)[1]


def found_cover(
    ranges: Ranges, blocks: Array, parts: Cut, spec: QuantSpec, second_moment: Array | None = None
) -> tuple[Range, Grid]:
    """The range outside of which values are clipped, and the grid; as `found_grid`."""
    if isinstance(ranges, ScaleSearch):
        on = ranges.find(blocks, parts, spec, second_moment)
        low, high = spec.levels.ends
        if on.codebook is not None:
            low, high = jnp.min(on.codebook, axis=-1), jnp.max(on.codebook, axis=-1)
        return Range(low * on.steps(spec), high * on.steps(spec)), on
    cover = covered(estimate(ranges, blocks, parts.shared, spec), spec)
    return cover, grid(cover, spec, parts)


def check_ranges(caller: str, ranges: Ranges) -> None:
    """Raises a TypeError unless it is an estimator or a scale search.

    Example:
      >>> check_ranges("nearest", (-1.0, 1.0))
      Traceback (most recent call last):
      TypeError: nearest(ranges=(-1.0, 1.0)) must be a function. Pass an estimator, as
      ranges.min_max, whose options functools.partial binds, or a search of scales.
    """
    mend = (
        "Pass an estimator, as ranges.min_max, whose options functools.partial binds, or a search "
        "of scales."
    )
    if not isinstance(ranges, ScaleSearch):
        check_takes(caller, "ranges", ranges, 2, mend)
