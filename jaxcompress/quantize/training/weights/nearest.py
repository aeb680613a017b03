"""Weights rounded to the grid that a range gives: to nearest, at random, or fixed."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import Axes
from jaxcompress.core.companions import Companion
from jaxcompress.core.formats.codebooks import Codebook
from jaxcompress.core.formats.coding import encode
from jaxcompress.core.formats.cuts import Cut
from jaxcompress.core.formats.grids import Grid, within
from jaxcompress.core.formats.scales import Float32
from jaxcompress.core.observers import Range
from jaxcompress.core.rules import Rules, as_rules
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array, Key, Selector
from jaxcompress.quantize.assignment import Choice
from jaxcompress.quantize.ranges.extremes import min_max
from jaxcompress.quantize.ranges.grids import Ranges, check_ranges, found_cover, found_grid
from jaxcompress.quantize.rounding.neighbours import neighbours
from jaxcompress.quantize.training.weights.method import (
    Codes,
    Method,
    Trained,
    companion,
    drawing,
)


def nearest(
    spec: QuantSpec | Rules[Any],
    *,
    axes: Axes | None = None,
    select: Selector | None = None,
    ranges: Ranges = min_max,
) -> Companion:
    """Trains weights that are rounded to nearest, on scales that follow the weights.

    Not for: one spec from the first step to the last, for which the view
    `fake_quantize` is enough.

    What `fake_quantize` shows, as a companion without anything beside the weights: to
    be delayed, to be a stage of `gradual`, and to be shipped by its own `freeze`.

    Also known as: quantization-aware training (QAT), k-bit weight quantization with
    retraining, fake quantization.

        value = (clip(round(w / scale) + zero_point) - zero_point) · scale
        d value / d w = 1 inside the range of the block, 0 outside

    Args:
      spec: one spec of any format, or rules over the names of the selected leaves.
      axes: what `graph.axes` gave; without it the layout default, as in `quantize`.
      select: which leaves; without it every weight that meets data.
      ranges: which range the codes of a block cover.

    Returns:
      Companion. `freeze` gives `QTensor`s that materialize to what the view shows.

    Raises:
      TypeError: as `quantize`, or `ranges` is no estimator; when applied: as
        `quantize`.
      ValueError: when applied: as `quantize`, or companions are of other params.

    Example:
      >>> technique = jc.quantize.training.nearest(jc.quantize.int4())
      >>> params = {"kernel": jnp.array([[7.0], [2.2]])}
      >>> technique.view(params, technique.init(params))["kernel"][:, 0]
      Array([7., 2.], dtype=float32)

    Source: Jacob et al. 2018, arXiv:1712.05877, section 3.
    """
    check_ranges("nearest", ranges)
    return companion(Choice("nearest", spec, axes, select), _nearest(ranges))


def stochastic(
    spec: QuantSpec | Rules[Any],
    *,
    axes: Axes | None = None,
    select: Selector | None = None,
    ranges: Ranges = min_max,
) -> Companion:
    """Trains weights that are rounded at random to one of the levels beside them.

    Not for: a loss that sees what is shipped, the nearest levels, which `nearest` shows
    from the first step.

        P(upper level) = (w - lower) / (upper - lower),   so E[value] = w in the range
        d value / d w = 1 inside the range of the block, 0 outside

    In training weights are drawn anew at every step, from the step's key; what is
    shipped is rounded to nearest.

    Also known as: stochastic rounding, probabilistic rounding.

    Args:
      spec: one spec of any width and format but a codebook, or rules.
      axes: what `graph.axes` gave; without it the layout default, as in `quantize`.
      select: which leaves; without it every weight that meets data.
      ranges: which range the codes of a block cover.

    Returns:
      Companion whose view needs `Step(count, key)`.

    Raises:
      TypeError: as `nearest`.
      ValueError: a format has a codebook; when applied: as `nearest`, or a step has no
        key.

    Example:
      >>> technique = jc.quantize.training.stochastic(jc.quantize.int4())
      >>> params = {"kernel": jnp.full((1000, 1), 2.25).at[0].set(7.0)}
      >>> step = jc.Step(key=jax.random.key(0))
      >>> seen = technique.view(params, technique.init(params), step)["kernel"]
      >>> sorted(set(seen.ravel().tolist())), bool(abs(seen[1:].mean() - 2.25) < 0.05)
      ([2.0, 3.0, 7.0], True)

    Source: Gupta et al. 2015, arXiv:1502.02551, section 3. Differs: what is kept
    between steps is in full precision.
    """
    check_ranges("stochastic", ranges)
    choice = Choice("stochastic", spec, axes, select)
    for _, each in as_rules(spec).pairs:
        if isinstance(each.levels, Codebook):
            raise ValueError(
                f"stochastic(spec={each}): each leaf has levels of its own, in any order. Take a "
                "format of integers, floats or a table."
            )

    def drawn(blocks: Array, trained: Trained, parts: Cut, spec: QuantSpec, key: Key) -> Codes:
        del trained
        on = found_grid(ranges, blocks, parts, spec)
        beside = neighbours(blocks, on, spec)
        chance = jax.random.uniform(key, blocks.shape, jnp.float32)
        return Codes(jnp.where(chance < beside.share, beside.other, beside.nearest), on)

    return companion(choice, drawing(_nearest(ranges), drawn))


def fixed_ranges(
    spec: QuantSpec | Rules[Any],
    *,
    axes: Axes | None = None,
    select: Selector | None = None,
    ranges: Ranges = min_max,
) -> Companion:
    """Trains weights that are rounded on the grid that they had at the beginning.

    Not for: weights that still grow, which their first range clips: scales of `nearest`
    follow, `learned_steps` trains them.

    Scales and zero points are found once, by `init`, and stay: their gradient is 0. So
    codes change by what the weights learn alone, and what is shipped has scales that
    were known before. Keep weight decay from the companions.

    Also known as: frozen ranges, frozen quantization parameters, static scales.

    Args:
      spec: one spec with float32 scales and no codebook, or rules.
      axes: what `graph.axes` gave; without it the layout default, as in `quantize`.
      select: which leaves; without it every weight that meets data.
      ranges: which range the codes of a block cover.

    Returns:
      Companion. By leaf name it holds "scale", and "zero_point" where the spec has one.

    Raises:
      TypeError: as `nearest`.
      ValueError: a format has other scales or a codebook; when applied: as `nearest`.

    Example:
      >>> technique = jc.quantize.training.fixed_ranges(jc.quantize.int4())
      >>> companions = technique.init({"kernel": jnp.array([[7.0], [2.2]])})
      >>> moved = {"kernel": jnp.array([[9.0], [2.6]])}
      >>> technique.view(moved, companions)["kernel"][:, 0]
      Array([7., 3.], dtype=float32)

    Source: Jacob et al. 2018, arXiv:1712.05877, section 3, after its ranges are frozen.
    """
    check_ranges("fixed_ranges", ranges)
    choice = Choice("fixed_ranges", spec, axes, select)
    for _, each in as_rules(spec).pairs:
        if not isinstance(each.scales, Float32) or isinstance(each.levels, Codebook):
            raise ValueError(
                f"fixed_ranges(spec={each}) must have float32 scales and no codebook, so that "
                "they stand beside the weights. Take int8() or another format with them."
            )

    def start(blocks: Array, parts: Cut, spec: QuantSpec) -> Trained:
        on = found_grid(ranges, blocks, parts, spec)
        scale = {"scale": on.scale}
        if on.zero_point is None:
            return scale
        return {**scale, "zero_point": on.zero_point.astype(jnp.float32)}

    def rounded(blocks: Array, trained: Trained, parts: Cut, spec: QuantSpec) -> Codes:
        del parts
        on = Grid(trained["scale"])
        if "zero_point" in trained:
            zero = trained["zero_point"]
            # No int says that a zero point is not finite: the scale does.
            on = Grid(on.scale + 0 * zero, zero_point=zero.astype(jnp.int32))
        return Codes(encode(blocks, on, spec), on)

    def passing(blocks: Array, trained: Trained, found: Codes, parts: Cut, spec: QuantSpec):
        del trained, parts
        zero = found.on.zero_point
        lowest, highest = (
            end if zero is None else end - zero.astype(jnp.float32) for end in spec.levels.ends
        )
        scale = found.on.scale
        return _inside(blocks, Range(lowest * scale, highest * scale))

    return companion(choice, Method(rounded, passing, start))


def _nearest(ranges: Ranges) -> Method:
    def rounded(blocks: Array, trained: Trained, parts: Cut, spec: QuantSpec) -> Codes:
        del trained
        on = found_grid(ranges, blocks, parts, spec)
        return Codes(encode(blocks, on, spec), on)

    def passing(blocks: Array, trained: Trained, found: Codes, parts: Cut, spec: QuantSpec):
        del trained, found
        cover, _ = found_cover(ranges, jax.lax.stop_gradient(blocks), parts, spec)
        return _inside(blocks, cover)

    return Method(rounded, passing)


def _inside(blocks: Array, cover: Range) -> Array:
    """The weights with the gradient of those that are not clipped."""
    return jnp.where(within(blocks, cover), blocks, jax.lax.stop_gradient(blocks))
