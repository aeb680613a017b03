"""Merged weights back into codes of the base's own format."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.axes import Axes
from jaxcompress.core.checks import check_concrete
from jaxcompress.core.kinds import check_takes
from jaxcompress.core.leaf import is_compressed, materialize
from jaxcompress.core.messages import shown
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.rules import Rules
from jaxcompress.core.trees import check_arrays, check_leaves, named_axes
from jaxcompress.core.types import Params

Quantize = Callable[..., tuple[Params, Any]]
"""(params, rules of specs, axes=) to (params with codes, report), as `quantize`."""


class Lost(NamedTuple):
    """What codes lose of a merged leaf.

    Attributes:
      of_weight: the norm of the error over that of the merged weight.
      of_change: over that of its difference to the base; above 1 the codes are nearer
        to the base than to what was trained. NaN where there is no difference.
    """

    of_weight: float
    of_change: float


def recode(
    merged: Params, base: Params, quantize: Quantize, *, axes: Axes | None = None
) -> tuple[Params, dict[str, Lost]]:
    """Quantizes merged weights by the formats that the base has, and says what is lost.

    Not for: all that adapters learned, much of which few bits round away; keep them
    apart and `run` the model.

    What is trained beside codes of few bits is often smaller than their steps, so that
    much of it is rounded away: read the errors, or ship what `freeze` gives.

    Also known as: merging LoRA into a quantized model.

    Args:
      merged: arrays, as `technique.merge(base, adapters)` gives them.
      base: the params that were adapted; each `QTensor` says the format of its leaf,
        and arrays stay arrays.
      quantize: `jc.quantize.quantize`, or a function like it that rounds otherwise.
      axes: what `graph.axes` gave.

    Returns:
      (params, lost): the merged params with codes where the base has them, and what
      they lose of each such leaf by name.

    Raises:
      TypeError: an argument is of another kind, or traced; or a leaf of the base is
        compressed otherwise, as `Corrected` and `Rotated` are, which no format says.
      ValueError: the params are not of the same leaves and shapes, or the base has no
        codes.

    Example:
      >>> base, _ = jc.quantize.quantize({"w": jnp.eye(4)}, jc.quantize.int8())
      >>> merged = {"w": jnp.eye(4) + 0.001 * jnp.ones((4, 4))}
      >>> params, lost = jc.adapt.recode(merged, base, jc.quantize.quantize)
      >>> params["w"], round(lost["w"].of_change, 2)
      (QTensor(int8 per channel, shape=(4, 4), dtype=float32), 0.87)
    """
    for argument, tree in (("merged", merged), ("base", base)):
        check_arrays("recode", argument, tree)
        check_concrete("recode", **{argument: tree})
    check_takes("recode", "quantize", quantize, 2, "Pass jc.quantize.quantize.")
    named_axes("recode", axes)
    codes = {name: leaf for name, leaf in named_leaves(base).items() if is_compressed(leaf)}
    for name, leaf in codes.items():
        _check_codes(name, leaf)
    if not codes:
        raise ValueError(
            "recode(base=...) has no leaf of codes whose format could be taken. Pass the params "
            "with QTensor leaves, as they were before technique.freeze."
        )
    check_leaves("recode", "merged", merged, base)
    arrays = named_leaves(merged)
    for name, leaf in codes.items():
        _check_array(name, arrays.get(name), leaf)
    rules = Rules({name: leaf.spec for name, leaf in codes.items()})

    params, _ = quantize(merged, rules, axes=axes)
    found = named_leaves(params)
    lost = {
        name: _lost(_wide(arrays[name]), _wide(leaf), _wide(found[name]))
        for name, leaf in codes.items()
    }
    return map_named(lambda name, _: found[name], merged), lost


def _check_codes(name: str, leaf) -> None:
    if not isinstance(leaf, QTensor):
        raise TypeError(
            f"recode(base=...): leaf {name!r} is {leaf!r}, which is more than codes of a format. "
            "Ship technique.freeze(base, adapters), or pass a base with an array in its place, "
            "for the merged array to stay one."
        )


def _check_array(name: str, array, leaf: QTensor) -> None:
    if is_compressed(array) or np.shape(array) != leaf.shape:
        raise ValueError(
            f"recode(merged=...): leaf {name!r} is {shown(array)}, and the base has {leaf!r}. Pass "
            "arrays of its shape, as technique.merge(base, adapters) gives them."
        )


def _wide(leaf) -> np.ndarray:
    return np.asarray(jnp.asarray(materialize(leaf)), np.float64)


def _lost(merged: np.ndarray, base: np.ndarray, codes: np.ndarray) -> Lost:
    error, change = np.linalg.norm(codes - merged), np.linalg.norm(merged - base)
    size = np.linalg.norm(merged)
    return Lost(
        float(error / size) if size else 0.0, float(error / change) if change else float("nan")
    )
