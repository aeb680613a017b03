"""AWQ: input channels that matter are scaled up before their weights are rounded."""

from collections.abc import Iterable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.observers import covariance
from jaxcompress.core.report import Report
from jaxcompress.core.rules import Rules
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Model, Params
from jaxcompress.quantize.assignment import Assignment
from jaxcompress.quantize.equivalent.search import Error, bounded, largest, matrices
from jaxcompress.quantize.equivalent.walk import checked_strengths, surveyed, walked
from jaxcompress.quantize.equivalent.ways import Reader, Way
from jaxcompress.quantize.ranges.extremes import min_max
from jaxcompress.quantize.ranges.grids import Ranges, check_ranges
from jaxcompress.quantize.training.view import fake_leaf

STRENGTHS = tuple(step / 20 for step in range(1, 20))
"""The strengths that are tried where the caller names none; none at all is one more."""


def activation_aware(
    fn: Model,
    params: Params,
    batches: Iterable[Any],
    spec: QuantSpec | Rules[Any],
    *,
    ranges: Ranges = min_max,
    strengths: Sequence[float] = STRENGTHS,
) -> tuple[Params, Report]:
    """Scales up the inputs of weights that meet large data, before weights are rounded.

    Not for: data in few bits, for which `smooth` moves outlier channels.

    A weight's rounding error counts as much as the data that it meets are large. With
    its input channel multiplied by s and the data divided, the error of the channel
    shrinks as long as the range of its block does not grow:

        s_j = mean|X_j|**strength, divided by sqrt(max s · min s)
        error = trace((W - Q(W s) / s) · H · (W - Q(W s) / s)ᵀ),   H = E[x xᵀ]

    The strength of least error is taken for each set of channels that the same weights
    read (each layer of a stack apart), or none. Data stay unrounded.

    Also known as: AWQ, activation-aware weight quantization. Its clipping is a matter
    of `ranges`: pass a search of scales for both at once.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: tree of floating arrays.
      batches: calibration data, each an input or a tuple of the model's inputs.
      spec: what the weights will be quantized by, or rules over leaf names.
      ranges: which range the codes of a block cover, as `quantize` will have it.
      strengths: the strengths to try, in [0, 1].

    Returns:
      (params, report): the same structure and function; per leaf the strength, and the
      error before and after.

    Raises:
      ValueError: there is no batch, an empty one or one with a NaN, a weight is not
        finite, a strength is outside [0, 1] or there is none, or the spec fits no leaf.
      TypeError: an argument is of the wrong kind.

    Example:
      >>> fn = lambda params, x: (jax.nn.relu(x @ params["in"])) @ params["out"]
      >>> params = {"in": jnp.array([[1.0, 9.0]]), "out": jnp.array([[1.0], [0.2]])}
      >>> x = jnp.array([[1.0], [0.5]])
      >>> scaled, report = jc.quantize.equivalent.activation_aware(
      ...     fn, params, [x], jc.quantize.formats.int3()
      ... )
      >>> report.leaves[1].action
      'scaled, strength 0.55'

    Source: Lin et al. 2024, arXiv:2306.00978, section 3.2. Differs: the error is that
    of all data by their second moment, not of a sample; factors move wherever the
    program lets them.
    """
    check_ranges("activation_aware", ranges)
    strengths = checked_strengths("activation_aware", strengths)
    survey = surveyed("activation_aware", fn, params, batches, spec, lambda count: covariance())
    return walked(
        survey,
        survey.mean,
        lambda way, params, mean: _candidates(way, mean, strengths),
        lambda reader: _error(reader, survey.assigned, ranges),
        lambda moments, by: moments * by[:, :, None] * by[:, None, :],
    )


def _candidates(way: Way, mean: dict[Any, Any], strengths: Sequence[float]):
    """No factor, and those of each strength: what the data are multiplied by."""
    data = largest(way, mean)
    low = np.full(way.groups.max(initial=-1) + 1, np.inf)
    high = np.zeros_like(low)
    live = data > 0
    np.minimum.at(low, way.groups[live], data[live])
    np.maximum.at(high, way.groups[live], data[live])
    found = [(np.nan, np.ones(way.scaling.size))]
    # Where a group meets nothing but 0 there is no middle: `bounded` makes that a 1.
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = np.sqrt(low * high)[way.groups]
        for strength in strengths:
            found.append((strength, bounded((middle / data) ** strength)))
    return found


def _error(reader: Reader, assigned: dict[Any, Any], ranges: Ranges) -> Error:
    """The mean squared error of a weight's outputs on exact data, and their energy."""
    choice = assigned[reader.leaf]

    def error(leaf, moment, factors):
        weight = matrices(reader, leaf)
        by = factors[reader.entries].astype(leaf.dtype)
        rounded = leaf
        if isinstance(choice, Assignment):
            rounded = fake_leaf(leaf / by, choice, ranges) * by
        off = weight - matrices(reader, rounded)
        lost, whole = (jnp.einsum("moi,mij,moj->m", x, moment, x) for x in (off, weight))
        return lost, whole

    return error
