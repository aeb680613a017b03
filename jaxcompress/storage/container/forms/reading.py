"""Leaves from what files say of them: their shapes first, then their arrays."""

from collections.abc import Sequence

import numpy as np

from jaxcompress.core.messages import shown
from jaxcompress.core.spec import QuantSpec
from jaxcompress.storage.container.dtypes import PYTHON_TYPES
from jaxcompress.storage.container.errors import contradiction
from jaxcompress.storage.container.forms.kinds import form_named
from jaxcompress.storage.container.parts import Part, decoded
from jaxcompress.storage.container.records import Record


def outlined(record: Record, specs: Sequence[QuantSpec]):
    """The leaf that a record describes, with shapes for arrays; nothing is decoded.

    Raises:
      FileError: the record contradicts itself.
    """
    if isinstance(record, Part):
        return record.struct
    for name, child in record.children.items():
        if isinstance(child, Part) and child.dtype in PYTHON_TYPES:
            raise contradiction(f"its {shown(name)} is a Python number and no array")
    children = {name: outlined(child, specs) for name, child in record.children.items()}
    return form_named(record.kind).outlined(record.fields, children, specs)


def restored(record: Record, data: np.ndarray, specs: Sequence[QuantSpec]):
    """The leaf that a record describes, from its bytes.

    Args:
      record: what `outlined` accepts.
      data: (n,) uint8, the bytes of its parts one after the other.
      specs: the file's.

    Returns:
      A compressed leaf of NumPy arrays, a NumPy array or a Python number.

    Raises:
      FileError: the bytes are not those of such a leaf.
    """
    leaf, _ = _restored(record, data, specs)
    return leaf.item() if isinstance(record, Part) and record.dtype in PYTHON_TYPES else leaf


def _restored(record: Record, data: np.ndarray, specs: Sequence[QuantSpec]):
    """The leaf and the bytes that follow it."""
    if isinstance(record, Part):
        coded, rest = np.split(data, [record.size_bytes])
        return decoded(record, coded), rest
    children = {}
    for name, child in record.children.items():
        children[name], data = _restored(child, data, specs)
    return form_named(record.kind).restored(record.fields, children, specs), data
