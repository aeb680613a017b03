"""What a kind of compressed leaf says of how it lies in a file."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcompress.core.spec import QuantSpec
from jaxcompress.storage.container.errors import contradiction

ARRAYS = (jax.Array, jax.ShapeDtypeStruct, np.ndarray)
"""What stands for a part that is one array."""


class Form(NamedTuple):
    """How one kind of compressed leaf lies in a file.

    Attributes:
      kind: what files call it.
      type: its class.
      fields: (leaf, specs) -> what is no array, as JSON.
      children: leaf -> its parts by name: sources, or leaves of their own.
      outlined: (fields, shapes by name, specs) -> the leaf with shapes for arrays; a
        FileError where they are not those of such a leaf.
      restored: (fields, arrays by name, specs) -> the leaf, on the host.
    """

    kind: str
    type: type[Any]
    fields: Callable[[Any, Sequence[QuantSpec]], list[Any]]
    children: Callable[[Any], dict[str, Any]]
    outlined: Callable[[list[Any], dict[Any, Any], Sequence[QuantSpec]], Any]
    restored: Callable[[list[Any], dict[Any, Any], Sequence[QuantSpec]], Any]


def sound(leaf: Any):
    """The leaf of several parts; a FileError where they do not fit each other."""
    if fault := leaf._dtype_fault() or leaf._shape_fault():
        raise contradiction(f"has {fault}")
    return leaf
