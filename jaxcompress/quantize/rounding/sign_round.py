"""SignRound: offsets of weights and ends of ranges, tuned by the signs of slopes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.checks import check_count, check_positive
from jaxcompress.core.formats.grids import Grid, covered, within
from jaxcompress.core.formats.sharing import spread
from jaxcompress.core.observers import Range
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.quantize.ranges.extremes import min_max
from jaxcompress.quantize.ranges.grids import Ranges, check_ranges
from jaxcompress.quantize.rounding.blocks import grid_within
from jaxcompress.quantize.rounding.losses import Candidate, better, in_bands, output_losses
from jaxcompress.quantize.rounding.matrices import decoded, encoded, grid_of
from jaxcompress.quantize.rounding.neighbours import neighbours
from jaxcompress.quantize.rounding.rounding import Rounded, Rounding, coded
from jaxcompress.quantize.scales.blockwise import range_of

_MORE = 1 + 2.0**-20


class Tuned(NamedTuple):
    """What is tuned of one matrix.

    Attributes:
      offsets: (outputs, inputs) in [-1/2, 1/2], upwards, in gaps between levels.
      low: (row blocks, column blocks) factors of the lower ends of ranges.
      high: those of the upper ends.
    """

    offsets: Array
    low: Array
    high: Array


def sign_round(
    *,
    steps: int = 200,
    travel: float = 0.5,
    widest: float = 1.0,
    ranges: Ranges = min_max,
) -> Rounding:
    """Tunes what each weight is rounded with, by the signs of gradients.

    Not for: the least loss at 3 and 2 bits, which `gptq` had with fitted ranges and
    half a correction.

    Also known as: SignRound, AutoRound, signed gradient descent (SignSGD).

    Of each weight an offset v, of each block of weights two factors a and b:

        w' = step · (clip(round(w / step + v) + zero, lowest, highest) - zero)
        step = (a · high - b · low) / (highest - lowest)

    from v = 0 and a = b = 1 on, where it rounds to nearest. All move by the sign of the
    gradient of trace((w' - w) · H · (w' - w)ᵀ), straight through the rounding, in steps
    that fall to 0. The best step stays, of each row of blocks, so that the loss is
    never above that of rounding to nearest. Without data H is the identity; an input
    that is always 0 counts in it as the mean of the others.

    In formats whose levels are not even an offset is in gaps between the two levels
    beside a weight. One that is a level already, as 0 is, stays.

    Args:
      steps: at least 1; 200 are enough at 4 bits, 1,000 help at 2.
      travel: how far an offset and a factor can get in all, above 0. Offsets stop at
        1/2 all the same; below 3 bits twice as much helps factors.
      widest: the largest factor, above 0; at 2 ranges can also grow, which helps where
        `ranges` clips.
      ranges: which range the codes of a block cover at first.

    Returns:
      Rounding.

    Raises:
      TypeError: `ranges` is no estimator.
      ValueError: an option is outside its range.

    Example:
      >>> solver = jc.quantize.rounding.sign_round().solver(jc.quantize.int4())
      >>> together = jnp.ones((3, 3))  # inputs that are always equal
      >>> solver.solve(jnp.array([[7.0, 1.4, 2.4]]), together).codes
      Array([[7, 2, 3]], dtype=int8)

    Source: Cheng et al. 2023, arXiv:2309.05516, section 3. Differs: matrix by matrix on
    the second moment of its inputs, in place of a block on samples; each row keeps its
    best step; offsets stop at 1/2; any levels, not only even ones.
    """
    steps = check_count("sign_round", "steps", steps)
    check_positive("sign_round", "travel", travel)
    check_positive("sign_round", "widest", widest)
    check_ranges("sign_round", ranges)

    def round(weight: Array, second_moment: Array, spec: QuantSpec) -> Rounded:
        start = grid_of(weight, spec, ranges, second_moment)
        losses = output_losses(second_moment, start, spec)
        reached = jnp.diagonal(second_moment) != 0

        def tried(tuned: Tuned) -> tuple[Array, Candidate]:
            # Alone as it is, a weight that no data reach is best at its nearest level.
            tuned = tuned._replace(offsets=jnp.where(reached, tuned.offsets, 0.0))
            values, codes, on = rounded(weight, tuned, start, spec)
            each = losses(values - weight)
            return jnp.sum(each), Candidate(in_bands(each, start), codes, on)

        def step(state: tuple[Tuned, Candidate], rate: Array):
            tuned, best = state
            slopes, now = jax.grad(tried, has_aux=True)(tuned)
            return (moved(tuned, slopes, rate, widest), better(now, best)), None

        codes = encoded(weight, start, spec)
        first = losses(decoded(codes, start, spec) - weight)
        best = Candidate(in_bands(first, start), codes, start)
        begun = (untuned(weight, start), best)
        (tuned, best), _ = jax.lax.scan(step, begun, jnp.asarray(rates(steps, travel)))
        best = better(tried(tuned)[1], best)
        return Rounded(best.codes, best.on)

    return coded(round)


def untuned(weight: Array, start: Grid) -> Tuned:
    """With which a matrix is rounded to nearest."""
    ones = jnp.ones(start.scale.shape, jnp.float32)
    return Tuned(jnp.zeros_like(weight), ones, ones)


def rates(steps: int, travel: float) -> np.ndarray:
    """How far each step goes, (steps,): evenly less, `travel` in all."""
    return (2 * float(travel) / (steps + 1) * (1 - np.arange(steps) / steps)).astype(np.float32)


def moved(tuned: Tuned, slopes: Tuned, rate: Array, widest: float) -> Tuned:
    """One step against the signs of slopes; none where a slope is not finite."""

    def along(x: Array, slope: Array) -> Array:
        return x - rate * jnp.where(jnp.isfinite(slope), jnp.sign(slope), 0.0)

    offsets, low, high = jax.tree.map(along, tuned, slopes)
    return Tuned(
        jnp.clip(offsets, -0.5, 0.5), jnp.clip(low, 0.0, widest), jnp.clip(high, 0.0, widest)
    )


def rounded(weight: Array, tuned: Tuned, start: Grid, spec: QuantSpec) -> tuple[Array, Array, Grid]:
    """Rounds a matrix as it is tuned, with gradients straight through.

        ∂w'/∂v = gap,   ∂w'/∂step = (w' - w) / step        inside of the range
        w' = an end of the range                           outside

    Args:
      weight: (outputs, inputs) float32.
      tuned: its offsets and factors.
      start: the grid whose ranges are multiplied.
      spec: the format.

    Returns:
      (values, codes, grid), of which the values have gradients.
    """
    still = jax.lax.stop_gradient
    base, (lowest, highest) = range_of(start, spec), spec.levels.ends
    found = Range(base.low * tuned.low, base.high * tuned.high)
    cover = covered(found, spec)
    on = grid_within(still(found), start, weight.shape, spec)
    beside = neighbours(weight, on, spec)
    goes = beside.share + jnp.sign(beside.gap) * still(tuned.offsets) > 0.5
    codes = jnp.where(goes, beside.other, beside.nearest)
    values = jnp.where(goes, beside.beyond, beside.value)

    def change(x: Array) -> Array:
        """0, with the gradient of x."""
        return spread(x - still(x), weight.shape)

    scale = spread(on.steps(spec), weight.shape)
    low, high = (spread(still(end), weight.shape) for end in cover)
    # The largest weight is not clipped, though its own level may be a bit below it.
    clipped = ~within(weight, Range(low * _MORE, high * _MORE))
    wider = change((cover.high - cover.low) / (highest - lowest)) / scale
    inside = (values - weight) * wider + jnp.abs(beside.gap) * change(tuned.offsets)
    outside = (values - low) * wider + change(cover.low)
    moves = jnp.where(clipped, outside, inside)
    return values + moves, codes, on
