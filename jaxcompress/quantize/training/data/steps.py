"""Learned steps of data, without and with an offset: LSQ and LSQ+."""

import jax
import jax.numpy as jnp

from jaxcompress.core.observers import Range
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.quantize.training.data.method import (
    LARGEST,
    Learned,
    RangeMethod,
    Statistics,
    check_whole_steps,
    check_zero_point,
    positive,
    slope,
    unpenalized,
)


def learned_step(spec: QuantSpec) -> RangeMethod:
    """Learns the step of the codes of data by its own gradient.

    Not for: data whose values below zero are few and small, as behind a gelu;
    `learned_step_and_offset` learns a zero point.

        value = step · clip(round(x / step), lowest, highest)
        d value / d x = 1 where lowest < x / step < highest, else 0
        d value / d step = round(x / step) - x / step there, else lowest or highest,
                           times 1 / sqrt(features · highest)

    with the lowest and highest code of the format: -127 and 127 for `int8()`, 0 and 255
    for `uint8()`, which suits data behind a relu. The step starts at
    2 · mean|x| / sqrt(highest).

    Also known as: learned step size quantization (LSQ) of activations.

    Args:
      spec: integers around zero or from zero on, with float32 scales and without
        groups; the data of a site share one step whatever `per` it has.

    Returns:
      RangeMethod that trains `{"step": ()}`.

    Raises:
      TypeError: `spec` is no QuantSpec.
      ValueError: `spec` has no integers, other scales, groups, or no code above zero.

    Example:
      >>> method = jc.quantize.training.data.learned_step(jc.quantize.int4())
      >>> float(method.range({"step": jnp.float32(0.5)}).high)
      3.5

    Source: Esser et al. 2020, arXiv:1902.08153, section 2. Differs: features are those
    that are summed over, at a convolution its input channels; codes of `int4()` end at
    -7; a trained number below zero is read as its magnitude, with the sign of the
    gradient turned, and never below 2**-100, so that no step is 0.
    """
    check_whole_steps("learned_step", spec)
    if not spec.lowest <= 0 < spec.highest:
        raise ValueError(
            f"learned_step(spec={spec}) must have codes from zero or below it to above it. Pass "
            "int8() or formats.uint8()."
        )
    lowest, highest = float(spec.lowest), float(spec.highest)

    def start(found: Statistics) -> Learned:
        step = 2 * (found.mean / jnp.sqrt(jnp.float32(highest)))
        return {"step": jnp.minimum(step, LARGEST)}

    def ends(learned: Learned) -> Range:
        step = positive(learned["step"])
        return Range(step * lowest, step * highest)

    def passing(x: Array, learned: Learned, steps: Array) -> Array:
        ratio, share = _fixed_ratio(x, learned), _share(x, highest)
        inside = (ratio > lowest) & (ratio < highest)
        # Finite everywhere: an entry that is not would spoil the sum, chosen or not.
        by_step = jnp.where(inside, steps - ratio, steps) * slope(learned["step"])
        return jnp.where(inside, x, 0.0) + share * learned["step"] * by_step

    return RangeMethod(spec, start, ends, passing, unpenalized)


def learned_step_and_offset(spec: QuantSpec) -> RangeMethod:
    """Learns the step and the offset of the codes of data that lie to both sides.

    Not for: execution on integers, for which `plan_execution` takes symmetric codes, as
    those of `learned_step`.

        value = step · clip(round((x - offset) / step), lowest, highest) + offset
        d value / d x = 1 where lowest < (x - offset) / step < highest, else 0
        d value / d step = as in LSQ, of x - offset in place of x
        d value / d offset = 0 there, else 1

    For data of activations as swish and gelu, whose values below zero are few and
    small. Both gradients are multiplied by 1 / sqrt(features · (highest - lowest)). The
    range starts at the smallest and the largest value.

    Also known as: LSQ+, learned zero point, asymmetric learned quantization.

    Args:
      spec: integers with a zero point, as `formats.uint8()`, with float32 scales and
        without groups.

    Returns:
      RangeMethod that trains `{"step": (), "offset": ()}`.

    Raises:
      TypeError: `spec` is no QuantSpec.
      ValueError: `spec` has no integers, no zero point, other scales, or groups.

    Example:
      >>> uint4 = jc.quantize.formats.uint4()
      >>> method = jc.quantize.training.data.learned_step_and_offset(uint4)
      >>> learned = {"step": jnp.float32(0.5), "offset": jnp.float32(-1.1)}
      >>> [float(end) for end in method.range(learned)]
      [-1.0, 6.5]

    Source: Bhalgat et al. 2020, arXiv:2004.09576, sections 3.1 and 3.2. Differs: the
    offset is rounded to whole steps, straight through, and keeps zero among the codes,
    so that it ships as an int zero point; the start is the range of the data, with no
    search for the least squared error; steps stay positive as in `learned_step`.
    """
    check_zero_point("learned_step_and_offset", spec)
    lowest, highest = float(spec.lowest), float(spec.highest)
    span = highest - lowest

    def start(found: Statistics) -> Learned:
        low, high = jnp.minimum(found.low, 0.0), jnp.maximum(found.high, 0.0)
        step = high / span - low / span
        # Where the step is too large to be read as it is, the offset shrinks with it.
        share = jnp.minimum(step, LARGEST) / jnp.where(step > 0, step, 1.0)
        return {"step": share * step, "offset": share * low - lowest * (share * step)}

    def zero_point(learned: Learned) -> Array:
        """The code of zero, a whole number of the spec's."""
        offset = learned["offset"] / positive(learned["step"])
        # A clip alone would make a finite number of an infinity.
        return jnp.clip(-jnp.round(offset), lowest, highest) + 0 * learned["offset"]

    def ends(learned: Learned) -> Range:
        step, zero = positive(learned["step"]), zero_point(learned)
        return Range(step * (lowest - zero), step * (highest - zero))

    def passing(x: Array, learned: Learned, steps: Array) -> Array:
        ratio, share = _fixed_ratio(x, learned), _share(x, span)
        zero = zero_point(jax.lax.stop_gradient(learned))
        inside = (ratio > lowest - zero) & (ratio < highest - zero)
        by_step = jnp.where(inside, steps - ratio, steps + zero) * slope(learned["step"])
        by_offset = jnp.where(inside, 0.0, 1.0)
        trained = learned["step"] * by_step + learned["offset"] * by_offset
        return jnp.where(inside, x, 0.0) + share * trained

    return RangeMethod(spec, start, ends, passing, unpenalized)


def _fixed_ratio(x: Array, learned: Learned) -> Array:
    """The data in steps, without a gradient."""
    return jax.lax.stop_gradient(x / positive(learned["step"]))


def _share(x: Array, highest: float) -> float:
    """What gradients of steps are multiplied by, to be as large as those of weights."""
    return (max(x.shape[-1], 1) * highest) ** -0.5
