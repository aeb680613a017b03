"""Integer matrix products on arrays: data codes times weight codes.

The order (N, K) is the one in which XLA's CPU compiler has a fast int8 kernel; codes of
other types or orders are first widened as a whole. Nothing here knows trees,
specs or programs.
"""

import jax
import jax.numpy as jnp

from jaxcompress.core.checks import check_count, check_range
from jaxcompress.core.packing import packed_length
from jaxcompress.core.types import Array
from jaxcompress.kernels.operands import check_codes, check_floats, check_sizes

TILE = 512
"""Rows of packed weights unpacked at a time; 512 of 4096 codes fit in a cache."""


def int8_matmul(x: Array, w: Array) -> Array:
    """The exact integer product x · wᵀ.

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
      >>> int8_matmul(x, w)
      Array([[11, 17]], dtype=int32)
    """
    check_codes("int8_matmul", jnp.int8, x=x, w=w)
    check_sizes("int8_matmul", "share K", x.shape[1] == w.shape[1], x=x, w=w)
    if x.shape[0] == 1:
        # XLA's CPU compiler has no fast int8 kernel for a single row.
        return int8_matmul(jnp.pad(x, ((0, 1), (0, 0))), w)[:1]
    return jax.lax.dot_general(x, w, (((1,), (1,)), ((), ())), preferred_element_type=jnp.int32)


def grouped_matmul(x: Array, w: Array, scale: Array) -> Array:
    """The product with weights whose groups of K / G neighbours share a scale.

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
      >>> grouped_matmul(x, w, jnp.array([[1.0, 0.5]]))
      Array([[7.]], dtype=float32)
    """
    check_codes("grouped_matmul", jnp.int8, x=x, w=w)
    check_sizes("grouped_matmul", "share K", x.shape[1] == w.shape[1], x=x, w=w)
    _check_groups("grouped_matmul", x, w, scale)
    size = x.shape[1] // scale.shape[1]

    def add(total, group):
        part = int8_matmul(_run(x, group * size, size), _run(w, group * size, size))
        return total + part.astype(jnp.float32) * _run(scale, group, 1).T, None

    total = jnp.zeros((x.shape[0], w.shape[0]), jnp.float32)
    return jax.lax.scan(add, total, jnp.arange(scale.shape[1]))[0]


def packed_matmul(x: Array, packed: Array, lowest: int) -> Array:
    """The exact integer product with 4-bit weights, unpacked tile by tile.

        x · wᵀ = x · offsetᵀ + lowest · sum(x),   w = offset + lowest

    Args:
      x: (M, K) int8 codes of data.
      packed: (N, ceil(K / 2)) uint8, as `core.packing.pack` packs (N, K) offsets.
      lowest: the weight code whose offset is 0, an int.

    Returns:
      (M, N) int32.

    Raises:
      TypeError: an operand is of another dtype.
      ValueError: operands do not fit each other, or `lowest` is no int.

    Example:
      >>> packed = jnp.array([[3 | 4 << 4]], jnp.uint8)  # offsets 3 and 4
      >>> x = jnp.array([[1, 2]], jnp.int8)
      >>> packed_matmul(x, packed, -7)  # 1 · (3 - 7) + 2 · (4 - 7)
      Array([[-10]], dtype=int32)
    """
    _check_packed("packed_matmul", x, packed, lowest)
    first, second = _planes(x, packed.shape[1])

    def tile(rows):
        low, high = _nibbles(rows)
        return int8_matmul(first, low) + int8_matmul(second, high)

    total = jnp.sum(x, axis=1, keepdims=True, dtype=jnp.int32)
    return _by_tiles(tile, packed) + lowest * total


def packed_grouped_matmul(x: Array, packed: Array, scale: Array, lowest: int) -> Array:
    """The product with 4-bit weights, two in a byte, in groups that share a scale.

    Args:
      x: (M, K) int8 codes of data.
      packed: (N, K / 2) uint8, as `core.packing.pack` packs (N, K) offsets.
      scale: (N, G) float32; G is even and divides K, so that no group lies
        in both planes.
      lowest: the weight code whose offset is 0, an int.

    Returns:
      (M, N) float32.

    Raises:
      TypeError: an operand is of another dtype.
      ValueError: operands do not fit each other, or `lowest` is no int.

    Example:
      >>> packed = jnp.array([[3 | 4 << 4]], jnp.uint8)  # offsets 3 and 4
      >>> x = jnp.array([[1, 2]], jnp.int8)
      >>> packed_grouped_matmul(x, packed, jnp.array([[1.0, 0.5]]), -7)
      Array([[-7.]], dtype=float32)
    """
    groups = scale.shape[1]
    _check_packed("packed_grouped_matmul", x, packed, lowest)
    _check_groups("packed_grouped_matmul", x, packed, scale)
    check_sizes("packed_grouped_matmul", "have an even G", groups % 2 == 0, scale=scale)
    size = x.shape[1] // groups
    planes = tuple(zip(_planes(x, packed.shape[1]), jnp.split(scale, 2, axis=1), strict=True))

    def add(total, group):
        nibbles = _nibbles(_run(packed, group * size, size))
        for (codes, scales), weights in zip(planes, nibbles, strict=True):
            part = _run(codes, group * size, size)
            product = int8_matmul(part, weights) + lowest * jnp.sum(
                part, axis=1, keepdims=True, dtype=jnp.int32
            )
            total = total + product.astype(jnp.float32) * _run(scales, group, 1).T
        return total, None

    total = jnp.zeros((x.shape[0], packed.shape[0]), jnp.float32)
    return jax.lax.scan(add, total, jnp.arange(groups // 2))[0]


def digits(x: Array, scale: Array, *, count: int, highest: int = 127) -> tuple[Array, Array]:
    """Numbers as a sum of signed digits, each as fine as its codes allow.

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
      >>> parts, scales = digits(jnp.array([1.3]), jnp.array([1.0]), count=2)
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
    """The product of float data with int8 weights, data as two 8-bit digits.

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
      >>> two_digit_matmul(jnp.array([[0.5, 1.0]]), jnp.array([[3, 4]], jnp.int8))
      Array([[5.5]], dtype=float32)
    """
    check_floats("two_digit_matmul", x=x)
    check_codes("two_digit_matmul", jnp.int8, w=w)
    return _two_digit_matmul(x, w)


@jax.custom_jvp
def _two_digit_matmul(x: Array, w: Array) -> Array:
    largest = jnp.max(jnp.abs(x), axis=1, keepdims=True)
    # NaN or infinite where a row is not finite, and with it the whole row.
    scale = jnp.where(largest == 0, 1.0, largest / 127)
    return stack_digits(lambda rows: int8_matmul(rows, w), *digits(x, scale, count=2))


@_two_digit_matmul.defjvp
def _two_digit_matmul_jvp(primals, tangents):
    x, w = primals
    return _two_digit_matmul(x, w), tangents[0] @ w.T.astype(x.dtype)


def stack_digits(product, parts: Array, scales: Array) -> Array:
    """A product of data given as digits, all digits in one call.

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
      >>> stack_digits(lambda rows: int8_matmul(rows, w), parts, scales)
      Array([[4.5]], dtype=float32)
    """
    check_codes("stack_digits", jnp.int8, ndim=3, parts=parts)
    check_floats("stack_digits", ndim=3, scales=scales)
    fits = scales.shape == (*parts.shape[:2], 1)
    check_sizes("stack_digits", "share (digits, M)", fits, parts=parts, scales=scales)
    count, rows, contracting = parts.shape
    y = product(parts.reshape(count * rows, contracting))  # (digits · M, N)
    return jnp.sum(y.reshape(count, rows, -1).astype(jnp.float32) * scales, axis=0)


def _check_packed(caller: str, x: Array, packed: Array, lowest: int) -> None:
    check_codes(caller, jnp.int8, x=x)
    check_codes(caller, jnp.uint8, packed=packed)
    check_count(caller, "lowest", lowest, least=-128)
    holds = packed.shape[1] == packed_length(x.shape[1], 4)
    check_sizes(caller, "share K, two codes in a byte", holds, x=x, packed=packed)


def _check_groups(caller: str, x: Array, weights: Array, scale: Array) -> None:
    check_floats(caller, scale=scale)
    check_sizes(caller, "share N", weights.shape[0] == scale.shape[0], w=weights, scale=scale)
    divides = scale.shape[1] > 0 and x.shape[1] % scale.shape[1] == 0
    check_sizes(caller, "have a G that divides K", divides, x=x, scale=scale)


def _by_tiles(product, packed: Array) -> Array:
    """(M, N) from `product`, which gives (M, rows) for some rows of weights."""
    rows = packed.shape[0]
    whole = rows // TILE * TILE
    parts = []
    if whole:
        y = jax.lax.map(product, packed[:whole].reshape(-1, TILE, packed.shape[1]))
        parts.append(jnp.moveaxis(y, 0, 1).reshape(-1, whole))  # (tiles, M, TILE) to (M, whole)
    if whole < rows:
        parts.append(product(packed[whole:]))
    return jnp.concatenate(parts, axis=1)


def _planes(x: Array, length: int) -> tuple[Array, Array]:
    """The data that meet low nibbles and those that meet high ones, zero-padded."""
    padded = jnp.pad(x, ((0, 0), (0, 2 * length - x.shape[1])))
    return padded[:, :length], padded[:, length:]


def _nibbles(packed: Array) -> tuple[Array, Array]:
    return (packed & 0xF).astype(jnp.int8), (packed >> 4).astype(jnp.int8)


def _run(x: Array, start, size: int) -> Array:
    """`size` neighbours along the last axis."""
    return jax.lax.dynamic_slice_in_dim(x, start, size, axis=1)
