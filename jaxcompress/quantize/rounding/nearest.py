"""Rounding to nearest: each weight gets the code closest to it."""

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import to_canonical
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.types import Array
from jaxcompress.quantize.affine import covered, grid, quantize_array
from jaxcompress.quantize.assignment import Assignment
from jaxcompress.quantize.blocks import in_blocks, shared_axes
from jaxcompress.quantize.ranges.estimator import RangeEstimator, estimate


def nearest(x: Array, choice: Assignment, ranges: RangeEstimator) -> QTensor:
    """One array as a `QTensor`; the maths of `quantize` without its checks."""
    spec, axes = choice
    blocks = in_blocks(x.astype(jnp.float32), spec, axes)
    shared = shared_axes(spec, axes)
    on = grid(covered(estimate(ranges, blocks, shared, spec), spec), spec)
    codes = quantize_array(blocks, on, spec).astype(jnp.int32).reshape(x.shape)
    if spec.per == "group":
        on = jax.tree.map(lambda block: jnp.squeeze(block, shared), on)
    codes, scale, zero_point = jax.tree.map(lambda each: to_canonical(each, axes), (codes, *on))
    return QTensor.from_rounded(codes, scale, zero_point, spec=spec, dtype=x.dtype, axes=axes)
