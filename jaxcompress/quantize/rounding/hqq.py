"""Half-quadratic quantization: steps and zero points found without data."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.checks import check_count, check_inside, check_positive
from jaxcompress.core.formats.grids import Grid
from jaxcompress.core.formats.sharing import spread
from jaxcompress.core.observers import Range
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.quantize.ranges.extremes import min_max
from jaxcompress.quantize.ranges.grids import Ranges, check_ranges
from jaxcompress.quantize.rounding.blocks import block_sums, grid_within
from jaxcompress.quantize.rounding.matrices import decoded, encoded, grid_of
from jaxcompress.quantize.rounding.rounding import Rounded, Rounding, coded
from jaxcompress.quantize.scales.blockwise import range_of, where_better

GROWTH = 1.01
"""By what the penalty grows in each round."""


def hqq(
    ranges: Ranges = min_max,
    *,
    norm: float = 0.7,
    penalty: float = 10.0,
    rounds: int = 20,
) -> Rounding:
    """Finds steps and zero points that few large errors move little, without data.

    Not for: models with calibration data, on which `gptq` loses less.

    Also known as: HQQ, half-quadratic quantization.

    Of each block of weights w with step s, zero point z and codes q, in rounds:

        e = w - s · (q - z),   rest = sign(e) · max(|e| - |e|**(norm - 1) / penalty, 0)
        z <- round(mean(q - (w - rest) / s))
        s <- sum((w - rest) · (q - z)) / sum((q - z)²),   penalty <- 1.01 · penalty

    with e in units of the first step. The round with the least sum of |e|**norm stays,
    so it is never above that of rounding to nearest. Of a format without a zero point
    only the step is found, and q - z is the level that a code stands for.

    Data make no difference but to `ranges`. Of use from 4 bits down; at 8 bits it
    changes next to nothing.

    Args:
      ranges: which range the codes of a block cover at first.
      norm: the power of errors that is made small, in (0, 1).
      penalty: how close the rest stays to the error at first, above 0. At 10, errors of
        more than about a quarter of a step count as outliers.
      rounds: at least 1.

    Returns:
      Rounding.

    Raises:
      TypeError: `ranges` is no estimator.
      ValueError: an option is outside its range.

    Example:
      >>> params = {"kernel": jnp.array([[1.0], [0.6], [-0.6], [0.6]])}
      >>> int2 = jc.quantize.formats.int2()
      >>> half_quadratic = jc.quantize.rounding.hqq()
      >>> found, _ = jc.quantize.quantize(params, int2, rounding=half_quadratic)
      >>> found["kernel"].materialize().ravel().round(2)
      Array([ 0.6,  0.6, -0.6,  0.6], dtype=float32)

    Source: Badri and Shaji 2023, "Half-Quadratic Quantization of Large Machine Learning
    Models". Differs: the zero point is a whole number, so the step is found too, by
    least squares; formats without a zero point are taken; errors are in steps, so that
    nothing depends on the unit of weights; each block keeps its best round.
    """
    check_ranges("hqq", ranges)
    check_inside("hqq", "norm", norm, 0, 1)
    check_positive("hqq", "penalty", penalty)
    rounds = check_count("hqq", "rounds", rounds)
    penalties = np.float32(penalty) * np.float32(GROWTH) ** np.arange(rounds, dtype=np.float32)

    def round(weight: Array, second_moment: Array, spec: QuantSpec) -> Rounded:
        start = grid_of(weight, spec, ranges, second_moment)
        unit = start.steps(spec)
        largest = jnp.max(unit)

        def errors(on: Grid) -> Array:
            error = jnp.abs(decoded(encoded(weight, on, spec), on, spec) - weight) / largest
            return block_sums(error**norm, unit.shape)

        def turn(state: tuple[Grid, Range, Array], penalty: Array):
            on, best, least = state
            found = _moved(weight, on, unit, spec, lambda e: _shrunk(e, norm, penalty))
            on = grid_within(found, start, weight.shape, spec)
            error = errors(on)
            better = error < least
            best = jax.tree.map(lambda new, old: jnp.where(better, new, old), found, best)
            return (on, best, jnp.minimum(error, least)), None

        first = errors(start)
        begun = (start, range_of(start, spec), first)
        (_, best, _), _ = jax.lax.scan(turn, begun, jnp.asarray(penalties))
        on = grid_within(best, start, weight.shape, spec)
        on = where_better(errors(on) < first, on, start)
        return Rounded(encoded(weight, on, spec), on)

    return coded(round)


def _moved(weight: Array, on: Grid, unit: Array, spec: QuantSpec, shrunk) -> Range:
    """The ranges of the zero points and steps that fit a matrix's codes best.

    Args:
      weight: (outputs, inputs).
      on: the grid of its codes.
      unit: of each block what errors are measured in.
      spec: the format.
      shrunk: errors in units -> what of them is left out as outliers.
    """
    units, steps = spread(unit, weight.shape), on.steps(spec)
    codes = encoded(weight, on, spec)
    values = decoded(codes, on, spec)
    target = (weight / units) - shrunk((weight - values) / units)
    levels = values / spread(steps, weight.shape)
    lowest, highest = spec.levels.ends
    zero = jnp.zeros_like(steps)
    if on.zero_point is not None:
        count = weight.size // steps.size
        offsets = codes - target * units / spread(steps, weight.shape)
        zero = jnp.clip(jnp.round(block_sums(offsets, steps.shape) / count), lowest, highest)
        levels = codes - spread(zero, codes.shape)
    energy = block_sums(jnp.square(levels), steps.shape)
    fit = block_sums(target * levels, steps.shape) / jnp.where(energy > 0, energy, 1.0)
    steps = jnp.where(fit > 0, fit * unit, steps)
    return Range((lowest - zero) * steps, (highest - zero) * steps)


def _shrunk(error: Array, norm: float, penalty: Array) -> Array:
    """What minimizes |rest|**norm + penalty / 2 · (rest - error)², nearly."""
    size = jnp.abs(error)
    # Where the error is 0 the power is infinite, and the rest 0 whatever stands there.
    threshold = jnp.where(size > 0, size, 1.0) ** (norm - 1) / penalty
    return jnp.sign(error) * jnp.maximum(size - threshold, 0.0)
