"""Leaves that are stored rotated, in whatever kind may be."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxcompress.core.messages import shown
from jaxcompress.core.rotated import STORED, Rotated
from jaxcompress.core.spec import QuantSpec
from jaxcompress.storage.container.dtypes import floating_dtype
from jaxcompress.storage.container.errors import contradiction
from jaxcompress.storage.container.forms.form import ARRAYS, Form, sound
from jaxcompress.storage.container.limits import checked_order, checked_size


def _rotated(fields: list[Any], parts: Mapping[Any, Any], specs: Sequence[QuantSpec]) -> Rotated:
    del specs
    match fields:
        case [str(name), list(order), output_ndim, contracting_ndim, block]:
            dtype = floating_dtype(name)
        case _:
            raise contradiction(
                f"{shown(fields)} are not dtype, order, axes and block of a rotated leaf"
            )
    kinds = {"leaf": (*ARRAYS, *STORED), "negative": ARRAYS}
    if set(parts) != set(kinds):
        raise contradiction(f"parts {shown(sorted(parts))} in a rotated leaf, not {sorted(kinds)}")
    if not all(isinstance(parts[name], kind) for name, kind in kinds.items()):
        raise contradiction("a rotated leaf of a kind that is not rotated, or whose signs are none")
    leaf, negative = parts["leaf"], parts["negative"]
    checked = checked_order(order, len(leaf.shape))
    outputs, inputs, size = map(checked_size, (output_ndim, contracting_ndim, block))
    return sound(Rotated(leaf, negative, size, dtype, checked, outputs, inputs))


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
