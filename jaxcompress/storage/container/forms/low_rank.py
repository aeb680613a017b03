"""Leaves of two factors, each of which may be quantized."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxcompress.core.lowrank import LowRank
from jaxcompress.core.messages import shown
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.spec import QuantSpec
from jaxcompress.storage.container.dtypes import floating_dtype
from jaxcompress.storage.container.errors import contradiction
from jaxcompress.storage.container.forms.form import ARRAYS, Form
from jaxcompress.storage.container.limits import checked_order, checked_size

_FACTORS = (*ARRAYS, QTensor)


def of_factors(left: Any, right: Any, fields: list[Any]) -> LowRank:
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


def _low_rank(fields: list[Any], factors: Mapping[Any, Any], specs: Sequence[QuantSpec]) -> LowRank:
    del specs
    if set(factors) != {"left", "right"}:
        found = shown(sorted(factors))
        raise contradiction(f"parts {found} in a low-rank leaf, not ['left', 'right']")
    return of_factors(factors["left"], factors["right"], fields)


LOW_RANK = Form(
    kind="low_rank",
    type=LowRank,
    fields=lambda leaf, specs: [leaf.dtype.name, list(leaf.order), leaf.output_ndim],
    children=lambda leaf: leaf.factors,
    outlined=_low_rank,
    restored=_low_rank,
)
