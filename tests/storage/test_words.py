"""Words: every dtype as unsigned words and back, words as bytes, codes in memory."""

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from jaxcompress.core import packing
from jaxcompress.storage.coders.words import bytes_to_words, word_dtype, words_to_bytes
from jaxcompress.storage.container import planes
from jaxcompress.storage.container.dtypes import WORD_BITS, array_words, known_dtype


def every_pattern(dtype: np.dtype) -> np.ndarray:
    """Each bit pattern of a narrow dtype, or many of a wide one, (n,)."""
    random = np.random.default_rng(0)
    count = 2 ** min(WORD_BITS[dtype.name], 8)
    if WORD_BITS[dtype.name] <= 8:
        return np.arange(count, dtype=np.uint8).view(dtype)
    return random.integers(0, 256, count * dtype.itemsize, np.uint8).view(dtype)


@pytest.mark.parametrize("name", WORD_BITS)
def test_every_dtype_and_every_bit_pattern_come_back(name):
    x = every_pattern(known_dtype(name))
    words = array_words(x)
    assert words.bits == WORD_BITS[name]
    assert words.values.size == words.layout.size == x.size * (2 if x.dtype.kind == "c" else 1)
    assert np.all(words.values < 2.0**words.bits)
    packed = words_to_bytes(words.values, words.bits)
    assert packed.dtype == np.uint8
    assert packed.size == -(-words.values.size * words.bits // 8)
    values = bytes_to_words(packed, words.values.size, words.bits)
    np.testing.assert_array_equal(values, words.values)
    assert values.view(x.dtype).tobytes() == x.tobytes()


@pytest.mark.parametrize("name", WORD_BITS)
def test_jax_has_every_dtype(name):
    assert jnp.dtype(getattr(jnp, name)) == known_dtype(name)


@pytest.mark.parametrize("name", sorted(set(WORD_BITS) - {"float8_e8m0fnu"}))
def test_only_exact_zero_is_the_zero_word(name):
    dtype = known_dtype(name)
    zeros, ones = array_words(np.array([0, 1], dtype)).values.reshape(2, -1)
    assert np.all(zeros == 0)
    assert not np.all(ones == 0)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16])
def test_negative_zero_and_nan_are_not_zero(dtype):
    words = array_words(np.array([-0.0, np.nan, 0.0], dtype))
    np.testing.assert_array_equal(words.values == 0, [False, False, True])


@pytest.mark.parametrize("bits", [*range(1, 9), 16, 32, 64])
@pytest.mark.parametrize("size", [0, 1, 7, 8, 29])
def test_bytes_are_the_bits_of_all_words_in_order(bits, size):
    random = np.random.default_rng(size)
    values = random.integers(0, 2**bits - 1, size, word_dtype(bits), endpoint=True)
    number = sum(int(value) << (bits * i) for i, value in enumerate(values))
    packed = words_to_bytes(values, bits)
    assert packed.flags.c_contiguous
    assert packed.tobytes() == number.to_bytes(-(-size * bits // 8), "little")
    np.testing.assert_array_equal(bytes_to_words(packed, size, bits), values)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("shape", [(1,), (7,), (3, 9), (2, 3, 8), (0, 3)])
def test_packing_in_memory_is_that_of_core(bits, shape):
    values = np.random.default_rng(0).integers(0, 2**bits, shape, np.uint8)
    packed = planes.pack(values, bits)
    np.testing.assert_array_equal(packed, packing.pack(jnp.asarray(values), bits))
    np.testing.assert_array_equal(planes.unpack(packed, bits, shape[-1]), values)


def test_a_wrong_length_is_refused():
    with pytest.raises(ValueError, match="5 words of 4 bits do not fit 2 bytes"):
        bytes_to_words(np.zeros(2, np.uint8), 5, 4)


@pytest.mark.parametrize("name", ["object", 5, ["int8"], None])
def test_an_unknown_dtype_is_refused(name):
    with pytest.raises(ValueError, match="is not a dtype that can be stored"):
        known_dtype(name)
