"""One leaf as one array of the container, and back.

A plain array that no coder makes smaller lies in the container as it is, readable by
any program. Every other leaf is a run of bytes with a record that says how to read it.
"""

import json
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.spec import QuantSpec
from jaxcompress.storage.coders import CODERS, coder_named
from jaxcompress.storage.coders.words import WORD_BITS, Words, array_words, word_count, word_dtype
from jaxcompress.storage.container import codes, safetensors
from jaxcompress.storage.container.records import PYTHON_TYPES, Record, stored_dtype, to_json

_NOTHING = np.zeros(0, np.uint8)


class Stored(NamedTuple):
    """One leaf as the container holds it; without a record the array is the leaf."""

    array: np.ndarray
    record: Record | None

    @property
    def size_bytes(self) -> int:
        """Bytes of the data, and of the record in the header."""
        return self.array.nbytes + len(json.dumps(to_json(self.record)))


def store(caller: str, name: str, leaf, specs: Sequence[QuantSpec]) -> Stored:
    """The leaf in its smallest stored form.

    Args:
      caller: who asks, for error messages.
      name: the leaf's name.
      leaf: a `QTensor`, an array, or a Python number.
      specs: the specs that records refer to by position.

    Raises:
      TypeError: the leaf has no numbers, or of a dtype that cannot be stored.
      ValueError: its numbers break what its kind promises.
    """
    words, side = words_of(caller, name, leaf)
    if isinstance(leaf, QTensor):
        record = codes.record_of(leaf, specs.index(leaf.spec))
    else:
        record = Record("", _dtype_name(leaf), np.shape(leaf))
    forms = [
        Stored(np.concatenate([side, coder.encode(words)]), record._replace(coder=coder.name))
        for coder in CODERS
    ]
    return min([*_as_it_is(leaf), *forms], key=lambda form: form.size_bytes)


def restore(array: np.ndarray, record: Record | None, specs: Sequence[QuantSpec]):
    """The leaf that was stored.

    Args:
      array: what the container holds.
      record: how to read it.
      specs: the file's specs.

    Returns:
      A `QTensor`, a JAX array, a NumPy array (64-bit dtypes while JAX has none), or a
      Python number.

    Raises:
      ValueError: the record and the bytes do not fit each other.
    """
    if record is None:
        return _device_array(array)
    if array.dtype != np.uint8 or array.ndim != 1:
        raise ValueError(f"a leaf with a record is {array.dtype}{list(array.shape)}, no bytes")
    if record.spec >= 0:
        return codes.restore(array, record, specs[record.spec])
    dtype = stored_dtype(record)
    size, bits = word_count(dtype, math.prod(record.shape)), WORD_BITS[dtype.name]
    values = coder_named(record.coder).decode(array, size, bits, np.zeros((), word_dtype(bits)))
    x = values.view(dtype).reshape(record.shape)
    return x.item() if record.dtype in PYTHON_TYPES else _device_array(x)


def words_of(caller: str, name: str, leaf) -> tuple[Words, np.ndarray]:
    """The words of a leaf, and what decoding needs beside them, as bytes.

    Sharded arrays are gathered.

    Raises:
      TypeError: the leaf has no numbers, or of a dtype that cannot be stored.
      ValueError: its numbers break what its kind promises.
    """
    if not isinstance(leaf, QTensor):
        _check_storable(caller, name, leaf)
        return array_words(_on_host(leaf)), _NOTHING
    for part in jax.tree.leaves(leaf):
        _check_storable(caller, name, part)
    if leaf.scale.dtype != np.float32:
        raise ValueError(
            f"{caller}(tree): leaf {name!r} has a {leaf.scale.dtype} scale, not float32."
        )
    try:
        return codes.code_words(leaf), codes.side_bytes(leaf)
    except ValueError as error:
        raise ValueError(f"{caller}(tree): leaf {name!r} {error}. Quantize it again.") from error


def _check_storable(caller: str, name: str, leaf) -> None:
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        raise TypeError(
            f"{caller}(tree): leaf {name!r} is a random key, whose meaning a file cannot fix. "
            "Leave it out, or save jax.random.key_data(key) and pass what was loaded to "
            "jax.random.wrap_key_data."
        )
    if not isinstance(leaf, (jax.Array, np.ndarray, np.generic, bool, int, float, complex)):
        raise TypeError(
            f"{caller}(tree): leaf {name!r} is of type {type(leaf).__name__}, which holds no "
            "numbers that can be stored. Pass a tree of arrays only."
        )
    dtype = np.asarray(leaf).dtype
    if dtype.name not in WORD_BITS or (type(leaf) is int and dtype != np.int64):
        raise TypeError(
            f"{caller}(tree): leaf {name!r} has dtype {dtype}, which cannot be stored. Cast it to "
            f"one of {', '.join(WORD_BITS)}."
        )


def _as_it_is(leaf) -> list[Stored]:
    """The form without a record, where the container has one."""
    if isinstance(leaf, QTensor) or _dtype_name(leaf) in PYTHON_TYPES:
        return []
    x = _on_host(leaf)
    return [Stored(x, None)] if safetensors.holds(x.dtype) else []


def _on_host(leaf) -> np.ndarray:
    x = np.asarray(leaf)
    return x.astype(x.dtype.newbyteorder("="), copy=False)


def _dtype_name(leaf) -> str:
    python_name = f"python {type(leaf).__name__}"
    return python_name if python_name in PYTHON_TYPES else np.asarray(leaf).dtype.name


def _device_array(x: np.ndarray) -> jax.Array | np.ndarray:
    # Nobody else knows the memory of x, so that the array may take it over. Unlike
    # `jnp.array`, `device_put` neither compiles a program per shape nor copies first.
    return jax.device_put(x) if jax.dtypes.canonicalize_dtype(x.dtype) == x.dtype else x
