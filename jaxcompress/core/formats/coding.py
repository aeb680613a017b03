"""The way from numbers to codes and back, the same for all that is stored in few bits.

Weights, data, training views and the leaves of a file all go through this pair, so that
they agree bit for bit.
"""

import jax.numpy as jnp

from jaxcompress.core.formats.codebooks import Codebook
from jaxcompress.core.formats.grids import Grid
from jaxcompress.core.formats.sharing import spread
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array


def encode(x: Array, on: Grid, spec: QuantSpec) -> Array:
    """The code of the level nearest to each value, clipped to the spec's codes.

        code = clip(nearest(x / scale) + zero_point, lowest, highest)

    A value in the middle of two levels goes to the even code; the levels say where they
    differ.

    Args:
      x: (...) float32.
      on: a grid whose shape broadcasts to that of `x`.
      spec: the format.

    Returns:
      (...) float32 whole numbers in [lowest, highest].

    Example:
      >>> on = Grid(jnp.float32(0.5))
      >>> encode(jnp.array([0.4, -9.0]), on, jc.quantize.int4())
      Array([ 1., -7.], dtype=float32)
    """
    steps = x / on.steps(spec)
    if isinstance(spec.levels, Codebook):
        return spec.levels.nearest(steps, jnp.asarray(on.codebook))
    codes = spec.levels.nearest(steps)
    if on.zero_point is not None:
        codes = codes + on.zero_point.astype(jnp.float32)
    return jnp.clip(codes, spec.lowest, spec.highest)


def decode(codes: Array, on: Grid, spec: QuantSpec) -> Array:
    """The values that codes stand for: value(code - zero_point) · scale.

    Args:
      codes: any shape, integers (or floats holding integers).
      on: a grid of the same rank, its sizes dividing those of `codes`.
      spec: the format.

    Returns:
      float32 of the codes' shape.

    Example:
      >>> on = Grid(jnp.float32([0.5, 2.0]))
      >>> decode(jnp.array([1, 1, 3, -7]), on, jc.quantize.int4(group_size=2))
      Array([  0.5,   0.5,   6. , -14. ], dtype=float32)
    """
    steps = codes.astype(jnp.float32)
    if on.zero_point is not None:
        steps = steps - spread(on.zero_point, codes.shape).astype(jnp.float32)
    if isinstance(spec.levels, Codebook):
        values = spec.levels.value(codes, jnp.asarray(on.codebook))
    else:
        values = spec.levels.value(steps)
    return values * spread(on.steps(spec), codes.shape)
