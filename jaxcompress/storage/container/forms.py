"""Leaves as parts of the container, and back: one row of `FORMS` per compressed kind.

A new kind of compressed leaf is one more row. Whatever is no compressed leaf is one
array or a Python number.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxcompress.core.lowrank import LowRank
from jaxcompress.core.order import permutation_of
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.spec import QuantSpec
from jaxcompress.storage.container import quantized
from jaxcompress.storage.container.arrays import on_device, on_host
from jaxcompress.storage.container.dtypes import PYTHON_TYPES, known_dtype
from jaxcompress.storage.container.parts import Part, decoded
from jaxcompress.storage.container.records import Node, Record, check_sizes


class Form(NamedTuple):
    """How one kind of compressed leaf lies in a file.

    Attributes:
      kind: what files call it.
      type: its class.
      fields: (leaf, specs) -> what is no array, as JSON.
      children: leaf -> its parts by name: sources, or leaves of their own.
      outlined: (fields, shapes by name, specs) -> the leaf with shapes for arrays; a
        ValueError where they are not those of such a leaf.
      restored: (fields, arrays by name, specs) -> the leaf.
    """

    kind: str
    type: type
    fields: Callable[[Any, Sequence[QuantSpec]], list]
    children: Callable[[Any], dict[str, Any]]
    outlined: Callable[[list, dict, Sequence[QuantSpec]], Any]
    restored: Callable[[list, dict, Sequence[QuantSpec]], Any]


def _quantized_statics(fields: list, specs: Sequence[QuantSpec], ndim: int) -> tuple:
    spec, dtype, order = fields
    check_sizes([spec])
    return specs[spec], known_dtype(dtype), checked_order(order, ndim)


QUANTIZED = Form(
    kind="quantized",
    type=QTensor,
    fields=lambda leaf, specs: [specs.index(leaf.spec), leaf.dtype.name, list(leaf.order)],
    children=lambda leaf: quantized.sources(leaf, on_host),
    outlined=lambda fields, structs, specs: quantized.outlined(
        structs, *_quantized_statics(fields, specs, len(structs["codes"].shape))
    ),
    restored=lambda fields, arrays, specs: quantized.restored(
        arrays, *_quantized_statics(fields, specs, arrays["codes"].ndim)
    ),
)


def _low_rank(fields: list, factors: Mapping, specs: Sequence[QuantSpec]) -> LowRank:
    del specs
    dtype, order, output_ndim = fields
    check_sizes([output_ndim])
    if set(factors) != {"left", "right"}:
        raise ValueError(f"parts {sorted(factors)} in a low-rank leaf, not ['left', 'right']")
    return product(factors["left"], factors["right"], known_dtype(dtype), order, output_ndim)


LOW_RANK = Form(
    kind="low_rank",
    type=LowRank,
    fields=lambda leaf, specs: [leaf.dtype.name, list(leaf.order), leaf.output_ndim],
    children=lambda leaf: leaf.factors,
    outlined=_low_rank,
    restored=lambda fields, factors, specs: _low_rank(
        fields, {name: on_device(factor) for name, factor in factors.items()}, specs
    ),
)

FORMS = (QUANTIZED, LOW_RANK)


def product(left, right, dtype: np.dtype, order: Sequence[int], output_ndim: int) -> LowRank:
    """The leaf of two factors, or of their shapes.

    Raises:
      ValueError: they do not fit each other.
    """
    batch = len(left.shape) - output_ndim - 1
    shared = batch >= 0 and left.shape[:batch] == right.shape[:batch]
    if not shared or tuple(right.shape[batch : batch + 1]) != tuple(left.shape[-1:]):
        raise ValueError(f"factors of shapes {left.shape} and {right.shape} have no product")
    checked = checked_order(order, len(left.shape) + len(right.shape) - batch - 2)
    leaf = LowRank(left, right, dtype, checked, output_ndim)
    if fault := leaf._dtype_fault():
        raise ValueError(f"has {fault}")
    return leaf


def checked_order(order: Sequence[int], ndim: int) -> tuple[int, ...]:
    """The order of a leaf of so many axes, negative as leaves hold it.

    Raises:
      ValueError: it is none.
    """
    listed = list(order)
    last = all(type(axis) is int and axis < 0 for axis in listed) and len(listed) <= ndim
    if not last or sorted(permutation_of(tuple(listed), ndim)) != list(range(ndim)):
        raise ValueError(f"{listed} is not an order of {ndim} axes")
    return tuple(listed)


def form_of(leaf) -> Form | None:
    """The row of a compressed leaf; None for an array or a number."""
    return next((form for form in FORMS if isinstance(leaf, form.type)), None)


def form_named(kind: str) -> Form:
    """The row of the kind that a file names.

    Raises:
      ValueError: there is none.
    """
    for form in FORMS:
        if form.kind == kind:
            return form
    raise ValueError(
        f"there is no leaf of kind {kind!r}, only {', '.join(form.kind for form in FORMS)}"
    )


def outlined(record: Record, specs: Sequence[QuantSpec]):
    """The leaf that a record describes, with shapes for arrays; nothing is decoded.

    Raises:
      ValueError: the record contradicts itself.
    """
    if isinstance(record, Part):
        return record.struct
    children = {name: outlined(child, specs) for name, child in record.children.items()}
    return form_named(record.kind).outlined(record.fields, children, specs)


def restored(record: Record, data: np.ndarray, specs: Sequence[QuantSpec]):
    """The leaf that a record describes, from its bytes.

    Args:
      record: what `outlined` accepts.
      data: (n,) uint8, the bytes of its parts one after the other.
      specs: the file's.

    Returns:
      A compressed leaf, a JAX array, a NumPy array (64-bit dtypes while JAX has none),
      or a Python number.

    Raises:
      ValueError: the bytes are not those of such a leaf.
    """
    leaf, rest = _restored(record, data, specs)
    if rest.size:
        raise ValueError(f"{rest.size} bytes more than its parts take")
    if isinstance(record, Node):
        return leaf
    return leaf.item() if record.dtype in PYTHON_TYPES else on_device(leaf)


def _restored(record: Record, data: np.ndarray, specs: Sequence[QuantSpec]):
    """The leaf, arrays still on the host, and the bytes that follow it."""
    if isinstance(record, Part):
        coded, rest = np.split(data, [record.size_bytes])
        return decoded(record, coded), rest
    children = {}
    for name, child in record.children.items():
        children[name], data = _restored(child, data, specs)
    return form_named(record.kind).restored(record.fields, children, specs), data
