"""Outlier features in floats beside the codes of the others: LLM.int8."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from jaxcompress.core.checks import check_count, check_positive
from jaxcompress.core.kinds import check_kind, check_mapping, check_takes
from jaxcompress.core.observers import Range, Reading, as_reading
from jaxcompress.core.types import Array
from jaxcompress.graph import Site
from jaxcompress.quantize.execution.activations import (
    MADE_BY,
    Activations,
    Ends,
    finite_range,
    fitted,
    none_kept,
)

Which = Callable[[Array], Array]
"""(..., features) largest magnitudes of the features to bool: which are outliers."""


def above(threshold: float = 6.0) -> Which:
    """Takes features for outliers whose largest magnitude is a threshold or more.

    Args:
      threshold: in the unit of the data, above 0.

    Returns:
      Function for `outliers`.

    Raises:
      ValueError: `threshold` is not above 0.

    Example:
      >>> jc.quantize.execution.above(6.0)(jnp.array([1.0, 6.0]))
      Array([False,  True], dtype=bool)

    Source: Dettmers et al. 2022, arXiv:2208.07339, section 3.2.
    """
    check_positive("above", "threshold", threshold)

    def which(magnitudes: Array) -> Array:
        return magnitudes >= threshold

    return which


def largest(count: int) -> Which:
    """Takes a fixed number of features for outliers, those of the largest magnitude.

    Args:
      count: how many, at least 1, and fewer than the features.

    Returns:
      Function for `outliers`; among equal magnitudes the earlier feature goes first.

    Raises:
      ValueError: `count` is no count, or (when applied) leaves no other feature.

    Example:
      >>> jc.quantize.execution.largest(1)(jnp.array([1.0, 9.0, 2.0]))
      Array([False,  True, False], dtype=bool)
    """
    count = check_count("largest", "count", count)

    def which(magnitudes: Array) -> Array:
        features = magnitudes.shape[-1]
        if count >= features:
            raise ValueError(
                f"largest(count={count}) leaves none of {features} features to be codes. Take "
                "fewer, or give such sites other activations by Rules."
            )
        # A NaN is no outlier: it stays in the codes' part, which it makes NaN.
        known = jnp.where(jnp.isnan(magnitudes), -1.0, magnitudes)
        _, first = jax.lax.top_k(known, count)
        return jnp.any(jax.nn.one_hot(first, features, dtype=bool), axis=-2)

    return which


def outliers(
    inner: Activations,
    which: Which = above(6.0),
    *,
    readings: Mapping[str, Reading | Range] | None = None,
) -> Activations:
    """Keeps features of outlying magnitude in floats, and rounds all others to codes.

    Not for: outliers that `smooth` can move into the weights: what is kept here takes a
    second product, in floats.

    Also known as: LLM.int8, mixed-precision decomposition, outlier channels.

        output = x_kept · W + codes(x - x_kept) · W
        x_kept = x where a feature is kept, else 0

    with W as the array that its codes stand for. A few features of large transformers
    are a hundred times as large as the others; beside them in one row the others round
    to nothing. Ranges are those of the rest: what `inner` calibrated is cut to the
    largest magnitude that the features not kept have in the batch.

    Shapes do not depend on the data: the product of what is kept has zeros for all
    other features. In integer execution it is a second product, in floats.

    Args:
      inner: how the other features become codes.
      which: the outliers by the largest magnitude of each feature: `above(threshold)`,
        `largest(count)`, or a function of one's own.
      readings: ranges of each feature that calibration found, as
        `graph.calibrate(fn, params, batches, min_max(None, (-2,)))` gives: then
        outliers are fixed for every site. Without them the magnitudes are those of the
        batch at run time, over all of its rows.

    Returns:
      Activations, for one site by `Rules` or for all.

    Raises:
      TypeError: `inner` is none, `which` no function, `readings` no mapping.
      ValueError: `inner` keeps features already, a range is not finite, or (when
        applied) readings have no range for a site, or one of another shape, or `which`
        refuses the features of a site.

    Example:
      >>> execution = jc.quantize.execution
      >>> int4 = execution.dynamic(jc.quantize.int4())
      >>> fn = jc.quantize.fake_quantize_activations(
      ...     lambda params, x: x @ params["kernel"], execution.outliers(int4)
      ... )
      >>> fn({"kernel": jnp.eye(3)}, jnp.array([[100.0, 1.4, -7.0 / 5]]))
      Array([[100. ,   1.4,  -1.4]], dtype=float32)

    Source: Dettmers et al. 2022, arXiv:2208.07339, equation 8. Differs: weights of the
    kept features are the arrays that codes stand for; features may be calibrated.
    """
    check_kind("outliers", "inner", inner, Activations, MADE_BY)
    check_takes("outliers", "which", which, 1, "Pass execution.above(6.0) or a function.")
    if inner.kept is not none_kept:
        raise ValueError(
            f"outliers(inner={inner}) keeps features already. Pass what it is made of."
        )
    known = None if readings is None else _known(readings)

    def chosen(magnitudes: Array, site: Site) -> Array:
        try:
            return which(magnitudes)
        except ValueError as error:
            raise ValueError(f"outliers(which=...) at site {site.name!r}: {error}") from error

    def kept(rows: Array, site: Site) -> Array:
        if known is None:
            return chosen(jnp.max(jnp.abs(rows), axis=-2, keepdims=True, initial=0.0), site)
        if site.name not in known:
            raise ValueError(
                f"outliers(readings=...) has no range for site {site.name!r}. It has: "
                f"{', '.join(known)}. Calibrate it, or leave its leaf out by a rule."
            )
        found = fitted("outliers", known[site.name], rows, site)
        magnitudes = jnp.maximum(-found.low, found.high)
        shape = (*magnitudes.shape[:-1], rows.shape[-1])
        return chosen(jnp.broadcast_to(magnitudes, shape), site)

    def ranges(rows: Array, site: Site) -> Range:
        found = inner.ranges(rows, site)
        finite = jnp.where(jnp.isfinite(rows), rows, 0.0)  # an entry that is not spoils no other
        most = jnp.max(jnp.abs(finite), keepdims=True, initial=0.0)
        return Range(jnp.maximum(found.low, -most), jnp.minimum(found.high, most))

    calibrated = inner.calibrated | frozenset(known or ())
    return inner._replace(ranges=ranges, kept=kept, calibrated=calibrated)


def _known(readings: Mapping[str, Reading | Range]) -> dict[str, Ends]:
    check_mapping("outliers", "readings", readings, "Pass what graph.calibrate gave.")
    found = {name: as_reading(reading).value for name, reading in readings.items()}
    for name, each in found.items():
        mend = "Calibrate with min_max(None, (-2,))."
        check_kind("outliers", f"readings[{name!r}]", each, Range, mend)
    return {name: finite_range("outliers", name, each) for name, each in found.items()}
