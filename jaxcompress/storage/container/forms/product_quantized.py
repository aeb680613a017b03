"""Product-quantized leaves: a code for each vector, and the codebooks."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxcompress.core.messages import shown
from jaxcompress.core.packing import WIDTHS, packed_length
from jaxcompress.core.product import MOST_ENTRIES, ProductQuantized
from jaxcompress.core.spec import QuantSpec
from jaxcompress.storage.container import planes
from jaxcompress.storage.container.arrays import on_host
from jaxcompress.storage.container.dtypes import floating_dtype
from jaxcompress.storage.container.errors import contradiction
from jaxcompress.storage.container.forms.form import ARRAYS, Form, sound
from jaxcompress.storage.container.limits import checked_order, checked_size
from jaxcompress.storage.container.parts import Codes, Source, of_codes


def _children(leaf: ProductQuantized) -> dict[str, Source | Any]:
    """Codes of as few bits as hold them, and codebooks as they are.

    Raises:
      ValueError: an array is not what the leaf goes with, or a code is no entry.
    """
    sound(leaf)

    def codes() -> np.ndarray:
        found = planes.unpack(on_host(leaf.codes), _width(leaf.bits), leaf.vectors)
        _check_codes(found, leaf.entries)
        return found

    return {"codes": of_codes(leaf.codes_shape, leaf.bits, codes), "codebooks": leaf.codebooks}


def _outlined(fields: list[Any], parts: Mapping[str, Any], specs: Sequence[QuantSpec]):
    del specs
    codes = parts.get("codes")
    if not isinstance(codes, Codes) or not codes.shape:
        raise contradiction(f"parts {shown(sorted(parts))} in a product-quantized leaf, no codes")
    entries, bits = _entries(parts), codes.bits
    if bits != (entries - 1).bit_length():
        raise contradiction(f"has codes of {bits} bits for {entries} entries")
    packed = packed_length(codes.shape[-1], _width(bits))
    struct = jax.ShapeDtypeStruct((*codes.shape[:-1], packed), np.uint8)
    return _leaf(fields, {**parts, "codes": struct}, codes.shape)


def _restored(fields: list[Any], parts: Mapping[str, Any], specs: Sequence[QuantSpec]):
    del specs
    codes, entries = parts["codes"], _entries(parts)
    _check_codes(codes, entries)
    width = _width((entries - 1).bit_length())
    packed = codes if width == 8 else planes.pack(codes, width)
    return _leaf(fields, {**parts, "codes": packed}, codes.shape)


def _leaf(fields: list[Any], parts: Mapping[str, Any], shape: tuple[int, ...]) -> ProductQuantized:
    match fields:
        case [str(name), list(order), list(inputs)]:
            dtype = floating_dtype(name)
        case _:
            raise contradiction(f"{shown(fields)} are not dtype, order and inputs of vectors")
    sizes = tuple(map(checked_size, inputs))
    checked = checked_order(order, len(shape) - 1 + len(sizes))
    leaf = sound(ProductQuantized(parts["codes"], parts["codebooks"], sizes, dtype, checked))
    if shape[-1] != leaf.vectors:
        raise contradiction(f"has {shape[-1]} codes for {leaf.vectors} vectors")
    return leaf


def _entries(parts: Mapping[str, Any]) -> int:
    """How many entries the codebooks have, where there are any."""
    codebooks: Any = parts.get("codebooks")
    if set(parts) != {"codes", "codebooks"} or not isinstance(codebooks, ARRAYS):
        raise contradiction(
            f"parts {shown(sorted(parts))} in a product-quantized leaf, not its codes and codebooks"
        )
    if len(codebooks.shape) < 3 or not 2 <= codebooks.shape[-2] <= MOST_ENTRIES:
        raise contradiction(f"has codebooks of shape {shown(codebooks.shape)}")
    return codebooks.shape[-2]


def _check_codes(codes: np.ndarray, entries: int) -> None:
    highest = codes.max(initial=0)
    if highest >= entries:
        raise contradiction(f"has a code of {highest} for {entries} entries")


def _width(bits: int) -> int:
    """Bits of a code in memory."""
    return next(width for width in WIDTHS if width >= bits)


PRODUCT_QUANTIZED = Form(
    kind="product_quantized",
    type=ProductQuantized,
    fields=lambda leaf, specs: [leaf.dtype.name, list(leaf.order), list(leaf.inputs)],
    children=_children,
    outlined=_outlined,
    restored=_restored,
)
