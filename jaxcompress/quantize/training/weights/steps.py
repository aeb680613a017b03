"""Learned steps: the scale of a block is trained, and its zero point may be too."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import Axes
from jaxcompress.core.companions import Companion
from jaxcompress.core.formats.coding import encode
from jaxcompress.core.formats.cuts import Cut
from jaxcompress.core.formats.grids import Grid
from jaxcompress.core.formats.integers import Integers
from jaxcompress.core.formats.scales import SMALLEST_SCALE, Float32
from jaxcompress.core.rules import Rules, as_rules
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array, Selector
from jaxcompress.quantize.assignment import Choice
from jaxcompress.quantize.ranges.extremes import min_max
from jaxcompress.quantize.ranges.grids import found_grid
from jaxcompress.quantize.training.weights.method import (
    Codes,
    Method,
    Trained,
    block_size,
    companion,
)


def learned_steps(
    spec: QuantSpec | Rules[Any], *, axes: Axes | None = None, select: Selector | None = None
) -> Companion:
    """Trains the step of each block beside its weights, by the loss.

    Not for: 8 bits, where rounding by `quantize` without training costs next to
    nothing.

        value = step · clip(round(w / step), lowest, highest)
        d value / d w = 1 inside the range, 0 outside
        d value / d step = round(w / step) - w / step inside, lowest or highest outside

    The gradient of the step is multiplied by 1 / sqrt(n · highest), for n weights in a
    block, so that steps move about as fast as weights do. A step begins at
    2 · mean|w| / sqrt(highest), of the weights that are not 0.

    A step counts by its magnitude, of which the value is an even function: one that an
    update carries past 0 is positive again, and none is ever 0. Weight decay would
    shrink steps; keep it from them. The authors leave the first and the last layer at 8
    bits (by `Rules`), begin with trained floats and halve weight decay at 3 bits.

    Also known as: LSQ, learned step size quantization, trained scales.

    Args:
      spec: integers around zero under float32 scales; or rules of such.
      axes: what `graph.axes` gave; without it the layout default, as in `quantize`.
      select: which leaves; without it every weight that meets data.

    Returns:
      Companion. By leaf name it holds "step", float32 of the blocks. `freeze` gives
      `QTensor`s that materialize to what the view shows, bit for bit under one jit.

    Raises:
      TypeError: as `quantize`; when applied: as `quantize`.
      ValueError: a format has no integers around zero or no float32 scales; when
        applied: as `quantize`, or companions are of other params.

    Example:
      >>> technique = jc.quantize.training.learned_steps(jc.quantize.int4(per="tensor"))
      >>> params = {"kernel": jnp.array([[1.0, -0.2], [0.4, 9.0]])}
      >>> companions = {"kernel": {"step": jnp.array([[0.5]])}}
      >>> technique.view(params, companions)["kernel"]
      Array([[1. , 0. ],
             [0.5, 3.5]], dtype=float32)

    Source: Esser et al. 2020, arXiv:1902.08153, section 2. Differs: one step for each
    output unless the spec is per tensor; zeros do not count in the start, so that it
    does not depend on how much was pruned; codes are odd, from -(2**(b-1) - 1).
    """
    choice = Choice("learned_steps", spec, axes, select)
    for _, each in as_rules(spec).pairs:
        if not (_is_integer(each) and each.symmetric):
            raise ValueError(
                f"learned_steps(spec={each}) must have integers around zero and float32 scales, "
                "whose step is what is learned. Pass int8() or another of intN(); "
                "learned_steps_and_zero_points takes uintN()."
            )
    return companion(choice, Method(_rounded, _passing, _start))


def learned_steps_and_zero_points(
    spec: QuantSpec | Rules[Any], *, axes: Axes | None = None, select: Selector | None = None
) -> Companion:
    """Trains the step and the zero point of each block beside its weights.

    Not for: weights that lie evenly around zero, as most do, for which the steps of
    `learned_steps` are enough.

        z = round(zero)
        value = step · (clip(round(w / step) + z, lowest, highest) - z)
        d value / d w = 1 inside the range, 0 outside
        d value / d step = round(w / step) - w / step inside, lowest - z or highest - z
                           outside
        d value / d zero = 0 inside, -step outside

    Both gradients are multiplied by 1 / sqrt(n · highest), for n weights in a block.
    They begin at the grid of the smallest and the largest weight. Zero stays a level,
    so pruned weights stay 0. Steps count by their magnitude, as in `learned_steps`.

    Also known as: LSQ+, learned zero points, learned offsets.

    Args:
      spec: integers with a zero point under float32 scales; or rules of such.
      axes: what `graph.axes` gave; without it the layout default, as in `quantize`.
      select: which leaves; without it every weight that meets data.

    Returns:
      Companion. By leaf name it holds "step" and "zero_point", float32 of the blocks.

    Raises:
      TypeError: as `learned_steps`.
      ValueError: a format has no integers with a zero point or no float32 scales; when
        applied: as `learned_steps`.

    Example:
      >>> uint4 = jc.quantize.formats.uint4()
      >>> technique = jc.quantize.training.learned_steps_and_zero_points(uint4)
      >>> params = {"kernel": jnp.array([[1.6], [-0.2], [0.4]])}
      >>> trained = {"step": jnp.array([[0.1]]), "zero_point": jnp.array([[3.2]])}
      >>> technique.view(params, {"kernel": trained})["kernel"][:, 0]
      Array([ 1.2, -0.2,  0.4], dtype=float32)

    Source: Bhalgat et al. 2020, arXiv:2004.09576, section 3. Differs: its offset is the
    zero point times the step here, rounded to whole steps so that integers execute it.
    """
    caller = "learned_steps_and_zero_points"
    choice = Choice(caller, spec, axes, select)
    for _, each in as_rules(spec).pairs:
        if not _is_integer(each) or each.symmetric:
            raise ValueError(
                f"{caller}(spec={each}) must have integers with a zero point and float32 scales. "
                "Pass uint8() or another of uintN(); learned_steps takes intN()."
            )
    return companion(choice, Method(_rounded, _passing, _start_at_extremes))


def positive(step: Array) -> Array:
    """The magnitude of a trained step, never 0, with the gradient of a magnitude."""
    # Not `jnp.abs`, which has no gradient at 0 and would keep a step there.
    magnitude = jnp.where(step < 0, -step, step)
    floor = jnp.maximum(magnitude, SMALLEST_SCALE)  # NaN where the step is
    return magnitude + jax.lax.stop_gradient(floor - magnitude)


def slowed(trained: Array, share: float) -> Array:
    """The same value with this share of its gradient."""
    return share * trained + jax.lax.stop_gradient(trained - share * trained)


def _is_integer(spec: QuantSpec) -> bool:
    return isinstance(spec.levels, Integers) and isinstance(spec.scales, Float32)


def _start(blocks: Array, parts: Cut, spec: QuantSpec) -> Trained:
    magnitudes = jnp.abs(blocks)
    count = jnp.sum(magnitudes != 0, parts.shared, keepdims=True)
    mean = jnp.sum(magnitudes, parts.shared, keepdims=True) / jnp.maximum(count, 1)
    # Of huge weights the sum overflows, and so might the last code times the step.
    largest = (1 - 2**-20) * float(jnp.finfo(jnp.float32).max) / max(spec.highest, -spec.lowest)
    step = jnp.minimum(2 / math.sqrt(spec.highest) * mean, largest)
    return {"step": jnp.where(mean > 0, step, 1.0)}


def _start_at_extremes(blocks: Array, parts: Cut, spec: QuantSpec) -> Trained:
    on = found_grid(min_max, blocks, parts, spec)
    return {"step": on.scale, "zero_point": jnp.asarray(on.zero_point, jnp.float32)}


def _grid(trained: Trained, spec: QuantSpec) -> Grid:
    on = Grid(positive(trained["step"]))
    if spec.symmetric:
        return on
    zero = jnp.clip(jnp.round(trained["zero_point"]), spec.lowest, spec.highest)
    # No int says that a zero point is not finite: the scale does.
    scale = on.scale + 0 * trained["zero_point"]
    return Grid(scale, zero_point=zero.astype(jnp.int32))


def _zero(found: Codes) -> Array:
    return jnp.asarray(found.on.zero_point, jnp.float32)


def _rounded(blocks: Array, trained: Trained, parts: Cut, spec: QuantSpec) -> Codes:
    del parts
    on = _grid(trained, spec)
    return Codes(encode(blocks, on, spec), on)


def _passing(blocks: Array, trained: Trained, found: Codes, parts: Cut, spec: QuantSpec) -> Array:
    share = 1 / math.sqrt(block_size(parts) * spec.highest)
    step = positive(slowed(trained["step"], share))
    zero = jnp.zeros((), jnp.float32)
    if not spec.symmetric:
        trained_zero = slowed(trained["zero_point"], share)
        zero = trained_zero + jax.lax.stop_gradient(_zero(found) - trained_zero)
    fixed = jax.lax.stop_gradient(zero)
    ratio = blocks / step
    inside = (ratio >= spec.lowest - fixed) & (ratio <= spec.highest - fixed)
    rounding = jax.lax.stop_gradient(found.codes - fixed - ratio)
    return jnp.where(inside, blocks + step * rounding, step * (found.codes - zero))
