"""Weights rounded to steps that are given, in training and as they are shipped.

The steps of a leaf have the shape of its blocks: size 1 along the axes whose entries
share one. The functions of a pair agree bit for bit under the same jit.
"""

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import to_canonical
from jaxcompress.core.formats.coding import decode, encode
from jaxcompress.core.formats.cuts import as_before, cut, in_blocks
from jaxcompress.core.formats.grids import Grid, stored
from jaxcompress.core.formats.integers import Integers
from jaxcompress.core.formats.scales import Float32
from jaxcompress.core.numerics import narrowed, straight_through
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.quantize.assignment import Assignment


def check_steps(caller: str, spec: QuantSpec) -> None:
    """Raises a ValueError unless a spec is of integers around zero, scales in float32.

    Example:
      >>> check_steps("learned_rate", jc.quantize.formats.nf4())
      Traceback (most recent call last):
      ValueError: learned_rate(spec=nf4 per channel) must have integers around zero and
      float32 scales, whose step is what is learned. Pass int8() or another of intN().
    """
    if not (
        isinstance(spec.levels, Integers) and spec.symmetric and isinstance(spec.scales, Float32)
    ):
        raise ValueError(
            f"{caller}(spec={spec}) must have integers around zero and float32 scales, whose step "
            "is what is learned. Pass int8() or another of intN()."
        )


def step_shape(shape: tuple[int, ...], choice: Assignment) -> tuple[int, ...]:
    """The shape of a leaf's steps, which broadcast to its blocks.

    Example:
      >>> dense = jc.LeafAxes(contracting=(0,), output=(1,))
      >>> step_shape((8, 3), Assignment(jc.quantize.int8(), dense))
      (1, 3)
    """
    parts = cut(shape, choice.spec.sharing, choice.axes)
    return tuple(1 if axis in parts.shared else size for axis, size in enumerate(parts.shape))


def steps_of(x: Array, share: float, choice: Assignment) -> Array:
    """Steps of a share of the mean magnitude of each block's weights that are not 0.

    Returns:
      float32 of `step_shape`; 1 for a block of zeros.
    """
    parts = cut(x.shape, choice.spec.sharing, choice.axes)
    magnitudes = jnp.abs(in_blocks(x.astype(jnp.float32), parts))
    count = jnp.sum(magnitudes != 0, parts.shared, keepdims=True)
    mean = jnp.sum(magnitudes, parts.shared, keepdims=True) / jnp.maximum(count, 1)
    return jnp.where(mean > 0, share * mean, 1.0)


def in_steps(x: Array, steps: Array, choice: Assignment) -> Array:
    """Weights in units of their steps, in the shape of the blocks: x / steps."""
    return in_blocks(x.astype(jnp.float32), cut(x.shape, choice.spec.sharing, choice.axes)) / steps


def seen_in_steps(x: Array, steps: Array, choice: Assignment) -> Array:
    """The weights as codes of the steps show them, differentiable in both.

        value = step · clip(round(x / step), lowest, highest)
        d value / d x = 1 inside the range, 0 outside
        d value / d step = round(x / step) - x / step inside, lowest or highest outside

    Args:
      x: (...) floating.
      steps: float32 of `step_shape`, above 0.
      choice: the spec of the leaf and its axes.

    Returns:
      (...) of the dtype of `x`.
    """
    spec = choice.spec
    parts = cut(x.shape, spec.sharing, choice.axes)
    blocks = in_blocks(x.astype(jnp.float32), parts)
    fixed = jax.lax.stop_gradient(steps)
    on = Grid(fixed)
    # Whole numbers have no -0, so that neither has what the view shows.
    codes = encode(jax.lax.stop_gradient(blocks), on, spec).astype(jnp.int32)
    value = decode(codes, on, spec)
    ratio = blocks / steps
    # Forward it is the value that is shipped; backward, step · clip(x / step) with the
    # rounding taken for the identity.
    inside = (ratio >= spec.lowest) & (ratio <= spec.highest)
    passing = jnp.where(
        inside, blocks + steps * jax.lax.stop_gradient(codes - ratio), steps * codes
    )
    passing = straight_through(value, passing, jnp.ones_like(inside))
    # Whole numbers have no NaN, and a diverged weight is not to look like a zero.
    passing = jnp.where(jnp.isfinite(blocks), passing, blocks)
    return narrowed(as_before(passing, x), x.dtype)


def leaf_in_steps(x: Array, steps: Array, choice: Assignment) -> QTensor:
    """The leaf that is shipped: it materializes to what `seen_in_steps` shows."""
    spec, axes = choice
    parts = cut(x.shape, spec.sharing, axes)
    blocks = in_blocks(x.astype(jnp.float32), parts)
    on = Grid(steps)
    codes = as_before(encode(blocks, on, spec).astype(jnp.int32), x)
    return QTensor.from_rounded(
        to_canonical(codes, axes), stored(on, parts, axes), spec=spec, dtype=x.dtype, axes=axes
    )
