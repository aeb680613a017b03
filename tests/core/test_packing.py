"""Packing: planes of bits, exact for every byte, length and way of calling."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.core.packing import pack, packed_length, unpack

BITS = [1, 2, 4, 8]
every_width = pytest.mark.parametrize("bits", BITS)


def codes(bits, shape, seed=0):
    return np.random.default_rng(seed).integers(0, 2**bits, shape, dtype=np.uint8)


def packed_by_loop(x, bits):
    planes, length = 8 // bits, packed_length(len(x), bits)
    packed = np.zeros(length, np.uint8)
    for place, code in enumerate(x):
        packed[place % length] |= int(code) << (bits * (place // length))
    assert len(x) <= planes * length
    return packed


@every_width
@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 9, 16, 33])
def test_against_a_loop(bits, length):
    x = codes(bits, length)
    packed = pack(jnp.asarray(x), bits)
    assert packed.dtype == jnp.uint8
    np.testing.assert_array_equal(packed, packed_by_loop(x, bits))
    np.testing.assert_array_equal(unpack(packed, bits, length), x)


REFUSED = [
    (lambda: pack(codes(8, 4), 3), ValueError, "pack(bits=3) must be 1, 2, 4 or 8"),
    (lambda: pack(codes(4, 4), 4.5), ValueError, "pack(bits=4.5) must be"),
    (lambda: pack(codes(4, 4).astype(np.int32), 4), TypeError, "pack(codes=...) of dtype int32"),
    (lambda: pack(np.ones(4, np.float32), 4), TypeError, "pack(codes=...) of dtype float32"),
    (lambda: pack(np.uint8([1, 16]), 4), ValueError, "codes reach 16 and must be below 16"),
    (lambda: pack(np.uint8([2]), 1), ValueError, "codes reach 2 and must be below 2"),
    (lambda: unpack(codes(8, 4), 5, 4), ValueError, "unpack(bits=5) must be 1, 2, 4 or 8"),
    (lambda: unpack(np.ones(4, np.int8), 4, 8), TypeError, "unpack(packed=...) of dtype int8"),
    (lambda: unpack(codes(8, 4), 4, 9), ValueError, "4 bytes do not hold 9 codes, which take 5"),
    (lambda: unpack(codes(8, 4), 4, 6), ValueError, "4 bytes do not hold 6 codes, which take 3"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_refusals(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()


@every_width
def test_leading_axes_are_independent(bits):
    x = codes(bits, (2, 3, 5))
    packed = pack(jnp.asarray(x), bits)
    assert packed.shape == (2, 3, packed_length(5, bits))
    np.testing.assert_array_equal(packed[1, 2], pack(jnp.asarray(x[1, 2]), bits))
    np.testing.assert_array_equal(unpack(packed, bits, 5), x)


def test_every_byte_unpacks():
    byte = jnp.arange(256, dtype=jnp.uint8)
    for bits in BITS:
        planes = [(np.arange(256) >> (bits * plane)) % 2**bits for plane in range(8 // bits)]
        expected = np.stack(planes, axis=-1)
        np.testing.assert_array_equal(unpack(byte[:, None], bits, 8 // bits), expected)
        np.testing.assert_array_equal(pack(jnp.asarray(expected, jnp.uint8), bits)[:, 0], byte)


@every_width
def test_constants_closed_over_under_jit(bits):
    """Where conversion by bit casts is folded wrongly at compile time."""
    x = codes(bits, (16, 9))
    packed = pack(jnp.asarray(x), bits)
    np.testing.assert_array_equal(jax.jit(lambda: pack(jnp.asarray(x), bits))(), packed)
    np.testing.assert_array_equal(jax.jit(lambda: unpack(packed, bits, 9))(), x)
    np.testing.assert_array_equal(
        jax.jit(lambda: unpack(packed, bits, 9).astype(jnp.float32))(), x.astype(np.float32)
    )
