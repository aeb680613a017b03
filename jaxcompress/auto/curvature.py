"""Predicted sensitivities: a rise that is quadratic in the error of each part."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxcompress.auto.origins import check_digests, origins_of
from jaxcompress.auto.parts import Part, by_part, parts_of, tried
from jaxcompress.core.axes import Axes
from jaxcompress.core.checks import check_concrete
from jaxcompress.core.kinds import check_kind, check_select
from jaxcompress.core.names import named_leaves
from jaxcompress.core.rules import Rules
from jaxcompress.core.sensitivities import LeafSensitivity, Sensitivities
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.trees import check_arrays, named_axes
from jaxcompress.core.types import Params, Selector
from jaxcompress.quantize.assignment import check_spec


class Coefficient(NamedTuple):
    """The rise per squared error of a part, and the interval that it lies in."""

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Curvature:
    """How much a metric rises with the squared error of each part, the others exact.

        rise = coefficient · ||W' - W||²

    Attributes:
      coefficients: by part.
      metric: what rises: "loss", or "divergence" from the float model's outputs.
      method: how it was found, in words.
      sliced: by leaf the axes along which its layers lie.
      left_out: by leaf why nothing is known of it.
      confidence: of the intervals.
      digests: by leaf that of its values, so that other params are refused.
    """

    coefficients: Mapping[Part, Coefficient]
    metric: str
    method: str
    sliced: Mapping[str, tuple[int, ...]]
    left_out: Mapping[str, str]
    confidence: float = 0.95
    digests: Mapping[str, str] = dataclasses.field(default_factory=dict)


def predicted_sensitivity(
    curvature: Curvature,
    params: Params,
    spec: QuantSpec | Rules[Any] | Sequence[QuantSpec | Rules[Any]],
    *,
    axes: Axes | None = None,
    select: Selector | None = None,
) -> Sensitivities:
    """Predicts from curvature what quantizing one part at a time does, worst first.

        rise = coefficient · ||Q(W) - W||²

    No model runs, so many formats cost little. It holds for small errors without a
    direction, as rounding to nearest makes; errors that avoid directions of high
    curvature, as GPTQ's do, harm less: measure those by `sensitivity`.

    Args:
      curvature: what `second_order` or `linearity` found for these params.
      params: tree of arrays.
      spec: a format, rules of them, or a list of such: rows of each.
      axes: what `graph.axes` found; without it the layout default.
      select: leaves to try; the default is every weight that data reach.

    Returns:
      A row for each part and format, layers of a scan apart; leaves that nothing is
      known of come first, with the reason.

    Raises:
      TypeError: an argument is not of its kind.
      ValueError: no leaf is selected, the spec does not fit one asked for by name, or a
        leaf is not the one that the curvature was found of.

    Example:
      >>> loss = lambda outputs, targets: ((outputs - targets) ** 2).sum(-1)
      >>> fn = lambda params, x: x @ params["w"]
      >>> params = {"w": jnp.array([[1.0], [0.4]])}
      >>> batches = [(jnp.eye(2), jnp.zeros((2, 1)))]
      >>> found = jc.auto.second_order(fn, params, loss, batches, jax.random.key(0))
      >>> rows = jc.auto.predicted_sensitivity(found, params, jc.quantize.int4())
      >>> round(rows[0].changes["loss"], 6)  # 0.5 · 2 · (0.4 - 3/7)² / 2
      0.000408
    """
    caller = "predicted_sensitivity"
    check_kind(caller, "curvature", curvature, Curvature, "Find it by auto.second_order.")
    check_arrays(caller, "params", params)
    check_select(caller, select)
    named_axes(caller, axes)
    check_concrete(caller, params=params)
    leaves = named_leaves(params)
    rows = []
    for each in as_choices(spec):
        check_spec(caller, each)
        found = tried(caller, params, each, axes, select)
        rows += [LeafSensitivity(name, {}, why) for name, why in found.unknown.items()]
        for name, array in found.arrays.items():
            leaf, choice = jnp.asarray(leaves[name]), found.specs[name]
            parts = parts_of(name, leaf.shape, curvature.sliced)
            errors = by_part(
                parts, jnp.square(array.astype(jnp.float32) - leaf.astype(jnp.float32))
            )
            rows += [
                _row(curvature, part, choice, float(error))
                for part, error in zip(parts, np.asarray(errors), strict=True)
            ]
    check_digests(caller, "curvature", params, curvature.digests)
    metric, method = curvature.metric, f"predicted by {curvature.method}"
    origins = origins_of(caller, params, axes, rows)
    return Sensitivities.ordered(
        rows, metric, method, confidence=curvature.confidence, origins=origins
    )


def as_choices(spec: Any) -> list[Any]:
    """What is tried, as a list."""
    return list(spec) if isinstance(spec, list | tuple) and not hasattr(spec, "_fields") else [spec]


def _row(curvature: Curvature, part: Part, choice: str, error: float) -> LeafSensitivity:
    found = curvature.coefficients.get(part)
    if found is None:
        why = curvature.left_out.get(part.name, "its curvature was not looked for")
        return LeafSensitivity(part.name, {}, why, choice, part.layer)
    changes = {curvature.metric: found.value * error}
    interval = {curvature.metric: (found.low * error, found.high * error)}
    return LeafSensitivity(part.name, changes, "", choice, part.layer, interval)


def coefficient(estimates: np.ndarray, confidence: float) -> Coefficient:
    """The mean of independent estimates, and Student's interval of it."""
    from scipy import stats

    mean, n = float(np.mean(estimates)), len(estimates)
    if n < 2:
        return Coefficient(mean, -np.inf, np.inf)
    spread = float(np.std(estimates, ddof=1)) / n**0.5
    far = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * spread
    return Coefficient(mean, mean - far, mean + far)
