"""Quantized leaves with a low-rank correction."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxcompress.core.corrected import Corrected
from jaxcompress.core.lowrank import LowRank
from jaxcompress.core.messages import shown
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.spec import QuantSpec
from jaxcompress.storage.container.dtypes import floating_dtype
from jaxcompress.storage.container.errors import contradiction
from jaxcompress.storage.container.forms.form import Form, sound


def _corrected(
    fields: list[Any], parts: Mapping[Any, Any], specs: Sequence[QuantSpec]
) -> Corrected:
    del specs
    match fields:
        case [str(name)]:
            dtype = floating_dtype(name)
        case _:
            raise contradiction(f"{shown(fields)} are not the dtype of a corrected leaf")
    match parts:
        case {"base": QTensor() as base, "correction": LowRank() as correction} if len(parts) == 2:
            return sound(Corrected(base, correction, dtype))
    raise contradiction(f"parts {shown(sorted(parts))} in a corrected leaf, no codes and product")


CORRECTED = Form(
    kind="corrected",
    type=Corrected,
    fields=lambda leaf, specs: [leaf.dtype.name],
    children=lambda leaf: leaf.parts,
    outlined=_corrected,
    restored=_corrected,
)
