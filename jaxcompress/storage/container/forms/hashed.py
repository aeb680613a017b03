"""Leaves that share values by a hash of their positions."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxcompress.core.hashed import Hashed
from jaxcompress.core.messages import shown
from jaxcompress.core.spec import QuantSpec
from jaxcompress.storage.container.dtypes import floating_dtype
from jaxcompress.storage.container.errors import contradiction
from jaxcompress.storage.container.forms.form import ARRAYS, Form, sound
from jaxcompress.storage.container.limits import checked_order, checked_size


def _hashed(fields: list[Any], parts: Mapping[str, Any], specs: Sequence[QuantSpec]) -> Hashed:
    del specs
    match fields:
        case [str(name), list(order), list(sizes), int(seed)]:
            dtype = floating_dtype(name)
        case _:
            raise contradiction(f"{shown(fields)} are not dtype, order, sizes and seed of a hash")
    values: Any = parts.get("values")
    if set(parts) != {"values"} or not isinstance(values, ARRAYS):
        raise contradiction(f"parts {shown(sorted(parts))} in a hashed leaf, not its values")
    checked = checked_order(order, len(values.shape) + len(sizes) - 1)
    return sound(Hashed(parts["values"], tuple(map(checked_size, sizes)), seed, dtype, checked))


HASHED = Form(
    kind="hashed",
    type=Hashed,
    fields=lambda leaf, specs: [leaf.dtype.name, list(leaf.order), list(leaf.sizes), leaf.seed],
    children=lambda leaf: leaf.parts,
    outlined=_hashed,
    restored=_hashed,
)
