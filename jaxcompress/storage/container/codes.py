"""A `QTensor` as words and bytes, and back."""

import math

import jax
import numpy as np

from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.spec import QuantSpec
from jaxcompress.storage.coders import coder_named
from jaxcompress.storage.coders.words import Words, known_dtype, pack, unpack
from jaxcompress.storage.container.records import Record


def code_words(leaf: QTensor) -> Words:
    """The codes as words in stored order; zero is the word of the zero point.

    Raises:
      ValueError: a zero point is no code of the spec, or not what the spec goes with.
    """
    spec, codes = leaf.spec, np.asarray(leaf.codes)
    values = (
        codes.view(np.uint8)
        if spec.stored_bits == 8
        else unpack(codes, spec.stored_bits, leaf.length)
    )
    zero = _zero_words(_zero_offsets(leaf), spec, leaf.stored_shape)
    return Words(values.reshape(-1), zero, spec.stored_bits)


def side_bytes(leaf: QTensor) -> np.ndarray:
    """What decoding needs beside the codes, as `Record` says."""
    offsets = b"" if leaf.spec.symmetric else _zero_offsets(leaf).tobytes()
    return np.frombuffer(np.asarray(leaf.scale).tobytes() + offsets, np.uint8)


def record_of(leaf: QTensor, spec: int) -> Record:
    """The record of the leaf, still without a coder."""
    return Record("", leaf.dtype.name, leaf.stored_shape, spec, leaf.order, leaf.scale.shape)


def restore(data: np.ndarray, record: Record, spec: QuantSpec) -> QTensor:
    """The leaf from its side bytes and coded words.

    Raises:
      ValueError: there are more or fewer bytes than the record says.
    """
    count = math.prod(record.blocks)
    ends = [4 * count, 4 * count + (0 if spec.symmetric else count)]
    if data.size < ends[-1]:
        raise ValueError(f"{count} scales do not lie in {data.size} bytes")
    scale, offsets, coded = np.split(data, ends)
    offsets = (
        np.asarray(-spec.lowest, np.uint8) if spec.symmetric else offsets.reshape(record.blocks)
    )
    zero = _zero_words(offsets, spec, record.shape)
    values = coder_named(record.coder).decode(
        coded, math.prod(record.shape), spec.stored_bits, zero
    )
    return _outlined(
        record,
        spec,
        codes=jax.device_put(_stored(values.reshape(record.shape), spec)),
        scale=jax.device_put(scale.view("<f4").reshape(record.blocks)),
        zero_point=None
        if spec.symmetric
        else jax.device_put(offsets.astype(np.int32) + spec.lowest),
    )


def logical_shape(record: Record, spec: QuantSpec) -> tuple[int, ...]:
    """The shape of the array that the recorded leaf stands for; nothing is decoded."""
    # Of the codes only the rank and the leading sizes are read.
    codes = jax.ShapeDtypeStruct(record.shape, np.uint8)
    return _outlined(record, spec, codes, None, None).shape


def _outlined(record: Record, spec: QuantSpec, codes, scale, zero_point) -> QTensor:
    dtype = known_dtype(record.dtype)
    parts = codes, scale, None, zero_point, None
    return QTensor(*parts, spec, dtype, record.order, record.shape[-1])


def _stored(values: np.ndarray, spec: QuantSpec) -> np.ndarray:
    if spec.stored_bits < 8:
        return pack(values, spec.stored_bits)
    return values if spec.lowest == 0 else values.view(np.int8)


def _zero_offsets(leaf: QTensor) -> np.ndarray:
    """Zero points as uint8 offsets from the lowest code; one where none are stored."""
    spec = leaf.spec
    if spec.symmetric != (leaf.zero_point is None):
        raise ValueError(f"has the zero point {leaf.zero_point}, which {spec} does not go with")
    offsets = np.asarray(0 if leaf.zero_point is None else leaf.zero_point) - spec.lowest
    if np.any((offsets < 0) | (offsets > spec.highest - spec.lowest)):
        raise ValueError(f"has a zero point outside of [{spec.lowest}, {spec.highest}]")
    return offsets.astype(np.uint8)


def _zero_words(offsets: np.ndarray, spec: QuantSpec, shape: tuple[int, ...]) -> np.ndarray:
    """The word of code zero, () or one per entry; 8-bit codes have no offset."""
    base = spec.lowest if spec.stored_bits == 8 else 0
    words = np.asarray((offsets.astype(np.int16) + base) % 256, np.uint8)
    for axis, count in enumerate(words.shape):
        words = np.repeat(words, shape[axis] // max(count, 1), axis)
    return words.reshape(-1) if words.ndim else words
