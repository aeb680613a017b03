"""Every dtype that can be stored, and arrays as words of its bits."""

from collections.abc import Mapping
from types import MappingProxyType

import jax.numpy as jnp
import ml_dtypes
import numpy as np

from jaxcompress.core.messages import shown
from jaxcompress.storage.coders.words import Layout, Words, word_dtype
from jaxcompress.storage.container.errors import contradiction

WORD_BITS: Mapping[str, int] = MappingProxyType(
    {
        "bool": 1,
        **dict.fromkeys(("int2", "uint2"), 2),
        **dict.fromkeys(("int4", "uint4", "float4_e2m1fn"), 4),
        **dict.fromkeys(("int8", "uint8", "float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz"), 8),
        **dict.fromkeys(("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"), 8),
        "float8_e8m0fnu": 8,
        **dict.fromkeys(("int16", "uint16", "float16", "bfloat16"), 16),
        **dict.fromkeys(("int32", "uint32", "float32", "complex64"), 32),
        **dict.fromkeys(("int64", "uint64", "float64", "complex128"), 64),
    }
)
"""Bits of one word of every dtype that can be stored; a complex number is two words."""

PYTHON_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "python bool": "bool",
        "python int": "int64",
        "python float": "float64",
        "python complex": "complex128",
    }
)
"""Python numbers may be leaves, and come back as Python numbers; how each is stored."""


def known_dtype(name: str) -> np.dtype:
    """The dtype of a name in `WORD_BITS`.

    Raises:
      FileError: the name is another.
    """
    if not isinstance(name, str) or name not in WORD_BITS:
        raise contradiction(f"{shown(name)} is not a dtype that can be stored")
    return np.dtype(getattr(ml_dtypes, name, name))


def floating_dtype(name: str) -> np.dtype:
    """The real floating dtype of a name in `WORD_BITS`, as compressed leaves have it.

    Raises:
      FileError: the name is another.
    """
    dtype = known_dtype(name)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise contradiction(f"a compressed leaf of {dtype}, which is not a real floating dtype")
    return dtype


def array_words(x: np.ndarray) -> Words:
    """The words of an array of a dtype in `WORD_BITS`.

    Example:
      >>> array_words(np.array([0.0, -0.0], np.float16)).values
      array([    0, 32768], dtype=uint16)
    """
    bits = WORD_BITS[x.dtype.name]
    values = np.ascontiguousarray(x).reshape(-1).view(word_dtype(bits))
    if bits < 8:  # the byte of a narrow number may carry its sign in the unused bits
        values = values & np.uint8(2**bits - 1)
    return Words(values, array_layout(x.dtype, x.shape))


def array_layout(dtype: np.dtype, shape: tuple[int, ...]) -> Layout:
    """How the words of an array of a dtype in `WORD_BITS` lie."""
    return Layout(WORD_BITS[dtype.name], (*shape, 2) if dtype.kind == "c" else shape)
