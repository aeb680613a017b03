"""A `QTensor` as arrays that files hold, and back.

Codes are stored as steps from zero, (code - zero point) modulo 2**bits, so that a
pruned weight is the word 0 whatever its zero point, and every coder may rely on that.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from jaxcompress.core.formats.grids import Grid
from jaxcompress.core.messages import shown
from jaxcompress.core.packing import packed_length
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.stored import dtype_fault, part_dtypes, shape_fault
from jaxcompress.storage.container import planes
from jaxcompress.storage.container.errors import contradiction
from jaxcompress.storage.container.limits import checked_order
from jaxcompress.storage.container.parts import Codes, Source, of_array, of_codes

_PACKED = ("codes", "zero_point")
"""The arrays of codes, stored in `spec.bits` each; others are stored as they are."""


def sources(leaf: QTensor, on_host: Callable[..., Any]) -> dict[str, Source]:
    """What is stored of a leaf, by name.

    Raises:
      ValueError: an array, a code or a zero point is not what the spec goes with.
    """
    spec = leaf.spec
    if fault := _parts_fault(leaf):
        raise ValueError(fault)
    offsets = None if leaf.zero_point is None else _zero_offsets(on_host(leaf.zero_point), spec)

    def steps() -> np.ndarray:
        return _steps(code_offsets(leaf, on_host), offsets, spec)

    found = {"codes": of_codes(leaf.stored_shape, spec.bits, steps)}
    for name in part_dtypes(spec):
        if name not in _PACKED:
            found[name] = of_array(on_host(getattr(leaf, name)))
    if offsets is not None:
        found["zero_point"] = of_codes(offsets.shape, spec.bits, lambda: offsets)
    return found


def restored(
    arrays: Mapping[str, np.ndarray], spec: QuantSpec, dtype: np.dtype, order: tuple[int, ...]
) -> QTensor:
    """The leaf, on the host, from what `parts.decoded` gives for each of its parts.

    The memory of the codes becomes that of the leaf where it has whole bytes.

    Raises:
      FileError: a code or zero point is none of the spec's.
    """
    zero = arrays.get("zero_point")
    offsets = _offsets(arrays["codes"], zero, spec)
    others = {name: x for name, x in arrays.items() if name not in _PACKED}
    return of_offsets(offsets, zero, others, spec, dtype, order)


def of_offsets(
    offsets: np.ndarray,
    zero_offsets: np.ndarray | None,
    others: Mapping[str, np.ndarray],
    spec: QuantSpec,
    dtype: np.dtype,
    order: tuple[int, ...],
) -> QTensor:
    """The leaf, on the host, of codes and zero points as offsets from the lowest code.

    Raises:
      FileError: a code or zero point is none of the spec's.
    """
    parts, fault = dict(others), _offsets_fault("a code", offsets, spec)
    if zero_offsets is not None:
        fault = fault or _offsets_fault("a zero point", zero_offsets, spec)
        parts["zero_point"] = zero_offsets.astype(np.int32) + np.int32(spec.lowest)
    if fault:
        raise contradiction(fault)
    parts["codes"] = _in_memory(offsets, spec)
    return _leaf(parts, spec, dtype, order, offsets.shape[-1])


def outlined(
    structs: Mapping[str, Any],
    spec: QuantSpec,
    dtype: np.dtype,
    order: list[Any],
) -> QTensor:
    """The leaf with shapes in the places of its arrays; nothing is decoded.

    Raises:
      FileError: the parts are not those of such a leaf.
    """
    wanted = part_dtypes(spec)
    if set(structs) != set(wanted):
        found = shown(sorted(structs))
        raise contradiction(f"parts {found} in a leaf of {spec}, not {sorted(wanted)}")
    for name, struct in structs.items():
        if name in _PACKED:
            if not isinstance(struct, Codes) or struct.bits != spec.bits:
                raise contradiction(f"its {name} are not of the {spec.bits} bits of {spec}")
        elif not isinstance(struct, jax.ShapeDtypeStruct):
            raise contradiction(f"its {name} is no array of numbers")
    shape = structs["codes"].shape
    if not shape:
        raise contradiction("codes of a quantized leaf have no axis")
    length = packed_length(shape[-1], spec.stored_bits)
    codes = jax.ShapeDtypeStruct((*shape[:-1], length), spec.stored_dtype)
    parts = dict(structs) | {"codes": codes}
    if "zero_point" in parts:
        parts["zero_point"] = jax.ShapeDtypeStruct(parts["zero_point"].shape, np.int32)
    leaf = _leaf(parts, spec, dtype, checked_order(order, len(shape)), shape[-1])
    if fault := _parts_fault(leaf):
        raise contradiction(fault)
    return leaf


def code_offsets(leaf: QTensor, on_host: Callable[..., Any]) -> np.ndarray:
    """The codes less the lowest one, uint8 of the stored shape.

    Raises:
      ValueError: a code is none of the spec's.
    """
    spec, codes = leaf.spec, on_host(leaf.codes)
    if spec.stored_bits < 8:
        offsets = planes.unpack(codes, spec.stored_bits, leaf.length)
    else:
        offsets = codes.view(np.uint8) - np.uint8(spec.lowest % 256)
    if fault := _offsets_fault("a code", offsets, spec):
        raise ValueError(fault)
    return offsets


def _in_memory(offsets: np.ndarray, spec: QuantSpec) -> np.ndarray:
    """Offsets as a leaf holds its codes: packed, or whole bytes in the same memory."""
    if spec.stored_bits < 8:
        return planes.pack(offsets, spec.stored_bits)
    offsets += np.uint8(spec.lowest % 256)
    return offsets.view(spec.stored_dtype)


def _steps(offsets: np.ndarray, zero: np.ndarray | None, spec: QuantSpec) -> np.ndarray:
    """(code - zero point) modulo 2**bits, in the memory of the offsets."""
    offsets -= spread_zero(zero, spec, offsets.shape)
    offsets &= np.uint8(2**spec.bits - 1)
    return offsets


def _offsets(steps: np.ndarray, zero: np.ndarray | None, spec: QuantSpec) -> np.ndarray:
    """The offsets whose steps these are, in the memory of the steps."""
    steps += spread_zero(zero, spec, steps.shape)
    steps &= np.uint8(2**spec.bits - 1)
    return steps


def spread_zero(zero: np.ndarray | None, spec: QuantSpec, shape: tuple[int, ...]) -> np.ndarray:
    """The offset of zero for each code, or one for all of them."""
    if zero is None:
        return np.asarray(-spec.lowest % 256, np.uint8)
    for axis, size in enumerate(shape):
        if zero.shape[axis] not in (1, size):
            zero = np.repeat(zero, size // zero.shape[axis], axis)
    return zero


def _zero_offsets(zero_point: np.ndarray, spec: QuantSpec) -> np.ndarray:
    offsets = zero_point.astype(np.int64) - spec.lowest
    if fault := _offsets_fault("a zero point", offsets, spec):
        raise ValueError(fault)
    return offsets.astype(np.uint8)


def _offsets_fault(name: str, offsets: np.ndarray, spec: QuantSpec) -> str:
    """Which offsets from the lowest code are no code's; "" for none."""
    low = 0 if offsets.dtype == np.uint8 else offsets.min(initial=0)
    outside = low < 0 or offsets.max(initial=0) > spec.highest - spec.lowest
    return f"has {name} outside of [{spec.lowest}, {spec.highest}]" if outside else ""


def _parts_fault(leaf: QTensor) -> str:
    """Which array is not what the spec goes with; "" for none."""
    fault = dtype_fault(leaf.spec, leaf.codes, leaf.grid)
    fault = fault or shape_fault(leaf.spec, leaf.order, leaf.length, leaf.codes, leaf.grid)
    return fault and f"has {fault}"


def _leaf(
    parts: Mapping[Any, Any], spec: QuantSpec, dtype: np.dtype, order: tuple[int, ...], length: int
) -> QTensor:
    fields: dict[str, Any] = dict.fromkeys(("codes", *Grid._fields)) | dict(parts)
    return QTensor(**fields, spec=spec, dtype=dtype, order=order, length=length)
