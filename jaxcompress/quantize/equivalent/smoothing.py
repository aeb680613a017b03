"""SmoothQuant: outlier channels of the data move into the weights that read them."""

from collections.abc import Iterable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.names import named_leaves
from jaxcompress.core.observers import Range
from jaxcompress.core.report import Report
from jaxcompress.core.rules import Rules
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array, Model, Params
from jaxcompress.graph import Site
from jaxcompress.quantize.assignment import Assignment
from jaxcompress.quantize.equivalent.samples import sample
from jaxcompress.quantize.equivalent.search import Error, bounded, largest, matrices
from jaxcompress.quantize.equivalent.walk import checked_strengths, surveyed, walked
from jaxcompress.quantize.equivalent.ways import Reader, Way
from jaxcompress.quantize.execution.activations import (
    Activations,
    check_activations,
    check_data_spec,
)
from jaxcompress.quantize.formats.integers import int8
from jaxcompress.quantize.ranges.estimator import RangeEstimator, check_estimator, estimate
from jaxcompress.quantize.ranges.extremes import min_max
from jaxcompress.quantize.training.activations import fake_rows
from jaxcompress.quantize.training.view import fake_leaf

ROWS = 512
"""Rows of data on which the error of a site is measured."""

STRENGTHS = tuple(step / 20 for step in range(21))
"""The strengths that are tried where the caller names none."""


def smooth(
    fn: Model,
    params: Params,
    batches: Iterable[Any],
    spec: QuantSpec | Rules[Any],
    activations: Activations,
    *,
    strengths: Sequence[float] = STRENGTHS,
) -> tuple[Params, Report]:
    """Moves outlier channels of the data into the weights, as far as it pays.

    Not for: weights alone in few bits, for which `activation_aware` scales inputs.

    Where data are quantized, one channel of large magnitude makes the codes of all
    others coarse. Dividing channel j of the data by s_j, and multiplying the weights
    that read it, leaves the function as it is:

        s_j = max|X_j|**strength / max|W_j|**(1 - strength)

    The strength is searched for each set of channels that the same weights read (each
    layer of a stack apart): that of least squared error of those weights' outputs, with
    data and weights rounded; none where no strength is better. Where the factors may go
    is found by `graph.symmetries.scalings`: into a norm's scale, a value projection,
    the layer before a relu.

    Also known as: SmoothQuant, activation smoothing, outlier migration.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: tree of floating arrays.
      batches: calibration data, each an input or a tuple of the model's inputs.
      spec: what the weights will be quantized by, or rules over leaf names; of leaves
        without a rule the data alone are rounded.
      activations: how data become codes, `dynamic()` or `per_site()`. Their ranges are
        asked for anew for each strength.
      strengths: the strengths to try, in [0, 1].

    Returns:
      (params, report): the same structure and function; per leaf the strength, and the
      error before and after.

    Raises:
      ValueError: there is no batch, an empty one or one with a NaN, a weight is not
        finite, a strength is outside [0, 1] or there is none, the activations have
        fixed ranges, as `static` has, or the spec fits no leaf.
      TypeError: an argument is of the wrong kind.

    Example:
      >>> fn = lambda params, x: (jax.nn.relu(x @ params["in"])) @ params["out"]
      >>> params = {"in": jnp.array([[1.0, 100.0]]), "out": jnp.array([[1.0], [0.01]])}
      >>> x = jnp.array([[1.0], [0.5], [0.3]])
      >>> q = jc.quantize
      >>> data = q.equivalent.per_site(q.int4())
      >>> smoothed, report = q.equivalent.smooth(
      ...     fn, params, [x], q.int4(), data, strengths=(0.5,)
      ... )
      >>> smoothed["out"].round(3).ravel()
      Array([1., 1.], dtype=float32)

    Source: Xiao et al. 2023, arXiv:2211.10438, equation 4. Differs: the strength is
    searched, not 0.5 for all; factors move wherever the program lets them.
    """
    check_activations("smooth", activations)
    strengths = checked_strengths("smooth", strengths)
    survey = surveyed(
        "smooth", fn, params, batches, spec, lambda count: sample(ROWS, -(-ROWS // count))
    )
    _check_follows(survey.ways, survey.data, activations)
    return walked(
        survey,
        survey.largest,
        lambda way, params, most: _candidates(way, params, most, strengths),
        lambda reader: _error(reader, survey.assigned, activations),
        lambda rows, by: rows * by[:, None, :],
    )


def per_site(spec: QuantSpec = int8(), *, ranges: RangeEstimator = min_max) -> Activations:
    """Takes one range for all data of a site from those data.

    What `execution.static` has after calibration, found anew from the rows at hand: for
    `smooth`, which changes the ranges while it searches.

    Args:
      spec: the levels.
      ranges: the estimator, which sees all rows as one batch.

    Returns:
      Activations.

    Raises:
      TypeError: `spec` is no QuantSpec.
      ValueError: `spec` has groups or blocks.

    Example:
      >>> jc.quantize.equivalent.per_site().digits
      1
    """
    check_data_spec("per_site", spec)
    check_estimator("per_site", ranges)

    def of_site(rows: Array, site: Site) -> Range:
        del site
        return estimate(ranges, rows, tuple(range(-rows.ndim, 0)), spec)

    return Activations(of_site, spec, 1)


def _candidates(way: Way, params: Params, most: dict[Any, Any], strengths: Sequence[float]):
    """No factor, and those of each strength: what the data are multiplied by."""
    leaves = named_leaves(params)
    of_weights = {
        reader.site.name: np.abs(np.asarray(matrices(reader, leaves[reader.leaf]))).max(axis=1)
        for reader in way.readers
    }
    data, weights = largest(way, most), largest(way, of_weights)
    found = [(np.nan, np.ones(way.scaling.size))]
    for strength in strengths:
        with np.errstate(divide="ignore", invalid="ignore"):
            found.append((strength, bounded(weights ** (1 - strength) / data**strength)))
    return found


def _error(reader: Reader, assigned: dict[Any, Any], activations: Activations) -> Error:
    """The squared error of a weight's outputs on rounded data, and their energy."""
    choice = assigned[reader.leaf]

    def error(leaf, rows, factors):
        scaled = leaf / factors[reader.entries].astype(leaf.dtype)
        if isinstance(choice, Assignment):
            scaled = fake_leaf(scaled, choice, min_max)
        data = fake_rows(rows * factors[reader.channels][:, None, :], reader.site, activations)
        exact = jnp.einsum("mri,moi->mro", rows, matrices(reader, leaf))
        found = jnp.einsum("mri,moi->mro", data, matrices(reader, scaled))
        return jnp.sum((found - exact) ** 2, axis=(1, 2)), jnp.sum(exact**2, axis=(1, 2))

    return error


def _check_follows(ways: Sequence[Way], rows: dict[Any, Any], activations: Activations) -> None:
    """Raises a ValueError for ranges that do not depend on the data."""
    for way in ways[:1]:
        site = way.readers[0].site
        x = rows[site.name]
        one, two = (activations.ranges(factor * x, site) for factor in (1.0, 2.0))
        if bool(jnp.any(x)) and bool(jnp.all(one.high == two.high) & jnp.all(one.low == two.low)):
            raise ValueError(
                "smooth(activations=...): their ranges are fixed, and were found on data that are "
                "not smoothed. Pass per_site() or execution.dynamic(), and calibrate static "
                "ranges on the params that smooth gives."
            )
