"""Leaves as parts of the container, and back: one row of `FORMS` per compressed kind.

A new kind of compressed leaf is one more row. Whatever is no compressed leaf is one
array or a Python number.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcompress.core.corrected import Corrected
from jaxcompress.core.hashed import Hashed
from jaxcompress.core.lowrank import LowRank
from jaxcompress.core.messages import shown
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.rotated import STORED, Rotated
from jaxcompress.core.spec import QuantSpec
from jaxcompress.storage.container import differences, quantized
from jaxcompress.storage.container.arrays import on_host
from jaxcompress.storage.container.differences import Difference, Same, Signs
from jaxcompress.storage.container.dtypes import PYTHON_TYPES, floating_dtype
from jaxcompress.storage.container.errors import FileError, contradiction
from jaxcompress.storage.container.limits import checked_order, checked_size, chosen
from jaxcompress.storage.container.parts import Part, decoded
from jaxcompress.storage.container.records import Record


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
    type: type
    fields: Callable[[Any, Sequence[QuantSpec]], list]
    children: Callable[[Any], dict[str, Any]]
    outlined: Callable[[list, dict, Sequence[QuantSpec]], Any]
    restored: Callable[[list, dict, Sequence[QuantSpec]], Any]


def _quantized(fields: list, specs: Sequence[QuantSpec]) -> tuple:
    """Spec, dtype and order of a quantized leaf."""
    match fields:
        case [spec, str(dtype), list(order)]:
            return chosen(specs, spec, "spec"), floating_dtype(dtype), order
    raise contradiction(f"{shown(fields)} are not spec, dtype and order of a quantized leaf")


def _outlined_codes(fields: list, structs: dict, specs: Sequence[QuantSpec]) -> QTensor:
    return quantized.outlined(structs, *_quantized(fields, specs))


def _restored_codes(fields: list, arrays: dict, specs: Sequence[QuantSpec]) -> QTensor:
    spec, dtype, order = _quantized(fields, specs)
    return quantized.restored(arrays, spec, dtype, tuple(order))


QUANTIZED = Form(
    kind="quantized",
    type=QTensor,
    fields=lambda leaf, specs: [specs.index(leaf.spec), leaf.dtype.name, list(leaf.order)],
    children=lambda leaf: quantized.sources(leaf, on_host),
    outlined=_outlined_codes,
    restored=_restored_codes,
)


def _low_rank(fields: list, factors: Mapping, specs: Sequence[QuantSpec]) -> LowRank:
    del specs
    if set(factors) != {"left", "right"}:
        found = shown(sorted(factors))
        raise contradiction(f"parts {found} in a low-rank leaf, not ['left', 'right']")
    return product(factors["left"], factors["right"], fields)


LOW_RANK = Form(
    kind="low_rank",
    type=LowRank,
    fields=lambda leaf, specs: [leaf.dtype.name, list(leaf.order), leaf.output_ndim],
    children=lambda leaf: leaf.factors,
    outlined=_low_rank,
    restored=_low_rank,
)


def _corrected(fields: list, parts: Mapping, specs: Sequence[QuantSpec]) -> Corrected:
    del specs
    match fields:
        case [str(name)]:
            dtype = floating_dtype(name)
        case _:
            raise contradiction(f"{shown(fields)} are not the dtype of a corrected leaf")
    match parts:
        case {"base": QTensor() as base, "correction": LowRank() as correction} if len(parts) == 2:
            return _sound(Corrected(base, correction, dtype))
    raise contradiction(f"parts {shown(sorted(parts))} in a corrected leaf, no codes and product")


CORRECTED = Form(
    kind="corrected",
    type=Corrected,
    fields=lambda leaf, specs: [leaf.dtype.name],
    children=lambda leaf: leaf.parts,
    outlined=_corrected,
    restored=_corrected,
)


def _rotated(fields: list, parts: Mapping, specs: Sequence[QuantSpec]) -> Rotated:
    del specs
    match fields:
        case [str(name), list(order), output_ndim, contracting_ndim, block]:
            dtype = floating_dtype(name)
        case _:
            raise contradiction(
                f"{shown(fields)} are not dtype, order, axes and block of a rotated leaf"
            )
    kinds = {"leaf": (*_ARRAYS, *STORED), "negative": _ARRAYS}
    if set(parts) != set(kinds):
        raise contradiction(f"parts {shown(sorted(parts))} in a rotated leaf, not {sorted(kinds)}")
    if not all(isinstance(parts[name], kind) for name, kind in kinds.items()):
        raise contradiction("a rotated leaf of a kind that is not rotated, or whose signs are none")
    leaf, negative = parts["leaf"], parts["negative"]
    checked = checked_order(order, len(leaf.shape))
    outputs, inputs, size = map(checked_size, (output_ndim, contracting_ndim, block))
    return _sound(Rotated(leaf, negative, size, dtype, checked, outputs, inputs))


ROTATED = Form(
    kind="rotated",
    type=Rotated,
    fields=lambda leaf, specs: [
        leaf.dtype.name,
        list(leaf.order),
        leaf.output_ndim,
        leaf.contracting_ndim,
        leaf.block,
    ],
    children=lambda leaf: leaf.parts,
    outlined=_rotated,
    restored=_rotated,
)


def _hashed(fields: list, parts: Mapping[str, Any], specs: Sequence[QuantSpec]) -> Hashed:
    del specs
    match fields:
        case [str(name), list(order), list(sizes), int(seed)]:
            dtype = floating_dtype(name)
        case _:
            raise contradiction(f"{shown(fields)} are not dtype, order, sizes and seed of a hash")
    values: Any = parts.get("values")
    if set(parts) != {"values"} or not isinstance(values, _ARRAYS):
        raise contradiction(f"parts {shown(sorted(parts))} in a hashed leaf, not its values")
    checked = checked_order(order, len(values.shape) + len(sizes) - 1)
    return _sound(Hashed(parts["values"], tuple(map(checked_size, sizes)), seed, dtype, checked))


HASHED = Form(
    kind="hashed",
    type=Hashed,
    fields=lambda leaf, specs: [leaf.dtype.name, list(leaf.order), list(leaf.sizes), leaf.seed],
    children=lambda leaf: leaf.parts,
    outlined=_hashed,
    restored=_hashed,
)

FORMS = (QUANTIZED, LOW_RANK, CORRECTED, ROTATED, HASHED)
TO_ANOTHER_FILE = tuple(
    Form(kind, leaf, differences.fields_of, lambda leaf: leaf.parts, read, read)
    for kind, leaf, read in (
        ("same", Same, differences.same),
        ("difference", Difference, differences.difference),
        ("signs", Signs, differences.signs),
    )
)
_ARRAYS = (jax.Array, jax.ShapeDtypeStruct, np.ndarray)
_FACTORS = (*_ARRAYS, QTensor)


def _sound(leaf):
    """The leaf of several parts; a FileError where they do not fit each other."""
    if fault := leaf._dtype_fault() or leaf._shape_fault():
        raise contradiction(f"has {fault}")
    return leaf


def product(left, right, fields: list) -> LowRank:
    """The leaf of two factors, or of their shapes.

    Args:
      left: an array or a quantized leaf, as `LowRank` says.
      right: the same.
      fields: dtype, order of axes and number of output axes, as files hold them.

    Raises:
      FileError: they do not fit each other.
    """
    match fields:
        case [str(name), list(order), output_ndim]:
            dtype = floating_dtype(name)
        case _:
            raise contradiction(f"{shown(fields)} are not dtype, order and axes of a low-rank leaf")
    for factor in (left, right):
        if not isinstance(factor, _FACTORS):
            raise contradiction("a factor of a low-rank leaf that is neither array nor quantized")
    batch = len(left.shape) - checked_size(output_ndim) - 1
    shared = batch >= 0 and left.shape[:batch] == right.shape[:batch]
    if not shared or tuple(right.shape[batch : batch + 1]) != tuple(left.shape[-1:]):
        found = f"{shown(left.shape)} and {shown(right.shape)}"
        raise contradiction(f"factors of shapes {found} have no product")
    checked = checked_order(order, len(left.shape) + len(right.shape) - batch - 2)
    leaf = LowRank(left, right, dtype, checked, output_ndim)
    if fault := leaf._dtype_fault():
        raise contradiction(f"has {fault}")
    return leaf


def form_of(leaf) -> Form | None:
    """The row of a compressed leaf; None for an array or a number."""
    forms = (*FORMS, *TO_ANOTHER_FILE)
    return next((form for form in forms if isinstance(leaf, form.type)), None)


def form_named(kind: str) -> Form:
    """The row of the kind that a file names.

    Raises:
      FileError: there is none.
    """
    for form in (*FORMS, *TO_ANOTHER_FILE):
        if form.kind == kind:
            return form
    known = ", ".join(form.kind for form in FORMS)
    raise FileError(f"there is no leaf of kind {shown(kind)}, only {known}. Update jaxcompress.")


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
