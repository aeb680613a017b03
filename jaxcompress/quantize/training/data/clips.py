"""Clipped ranges of data: learned ones, PACT's, and ones that are given, DoReFa's."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.checks import check_number, check_positive, check_size
from jaxcompress.core.formats.codebooks import Codebook
from jaxcompress.core.formats.grids import within
from jaxcompress.core.formats.scales import Float32
from jaxcompress.core.observers import Range
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.quantize.execution.activations import check_data_spec
from jaxcompress.quantize.training.data.method import (
    Learned,
    RangeMethod,
    Statistics,
    check_zero_point,
    positive,
    slope,
    unpenalized,
)


def learned_clip(spec: QuantSpec, *, start: float = 10.0, penalty: float = 1.0) -> RangeMethod:
    """Learns where data are clipped above: codes reach from zero to the clip.

    Not for: data on both sides of zero, whose range `learned_step` or
    `learned_step_and_offset` learns.

        value = codes of clip(x, 0, clip) on [0, clip]
        d value / d x = 1 where 0 <= x < clip, else 0
        d value / d clip = 1 where x >= clip, else 0
        penalty of the loss = penalty · clip²

    It takes the place of a relu, or follows one. The penalty presses the clip down, to
    where finer steps and clipped values cost the loss the same.

    Also known as: PACT, parameterized clipping activation.

    Args:
      spec: integers with a zero point, as `formats.uint4()`, with float32 scales and
        without groups.
      start: of the clip, above 0.
      penalty: weight of its square in `penalty(companions)`, at least 0; the same as
        the weight decay of the model is usual.

    Returns:
      RangeMethod that trains `{"clip": ()}`.

    Raises:
      TypeError: `spec` is no QuantSpec.
      ValueError: `spec` has no integers, no zero point, other scales, or groups; a
        number is out of range.

    Example:
      >>> method = jc.quantize.training.data.learned_clip(jc.quantize.formats.uint4())
      >>> learned = {"clip": jnp.float32(6.0)}
      >>> float(method.range(learned).high), float(method.penalty(learned))
      (6.0, 36.0)

    Source: Choi et al. 2018, arXiv:1805.06085, section 3. Differs: a trained clip below
    zero is read as its magnitude, and never below 2**-100.
    """
    check_zero_point("learned_clip", spec)
    check_positive("learned_clip", "start", start)
    check_size("learned_clip", "penalty", penalty)
    begin, weight = float(start), float(penalty)

    def started(found: Statistics) -> Learned:
        del found
        return {"clip": jnp.float32(begin)}

    def ends(learned: Learned) -> Range:
        return Range(jnp.zeros((), jnp.float32), positive(learned["clip"]))

    def passing(x: Array, learned: Learned, steps: Array) -> Array:
        del steps
        top = jax.lax.stop_gradient(positive(learned["clip"]))
        above = x >= top
        clip = learned["clip"] * slope(learned["clip"])
        return jnp.where((x >= 0) & ~above, x, 0.0) + jnp.where(above, clip, 0.0)

    def squared(learned: Learned) -> Array:
        return weight * jnp.square(learned["clip"])

    return RangeMethod(spec, started, ends, passing, squared)


def fixed_range(low: float, high: float, spec: QuantSpec) -> RangeMethod:
    """Rounds data on a range that is given; nothing is learned.

    Not for: data whose range is not known: `learned_step` learns it, and
    `execution.static` takes what was calibrated.

        value = codes of clip(x, low, high) on [low, high]
        d value / d x = 1 where low <= x <= high, else 0

    With 0 and 1 and k bits it is q_k(clip(x, 0, 1)). For a range that data gave, see
    `graph.calibrate` and `execution.static`.

    Also known as: DoReFa activations, k-bit activation quantization.

    Args:
      low: at most 0.
      high: at least 0, and above `low`.
      spec: a format without groups and with float32 scales, whose first and last level
        lie as `low` and `high` do: where it has no zero point, to both sides of zero.

    Returns:
      RangeMethod that trains `{}`.

    Raises:
      TypeError: `spec` is no QuantSpec.
      ValueError: the range is none, or does not hold zero; `spec` has other levels than
        it, a codebook to be learned, other scales, or groups.

    Example:
      >>> uint2 = jc.quantize.formats.uint2()
      >>> method = jc.quantize.training.data.fixed_range(0.0, 1.0, uint2)
      >>> float(method.range({}).high)
      1.0

    Source: Zhou et al. 2016, arXiv:1606.06160, section 2.5.
    """
    check_data_spec("fixed_range", spec)
    check_number("fixed_range", "low", low)
    check_number("fixed_range", "high", high)
    low, high = float(np.float32(low)), float(np.float32(high))
    if not low <= 0 <= high or low == high:
        raise ValueError(
            f"fixed_range(low={low}, high={high}) must hold zero, which is always a code: "
            "low <= 0 <= high, and not both 0."
        )
    if isinstance(spec.levels, Codebook) or not isinstance(spec.scales, Float32):
        raise ValueError(
            f"fixed_range(spec={spec}) must have levels that are known and float32 scales, for its "
            "ends to be those of the range. Pass formats.uint4() or int8()."
        )
    first, last = spec.levels.ends
    if spec.symmetric and not np.isclose(low * last, high * first):
        raise ValueError(
            f"fixed_range(low={low}, high={high}, spec={spec}): the codes have no zero point and "
            f"reach from {first} to {last} steps, which [{low}, {high}] does not. Pass "
            "formats.uint8() or another of uintN(), or a range as theirs."
        )

    def start(found: Statistics) -> Learned:
        del found
        return {}

    def ends(learned: Learned) -> Range:
        del learned
        return Range(jnp.float32(low), jnp.float32(high))

    def passing(x: Array, learned: Learned, steps: Array) -> Array:
        del steps
        return jnp.where(within(x, ends(learned)), x, 0.0)

    return RangeMethod(spec, start, ends, passing, unpenalized)
