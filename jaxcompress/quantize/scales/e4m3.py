"""Scales of e4m3 under one float32, as NVFP4 has them: two to try, or all in reach."""

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.formats.cuts import Cut
from jaxcompress.core.formats.floats import FP4, FP8_E4M3
from jaxcompress.core.formats.grids import Grid
from jaxcompress.core.formats.scales import E4M3, second_scale
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.quantize.scales.search import ScaleSearch, check_scales, least_error, whole_scale

LARGEST = 256.0
"""The largest scale of a leaf in units of its second scale, so that half as much more
can be stored too: 448 is the largest that e4m3 has."""

LOWEST, HIGHEST = 0.3, 2.2
"""The scales that a sweep tries, in units of that at which nothing is clipped."""


def four_over_six() -> ScaleSearch:
    """Chooses for each block whether its largest number becomes a 6 or a 4 of fp4.

    Not for: the least error, which `sweep` finds among all scales in reach.

    Between 4 and 6 fp4 has no level, so 5/6 of a block's largest number errs most.
    Where the largest is a 4, it errs half as much, and others more. Two errors are
    computed for each block, where `sweep` computes some 24.
    Also known as: 4/6, adaptive block scaling of NVFP4.

        second scale = amax / (6 · 256)
        a block's scale: of e4m3(a) and e4m3(1.5 · a) that of the least squared error,
        a = largest magnitude / 6 / second scale

    Returns:
      ScaleSearch for fp4 under e4m3 scales, `formats.nvfp4()`.

    Example:
      >>> kernel = jnp.array([[6.0], [5.0], [5.0], [5.0]])
      >>> spec = jc.quantize.formats.fp4(group_size=4, scales="e4m3")
      >>> search = jc.quantize.scales.four_over_six()
      >>> jc.quantize.fake_quantize(spec, ranges=search)({"w": kernel})["w"][:, 0]
      Array([6. , 4.5, 4.5, 4.5], dtype=float32)

    Source: Cook et al. 2025, arXiv:2512.02010, section 3.
    """
    return ScaleSearch(_four_over_six)


def sweep() -> ScaleSearch:
    """Chooses each block's scale among all of e4m3 that are in reach, by squared error.

    All e4m3 from 0.3 to 2.2 times the scale at which nothing is clipped, some 24. The
    second scale is that of `four_over_six`, whose error no block exceeds. The best for
    weights.

    Returns:
      ScaleSearch for formats without a zero point under e4m3 scales, as `nvfp4()`.

    Example:
      >>> kernel = jnp.array([[6.0], [5.0], [5.0], [5.0]])
      >>> spec = jc.quantize.formats.fp4(group_size=4, scales="e4m3")
      >>> search = jc.quantize.scales.sweep()
      >>> jc.quantize.fake_quantize(spec, ranges=search)({"w": kernel})["w"][:, 0]
      Array([6.5  , 4.875, 4.875, 4.875], dtype=float32)

    Source: Cook et al. 2025, arXiv:2512.02010, section 3. Differs: not two scales but
    all in reach.
    """
    return ScaleSearch(_sweep)


def weighted_sweep() -> ScaleSearch:
    """Chooses among the scales of `sweep` by the error at the layer's output.

    Not for: other scales than e4m3, for which `weighted` finds ranges; without data it
    is `sweep`.

    The error e of a block counts as e · H_bb · eᵀ, where H_bb is the second moment of
    the inputs that the block meets. A rounding that is given data passes it; without
    data this is `sweep`.
    Also known as: local Hessian, activation-aware scale search.

    Returns:
      ScaleSearch for formats without a zero point under e4m3 scales, as `nvfp4()`.

    Example:
      >>> search = jc.quantize.scales.weighted_sweep()
      >>> rounding = jc.quantize.rounding.nearest(search)
    """
    return ScaleSearch(_weighted_sweep)


def _four_over_six(blocks: Array, parts: Cut, spec: QuantSpec, second_moment) -> Grid:
    del second_moment
    if spec.levels != FP4:
        raise ValueError(f"four_over_six: {spec} is not fp4. Give it a format as nvfp4().")
    scale, on = _under_half("four_over_six", blocks, parts, spec)
    wider = E4M3().under(1.5 * scale, jnp.asarray(on.second_scale))[None]
    return least_error(blocks, parts, spec, on, wider, None)


def _sweep(blocks: Array, parts: Cut, spec: QuantSpec, second_moment) -> Grid:
    del second_moment
    return _swept("sweep", blocks, parts, spec, None)


def _weighted_sweep(blocks: Array, parts: Cut, spec: QuantSpec, second_moment) -> Grid:
    return _swept("weighted_sweep", blocks, parts, spec, second_moment)


def _swept(caller: str, blocks: Array, parts: Cut, spec: QuantSpec, second_moment) -> Grid:
    scale, on = _under_half(caller, blocks, parts, spec)
    first = E4M3().under(LOWEST * scale, jnp.asarray(on.second_scale)).astype(jnp.int32)
    # Eight in a binade: among subnormal scales, which are fewer, it goes beyond.
    count = round(8 * np.log2(HIGHEST / LOWEST)) + 1
    every = jnp.minimum(jnp.stack([first + step for step in range(count)]), FP8_E4M3.highest)
    return least_error(blocks, parts, spec, on, every.astype(jnp.uint8), second_moment)


def _under_half(caller: str, blocks: Array, parts: Cut, spec: QuantSpec) -> tuple[Array, Grid]:
    """The scales at which nothing is clipped, and their grid with room above."""
    check_scales(caller, spec, E4M3, "nvfp4()")
    scale, on = whole_scale(blocks, parts, spec)
    second = second_scale(scale, parts.leaf, LARGEST)
    return scale, on._replace(scale=E4M3().under(scale, second), second_scale=second)
