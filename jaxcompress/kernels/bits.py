"""Exact products of signs, 32 in a word, by exclusive or and population count.

A bit that is set stands for 1, one that is not for -1. Numbers that are -1, 0 or 1 are
the means of two signs, so they are two planes of bits. Along the contracted axis bits
lie in the planes of `core.packing.pack`, so that the bytes of a stored binary weight
are words as they are.
"""

import functools

import jax
import jax.numpy as jnp

from jaxcompress.core.checks import check_count
from jaxcompress.core.packing import pack
from jaxcompress.core.types import Array
from jaxcompress.kernels.operands import check_codes, check_sizes

WORD_BITS = 32

STEP = 8
"""Words counted at a time, of which XLA's CPU compiler makes one unrolled loop.

Sums over more in one reduction were up to 40 times as slow."""


def pack_bits(bits: Array) -> Array:
    """Packs bits along the last axis, 32 in a word.

    Not for: codes of several bits on disk, which `storage.save` packs by itself.

    Also known as: bit packing, sign packing.

    Args:
      bits: (..., K) bool; for signs `x > 0`.

    Returns:
      (..., ceil(K / 32)) uint32. The places of a word that no entry takes hold 0.

    Raises:
      TypeError: `bits` are not bool.
      ValueError: `bits` have no axis.

    Example:
      >>> jc.kernels.pack_bits(jnp.array([True, False, True]))
      Array([5], dtype=uint32)
    """
    check_codes("pack_bits", jnp.bool_, ndim=None, bits=bits)
    check_sizes("pack_bits", "have an axis", bits.ndim > 0, bits=bits)
    return words(pack(bits.astype(jnp.uint8), 1))


def words(packed: Array) -> Array:
    """The words of `pack_bits` from bytes (..., ceil(K / 8)) of packed 1-bit codes."""
    four = _filled(packed, 4).reshape(*packed.shape[:-1], -(-packed.shape[-1] // 4), 4)
    return jax.lax.bitcast_convert_type(four, jnp.uint32)


def sign_matmul(x: Array, w: Array, length: int) -> Array:
    """Multiplies packed binary or ternary numbers exactly: the int32 product x · wᵀ.

    Not for: layers 256 wide at batch 1, where a call itself takes the time and float32
    was as fast.

        y[m, n] = K - 2 / (P · Q) · sum_{p, q} popcount(x[p, m] ^ w[q, n])

    Also known as: XNOR-popcount product, binary dot product, ternary dot product,
    bitwise matrix product.

    An operand has one plane of bits where its numbers are -1 and 1. Where they are
    -1, 0 and 1 it has two, `x > 0` and `x >= 0`, whose signs have the number as their
    mean. Sums grow by 8 words at a time; nothing of (M, N, words) is written to memory.

    Args:
      x: (P, ..., M, words) uint32 data: planes of bits, each as `pack_bits` packs
        (..., M, K) bits; P is 1 or 2.
      w: (Q, ..., N, words) uint32 weights, likewise, with the same leading axes.
      length: K, the entries that are summed over.

    Returns:
      (..., M, N) int32.

    Raises:
      TypeError: an operand is of another dtype.
      ValueError: operands do not fit each other or `length`.

    Example:
      >>> pack = jc.kernels.pack_bits
      >>> x, w = jnp.array([[1, -1, 1]]), jnp.array([[1, 1, 1], [1, 0, 0]])
      >>> data = pack(x > 0)[None]
      >>> weights = jnp.stack([pack(w > 0), pack(w >= 0)])
      >>> jc.kernels.sign_matmul(data, weights, 3)
      Array([[1, 1]], dtype=int32)

    Source: Rastegari et al. 2016, arXiv:1603.05279, section 3.2. Differs: zeros, by a
    second plane.
    """
    _check_planes("sign_matmul", x=x, w=w)
    length = check_count("sign_matmul", "length", length, least=0)
    alike = (*x.shape[1:-2], x.shape[-1]) == (*w.shape[1:-2], w.shape[-1])
    check_sizes("sign_matmul", "share words and leading axes", alike, x=x, w=w)
    holds = x.shape[-1] == -(-length // WORD_BITS)
    check_sizes("sign_matmul", f"hold length={length} bits in words of 32", holds, x=x)
    return _sign_matmul(x, w, length)


@functools.partial(jax.jit, static_argnums=2, inline=True)
def _sign_matmul(x: Array, w: Array, length: int) -> Array:
    pairs = len(x) * len(w)
    data = _steps(jnp.repeat(x, len(w), axis=0))  # (steps, 8, ..., M)
    weights = _steps(jnp.concatenate([w] * len(x)))  # (steps, 8, ..., N)

    def count(total: Array, step: tuple[Array, Array]):
        differ = step[0][..., :, None] ^ step[1][..., None, :]  # (8, ..., M, N), never formed
        return total + jnp.sum(jax.lax.population_count(differ), 0, dtype=jnp.int32), None

    none = jnp.zeros((*x.shape[1:-1], w.shape[-2]), jnp.int32)
    total, _ = jax.lax.scan(count, none, (data, weights))
    return length - (2 * total if pairs == 1 else total // (pairs // 2))


def _steps(planes: Array) -> Array:
    """(steps, 8, ..., rows) from (planes, ..., rows, words), filled up with zeros."""
    ahead = jnp.moveaxis(_filled(planes, STEP), -1, 1)  # (planes, words, ..., rows)
    steps = ahead.shape[0] * ahead.shape[1] // STEP
    return ahead.reshape(steps, STEP, *ahead.shape[2:])


def _filled(x: Array, multiple: int) -> Array:
    """Zeros after the last axis, so that its size is a multiple."""
    padding = [(0, 0)] * (x.ndim - 1) + [(0, -x.shape[-1] % multiple)]
    return jnp.pad(x, padding)


def _check_planes(caller: str, **operands: Array) -> None:
    check_codes(caller, jnp.uint32, ndim=None, **operands)
    for argument, x in operands.items():
        fits = x.ndim >= 3 and x.shape[0] in (1, 2)
        check_sizes(caller, "be (1 or 2 planes, ..., rows, words)", fits, **{argument: x})
