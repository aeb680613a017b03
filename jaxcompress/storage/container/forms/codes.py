"""Quantized leaves: codes, scales and what a spec adds to them."""

from collections.abc import Sequence
from typing import Any

from jaxcompress.core.messages import shown
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.spec import QuantSpec
from jaxcompress.storage.container import quantized
from jaxcompress.storage.container.arrays import on_host
from jaxcompress.storage.container.dtypes import floating_dtype
from jaxcompress.storage.container.errors import contradiction
from jaxcompress.storage.container.forms.form import Form
from jaxcompress.storage.container.limits import chosen


def _quantized(fields: list[Any], specs: Sequence[QuantSpec]) -> tuple[Any, ...]:
    """Spec, dtype and order of a quantized leaf."""
    match fields:
        case [spec, str(dtype), list(order)]:
            return chosen(specs, spec, "spec"), floating_dtype(dtype), order
    raise contradiction(f"{shown(fields)} are not spec, dtype and order of a quantized leaf")


def _outlined_codes(
    fields: list[Any], structs: dict[Any, Any], specs: Sequence[QuantSpec]
) -> QTensor:
    return quantized.outlined(structs, *_quantized(fields, specs))


def _restored_codes(
    fields: list[Any], arrays: dict[Any, Any], specs: Sequence[QuantSpec]
) -> QTensor:
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
