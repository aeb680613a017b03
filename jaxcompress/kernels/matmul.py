"""Exact products of int8 codes, and with a scale for each group of weights.

The order (N, K) is the one in which XLA's CPU compiler has a fast int8 kernel; codes of
other types or orders are first widened as a whole. Nothing here knows trees,
specs or programs.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.types import Array
from jaxcompress.kernels.operands import check_codes, check_groups, check_sizes


def int8_matmul(x: Array, w: Array) -> Array:
    """Multiplies int8 codes exactly: the int32 product x · wᵀ.

    Args:
      x: (M, K) int8 codes of data.
      w: (N, K) int8 codes of weights.

    Returns:
      (M, N) int32; exact while 127² · K < 2**31, that is K up to 133,000.

    Raises:
      TypeError: an operand is of another dtype.
      ValueError: operands do not fit each other.

    Example:
      >>> x, w = jnp.array([[1, 2]], jnp.int8), jnp.array([[3, 4], [5, 6]], jnp.int8)
      >>> jc.kernels.int8_matmul(x, w)
      Array([[11, 17]], dtype=int32)
    """
    check_codes("int8_matmul", jnp.int8, x=x, w=w)
    check_sizes("int8_matmul", "share K", x.shape[1] == w.shape[1], x=x, w=w)
    if x.shape[0] == 1:
        # XLA's CPU compiler has no fast int8 kernel for a single row.
        return int8_matmul(jnp.pad(x, ((0, 1), (0, 0))), w)[:1]
    return jax.lax.dot_general(x, w, (((1,), (1,)), ((), ())), preferred_element_type=jnp.int32)


def grouped_matmul(x: Array, w: Array, scale: Array) -> Array:
    """Multiplies with codes in groups along K that share a scale.

        y[m, n] = sum_g scale[n, g] · sum_{k in group g} x[m, k] · w[n, k]

    Args:
      x: (M, K) int8 codes of data.
      w: (N, K) int8 codes of weights.
      scale: (N, G) float32; G divides K.

    Returns:
      (M, N) float32. Groups are taken in turn: a batched product over groups is slower
      on CPU.

    Raises:
      TypeError: an operand is of another dtype.
      ValueError: operands do not fit each other.

    Example:
      >>> x, w = jnp.array([[1, 2]], jnp.int8), jnp.array([[3, 4]], jnp.int8)
      >>> jc.kernels.grouped_matmul(x, w, jnp.array([[1.0, 0.5]]))
      Array([[7.]], dtype=float32)
    """
    check_codes("grouped_matmul", jnp.int8, x=x, w=w)
    check_sizes("grouped_matmul", "share K", x.shape[1] == w.shape[1], x=x, w=w)
    check_groups("grouped_matmul", x, w, scale)
    size = x.shape[1] // scale.shape[1]

    def add(total, group):
        part = int8_matmul(neighbours(x, group * size, size), neighbours(w, group * size, size))
        return total + part.astype(jnp.float32) * neighbours(scale, group, 1).T, None

    total = jnp.zeros((x.shape[0], w.shape[0]), jnp.float32)
    return jax.lax.scan(add, total, jnp.arange(scale.shape[1]))[0]


def neighbours(x: Array, start: Any, size: int) -> Array:
    """`size` entries along the last axis, from a traced start on."""
    return jax.lax.dynamic_slice_in_dim(x, start, size, axis=1)
