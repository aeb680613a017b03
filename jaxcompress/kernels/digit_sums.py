"""Float data times integer weights: data as a sum of signed 8-bit digits."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxcompress.core.checks import check_count, check_range
from jaxcompress.core.kinds import check_function
from jaxcompress.core.numerics import largest_magnitude
from jaxcompress.core.types import Array
from jaxcompress.kernels.matmul import int8_matmul
from jaxcompress.kernels.operands import check_codes, check_floats, check_sizes


def digits(x: Array, scale: Array, *, count: int, highest: int = 127) -> tuple[Array, Array]:
    """Splits numbers into signed digits, each of which codes the remainder of the last.

        x ≈ sum_d digit_d · scale_d
        scale_0 = scale,   scale_{d+1} = scale_d / (2 · highest)

    One digit is plain quantization. Two digits of 8 bits carry 16 bits through two
    exact integer products, with an error of at most scale / (4 · highest).

    Args:
      x: (...) float32, |x| <= highest · scale; what lies beyond is clipped.
      scale: float32 that broadcasts to `x`, above 0.
      count: number of digits, an int of at least 1.
      highest: the largest digit, an int from 1 to 127.

    Returns:
      (digits, scales): (count, ...) int8 of the shape of `x`, and (count, ...) float32
      of the shape of `scale`.

    Raises:
      TypeError: `x` or `scale` is not of a real floating dtype.
      ValueError: `count` or `highest` is out of range.

    Example:
      >>> parts, scales = jc.kernels.digits(jnp.array([1.3]), jnp.array([1.0]), count=2)
      >>> parts[:, 0], float((parts * scales).sum())
      (Array([ 1, 76], dtype=int8), 1.299)
    """
    check_floats("digits", ndim=None, x=x, scale=scale)
    count = check_count("digits", "count", count)
    highest = check_count("digits", "highest", highest)
    check_range("digits", "highest", highest, 1, 128)
    rest = jnp.clip(x / scale, -highest, highest)
    parts = []
    for _ in range(count):
        part = jnp.round(rest)
        parts.append(part.astype(jnp.int8))
        # Exact: the two differ by at most one half.
        rest = (rest - part) * (2.0 * highest)
    scales = [scale * (2.0 * highest) ** -place for place in range(count)]
    return jnp.stack(parts), jnp.stack(scales)


def two_digit_matmul(x: Array, w: Array) -> Array:
    """Multiplies float data with int8 codes, the data as two 8-bit digits.

    Args:
      x: (M, K) float32.
      w: (N, K) int8 codes of weights.

    Returns:
      (M, N) float32; the error of each entry is at most
      max|x[m]| / 64516 · sum_k |w[n, k]|, beside float32 rounding. NaN where a row of
      `x` is not finite. The gradient is that of the product without digits.

    Raises:
      TypeError: an operand is of another dtype.
      ValueError: operands do not fit each other.

    Example:
      >>> x, w = jnp.array([[0.5, 1.0]]), jnp.array([[3, 4]], jnp.int8)
      >>> jc.kernels.two_digit_matmul(x, w)
      Array([[5.5]], dtype=float32)
    """
    check_floats("two_digit_matmul", x=x)
    check_codes("two_digit_matmul", jnp.int8, w=w)
    return _two_digit_matmul(x, w)


@jax.custom_jvp
def _two_digit_matmul(x: Array, w: Array) -> Array:
    largest = largest_magnitude(x, 1, keepdims=True)
    # NaN or infinite where a row is not finite, and with it the whole row.
    scale = jnp.where(largest == 0, 1.0, largest / 127)
    return stack_digits(lambda rows: int8_matmul(rows, w), *digits(x, scale, count=2))


@_two_digit_matmul.defjvp
def _two_digit_matmul_jvp(primals, tangents):
    x, w = primals
    return _two_digit_matmul(x, w), tangents[0] @ w.T.astype(x.dtype)


def stack_digits(product: Callable[[Array], Array], parts: Array, scales: Array) -> Array:
    """Multiplies data given as digits, all digits in one call.

    Args:
      product: (rows, K) int8 -> (rows, N) int32 or float32.
      parts: (digits, M, K) int8.
      scales: (digits, M, 1) float32.

    Returns:
      (M, N) float32.

    Raises:
      TypeError: an operand is of another dtype.
      ValueError: operands do not fit each other.

    Example:
      >>> parts, scales = jnp.ones((2, 1, 3), jnp.int8), jnp.array([[[1.0]], [[0.5]]])
      >>> w = jnp.ones((1, 3), jnp.int8)
      >>> product = lambda rows: jc.kernels.int8_matmul(rows, w)
      >>> jc.kernels.stack_digits(product, parts, scales)
      Array([[4.5]], dtype=float32)
    """
    check_function("stack_digits", "product", product, "Pass (rows, K) int8 -> (rows, N).")
    check_codes("stack_digits", jnp.int8, ndim=3, parts=parts)
    check_floats("stack_digits", ndim=3, scales=scales)
    fits = scales.shape == (*parts.shape[:2], 1)
    check_sizes("stack_digits", "share (digits, M)", fits, parts=parts, scales=scales)
    count, rows, contracting = parts.shape
    y = product(parts.reshape(count * rows, contracting))  # (digits · M, N)
    return jnp.sum(y.reshape(count, rows, y.shape[1]).astype(jnp.float32) * scales, axis=0)
