"""Scales that are powers of two, as MXFP4 has them: which exponent a block gets."""

import jax.numpy as jnp

from jaxcompress.core.formats.cuts import Cut
from jaxcompress.core.formats.floats import FP4
from jaxcompress.core.formats.grids import Grid
from jaxcompress.core.formats.scales import PowerOfTwo
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.quantize.scales.search import ScaleSearch, check_scales, least_error, whole_scale

CLIPPED_FROM = 7.25
"""Up to it a block's largest number may lie above 6, the largest of fp4."""


def rounded_exponent() -> ScaleSearch:
    """Lets the largest number of a block lie up to 7.25 steps of fp4, which end at 6.

    Clipping 7.25 to 6 costs less than scales of twice the size. No error is computed,
    so it is as fast as `min_max`, under which nothing is clipped.

        exponent = ceil(log2(largest magnitude / 7.25))

    Returns:
      ScaleSearch for fp4 under powers of two, `formats.mxfp4()`.

    Example:
      >>> kernel = jnp.array([[7.0], [1.0]])
      >>> spec = jc.quantize.formats.fp4(group_size=2, scales="power_of_two")
      >>> search = jc.quantize.scales.rounded_exponent()
      >>> jc.quantize.fake_quantize(spec, ranges=search)({"w": kernel})["w"][:, 0]
      Array([6., 1.], dtype=float32)

    Source: OCP Microscaling Formats 1.0. Differs: its example rounds the exponent of
    the largest number down, which clips up to 8.
    """
    return ScaleSearch(_rounded)


def best_exponent() -> ScaleSearch:
    """Chooses for each block among three exponents, by squared error.

    That at which nothing is clipped, the next lower and the next higher one.

    Returns:
      ScaleSearch for formats without a zero point under powers of two, as `mxfp4()`.

    Example:
      >>> kernel = jnp.array([[7.0], [1.0]])
      >>> spec = jc.quantize.formats.fp4(group_size=2, scales="power_of_two")
      >>> search = jc.quantize.scales.best_exponent()
      >>> jc.quantize.fake_quantize(spec, ranges=search)({"w": kernel})["w"][:, 0]
      Array([8., 1.], dtype=float32)
    """
    return ScaleSearch(_best)


def _rounded(blocks: Array, parts: Cut, spec: QuantSpec, second_moment) -> Grid:
    del second_moment
    if spec.levels != FP4:
        raise ValueError(f"rounded_exponent: {spec} is not fp4. Give it a format as mxfp4().")
    check_scales("rounded_exponent", spec, PowerOfTwo, "mxfp4()")
    scale, on = whole_scale(blocks, parts, spec)
    smaller, _ = PowerOfTwo().write(scale * (FP4.ends[1] / CLIPPED_FROM), parts)
    return on._replace(scale=smaller)


def _best(blocks: Array, parts: Cut, spec: QuantSpec, second_moment) -> Grid:
    del second_moment
    check_scales("best_exponent", spec, PowerOfTwo, "mxfp4()")
    _, on = whole_scale(blocks, parts, spec)
    exponent = on.scale.astype(jnp.int32)
    others = jnp.stack([jnp.maximum(exponent - 1, 1), jnp.minimum(exponent + 1, 254)])
    return least_error(blocks, parts, spec, on, others.astype(jnp.uint8), None)
