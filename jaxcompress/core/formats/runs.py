"""Runs of entries as codes under one scale each, whose sign says how fine they are.

For what changes a little at each step, as the moments of an optimizer do. It is what
`coding` does, with what such numbers need besides: nothing above 0 becomes 0 in a run
that holds nothing below, rounding may be at random, and no entry is divided, which
would take as long as all the rest.
"""

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.formats.shares import Shares, Signs
from jaxcompress.core.numerics import not_finite
from jaxcompress.core.types import Array

SMALLEST = float(np.finfo(np.float32).tiny)


def encode_runs(runs: Array, levels: Shares, words: Array | None) -> tuple[Array, Array]:
    """The codes of runs, and the scale of each.

        code(x) = center + round(position(|x| / s)) · sign(x)

    Args:
      runs: (runs, entries) float32.
      levels: what codes stand for.
      words: (runs, entries) uint32 at random, for rounding that is right in the mean;
        None for the nearest level.

    Returns:
      (codes, scales): uint8 of the runs' shape; (runs,) float32, the largest magnitude
      s of each run, negative for one that holds a number below 0, 0 for one whose
      numbers are all subnormal, NaN for one that is not finite.
    """
    # Two plain reductions: XLA on a CPU is twice as fast with them as with one of
    # magnitudes, and fuses both.
    highest = jnp.max(runs, axis=1, keepdims=True)  # (runs, 1)
    lowest = jnp.min(runs, axis=1, keepdims=True)
    largest = jnp.maximum(highest, -lowest) + not_finite(runs, 1, keepdims=True)
    finite, above = jnp.isfinite(largest), largest >= SMALLEST
    scales = jnp.where(finite, jnp.where(above, largest, 0.0), jnp.nan)
    signs = _signs(lowest < 0, levels)
    codes = _codes(runs, jnp.where(finite, scales, 0.0), signs, levels, words)
    return codes, jnp.squeeze(jnp.where(signs.both, -scales, scales), 1)


def decode_runs(codes: Array, scales: Array, levels: Shares) -> Array:
    """The runs that codes and scales stand for, (runs, entries) float32."""
    scales = scales[:, None]
    signs = _signs(scales < 0, levels)
    return levels.value(codes.astype(jnp.float32) - signs.center, signs) * jnp.abs(scales)


def _signs(both: Array, levels: Shares) -> Signs:
    highest = jnp.where(both, float(levels.signed), float(levels.unsigned))
    return Signs(both, jnp.where(both, highest, 0.0), highest)


def _codes(runs: Array, scales: Array, signs: Signs, levels: Shares, words: Array | None) -> Array:
    """The codes of runs whose scales are known and finite."""
    # Twice, since the reciprocal of a scale above 2**126 is subnormal.
    towards_one = jnp.where(scales > 1, 2.0**-64, 1.0)
    reciprocals = jnp.where(scales > 0, 1 / (scales * towards_one), 0.0)
    shares = runs * towards_one * reciprocals
    positions = levels.position(shares, signs)
    codes = jnp.round(positions) if words is None else _at_random(positions, signs, words)
    # What is above 0 stays so, where nothing is below; no share is above 2.
    vanishes = (shares > jnp.where(signs.both, 2.0, 0.0)) & (codes < 1)
    codes = signs.center + jnp.where(vanishes, 1.0, codes)
    return codes.astype(jnp.int32).astype(jnp.uint8)


def _at_random(positions: Array, signs: Signs, words: Array) -> Array:
    """Positions to one of their two neighbours, right in the mean; odd for one key."""
    # 16 random bits: with more, 127 and almost 1 would add up to 128. The factor lets
    # no rounding keep the largest entry below its own code.
    dither = (words >> 16).astype(jnp.float32) * 2.0**-16
    raised = jnp.abs(positions) * (1 + 2.0**-21) + dither
    codes = jnp.minimum(jnp.floor(raised), signs.highest)
    return jnp.where(positions < 0, -codes, codes)
