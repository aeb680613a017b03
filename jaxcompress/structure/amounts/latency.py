"""A budget for the time of one call, measured on shrunk models."""

from collections.abc import Callable
from typing import Any

import jax

from jaxcompress.core.checks import check_positive
from jaxcompress.core.kinds import check_function
from jaxcompress.core.timing import interleaved
from jaxcompress.core.types import Model, Params
from jaxcompress.graph.surgery.cutting import slice_params
from jaxcompress.graph.surgery.removal import Removal
from jaxcompress.graph.surgery.shrink import shrink
from jaxcompress.structure.amounts.amount import Amount
from jaxcompress.structure.amounts.narrowing import down_to
from jaxcompress.structure.widths import (
    Candidates,
    mac_prices,
)

Probe = Callable[..., float]
"""(fn, params, *inputs) to milliseconds of one call."""


def within_latency(milliseconds: float, probe: Probe | None = None) -> Amount:
    """Removes as few units as bring one call within a time, measured on shrunk models.

    Not for: machines that other work shares, whose times scatter; `within_macs` counts.

    Also known as: latency budget, hardware-aware pruning.

    Units are removed in the order of `within_macs`; their number is bisected, so about
    ten models are compiled and timed. Measured times scatter: use it to search, and
    time the result against the dense model.

    Args:
      milliseconds: of one call on the given inputs, above 0.
      probe: (fn, params, *inputs) to milliseconds; by default `median_milliseconds`.

    Returns:
      Amount.

    Raises:
      ValueError: `milliseconds` is not above 0 and finite; when applied and before
        anything is scored, the narrowest model takes longer: says how long.
    """
    if probe is not None:
        check_function(
            "within_latency", "probe", probe, "Pass (fn, params, *inputs) -> milliseconds."
        )
    check_positive("within_latency", "milliseconds", milliseconds)
    probe = median_milliseconds if probe is None else probe

    def measured(candidates: Candidates, removal: Removal) -> float:
        small = slice_params(candidates.params, removal)
        return probe(shrink(candidates.fn, removal), small, *candidates.inputs)

    call = f"within_latency(milliseconds={milliseconds})"
    return down_to(call, milliseconds, mac_prices, measured, "{:.3g} ms".format)


def median_milliseconds(fn: Model, params: Params, *inputs: Any) -> float:
    """The median time of one compiled call, over 20 of them.

    Args:
      fn: the model.
      params: its params.
      inputs: its inputs.

    Returns:
      Milliseconds.
    """
    compiled = jax.jit(fn)
    timing = interleaved({"model": lambda: compiled(params, *inputs)}, repeats=20)
    return 1e3 * timing["model"].median_seconds
