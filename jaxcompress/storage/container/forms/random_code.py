"""Leaves of random codes: indices of candidates and the deviation of these."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxcompress.core.messages import shown
from jaxcompress.core.random_code import RandomCode
from jaxcompress.core.spec import QuantSpec
from jaxcompress.storage.container.dtypes import floating_dtype
from jaxcompress.storage.container.errors import contradiction
from jaxcompress.storage.container.forms.form import ARRAYS, Form, sound
from jaxcompress.storage.container.limits import checked_order, checked_size


def _random_code(
    fields: list[Any], parts: Mapping[str, Any], specs: Sequence[QuantSpec]
) -> RandomCode:
    del specs
    match fields:
        case [str(name), list(order), list(sizes), blocks, bits, seed]:
            dtype = floating_dtype(name)
        case _:
            raise contradiction(
                f"{shown(fields)} are not dtype, order, sizes, blocks, bits and seed of a random "
                "code"
            )
    if set(parts) != {"codes", "scale"} or not all(isinstance(x, ARRAYS) for x in parts.values()):
        raise contradiction(f"parts {shown(sorted(parts))} in a random code, not codes and scale")
    checked = checked_order(order, len(parts["codes"].shape) + len(sizes) - 1)
    static = (tuple(map(checked_size, sizes)), blocks, bits, seed, dtype, checked)
    return sound(RandomCode(parts["codes"], parts["scale"], *static))


RANDOM_CODE = Form(
    kind="random_code",
    type=RandomCode,
    fields=lambda leaf, specs: [
        leaf.dtype.name,
        list(leaf.order),
        list(leaf.sizes),
        leaf.blocks,
        leaf.bits,
        leaf.seed,
    ],
    children=lambda leaf: leaf.parts,
    outlined=_random_code,
    restored=_random_code,
)
