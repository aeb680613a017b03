"""What the header says about a leaf that is a run of bytes."""

from typing import NamedTuple

import numpy as np

from jaxcompress.storage.coders.words import known_dtype

PYTHON_TYPES = {
    "python bool": np.dtype(np.bool_),
    "python int": np.dtype(np.int64),
    "python float": np.dtype(np.float64),
    "python complex": np.dtype(np.complex128),
}
"""Python numbers may be leaves, and come back as Python numbers."""


class Record(NamedTuple):
    """How to read a leaf that is a run of bytes. Files hold it as a JSON list.

    Fields:
      coder: name of the coder of its words.
      dtype: of the numbers it stands for, or a name in `PYTHON_TYPES`.
      shape: of its codes in stored order, unpacked; of an array, its shape.
      spec: position of a `QTensor`'s spec in the file's list; an array has none.
      order: the `QTensor`'s order.
      blocks: shape of its scale.

    The bytes of a `QTensor` are its scale (float32), its zero points as offsets from
    `spec.lowest` (uint8, only where the spec is not symmetric), and its coded codes.
    """

    coder: str
    dtype: str
    shape: tuple[int, ...]
    spec: int = -1
    order: tuple[int, ...] = ()
    blocks: tuple[int, ...] = ()


def stored_dtype(record: Record) -> np.dtype:
    """The dtype of the numbers that a recorded leaf stands for."""
    return PYTHON_TYPES[record.dtype] if record.dtype in PYTHON_TYPES else known_dtype(record.dtype)


def to_json(record: Record | None) -> list | int:
    """The record as plain values: 0 for none, 3 fields for an array, else all 6."""
    if record is None:
        return 0
    return list(record if record.spec >= 0 else record[:3])


def from_json(fields) -> Record | None:
    """The record that `to_json` described.

    Raises:
      ValueError: a field is of another kind, or sizes do not fit each other.
    """
    if fields == 0:
        return None
    coder, dtype, shape, spec, order, blocks = [*fields, *Record._field_defaults.values()][:6]
    record = Record(coder, dtype, tuple(shape), spec, tuple(order), tuple(blocks))
    numbers = (*record.shape, *record.blocks, *(-axis - 1 for axis in record.order))
    if len(fields) not in (3, 6) or not all(
        type(number) is int and number >= 0 for number in numbers
    ):
        raise ValueError(f"{fields} is no record of a leaf")
    if record.spec >= 0:
        _check_blocks(record)
    return record


def _check_blocks(record: Record) -> None:
    fits = len(record.blocks) == len(record.shape) and all(
        size % count == 0 if count else size == 0
        for size, count in zip(record.shape, record.blocks, strict=True)
    )
    permutes = sorted(record.order) == list(range(-len(record.order), 0))
    if not (fits and permutes and 0 <= len(record.order) <= len(record.shape)):
        raise ValueError(f"{list(record)} has blocks or an order that do not fit its shape")
