"""Activation quantization: how the data that meet a weight become codes."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.checks import check_count
from jaxcompress.core.evidence import missing
from jaxcompress.core.formats.grids import covered, grid
from jaxcompress.core.formats.integers import Integers
from jaxcompress.core.formats.sharing import Block, Group
from jaxcompress.core.kinds import check_kind, check_mapping
from jaxcompress.core.numerics import largest_magnitude
from jaxcompress.core.observers import Range, Reading, as_reading
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.graph import Site
from jaxcompress.kernels import digits as digits_of
from jaxcompress.quantize.formats.integers import int8
from jaxcompress.quantize.ranges.estimator import RangeEstimator, check_estimator, estimate
from jaxcompress.quantize.ranges.extremes import min_max

MADE_BY = "Make them with execution.dynamic() or execution.static(readings)."

MIXED = "the data have a scale for each input, which sums mix"
"""Why codes of data with a scale for each feature cannot be multiplied."""


def none_kept(rows: Array, site: Site) -> Array:
    """Keeps no feature in floats: what `dynamic` and `static` do."""
    del site
    return jnp.zeros((1,) * rows.ndim, bool)


class Activations(NamedTuple):
    """How the data at a site becomes codes; made by `dynamic` and `static`.

    Attributes:
      ranges: (rows, site) -> Range that broadcasts to the rows, which are what
        `site.rows` gives, in float32.
      spec: the grid of the codes; what shares a scale is the matter of `ranges`.
      digits: codes per number, each resolving the rest of the one before.
      unreached: names of the sites whose ranges calibration does not know, since no
        data reached them; there the data themselves say them.
      kept: (rows, site) -> bool that broadcasts to the rows: which features stay
        floats; the ranges are asked for the rows with zeros there. See `outliers`.
      calibrated: names of the sites of whose data calibration has said something, which
        holds of no other data: not of rotated ones.
    """

    ranges: Callable[[Array, Site], Range]
    spec: QuantSpec
    digits: int
    unreached: frozenset[str] = frozenset()
    kept: Callable[[Array, Site], Array] = none_kept
    calibrated: frozenset[str] = frozenset()


def dynamic(
    spec: QuantSpec = int8(), *, digits: int = 1, ranges: RangeEstimator = min_max
) -> Activations:
    """Takes ranges from the data themselves, for each row at run time.

    Not for: integer units that want the scales of data beforehand, which `static` has
    from calibration.

    Also known as: dynamic range quantization, per-token quantization.

    Needs no calibration. At a convolution, where a window mixes rows, all finite
    entries of the input share one range.

    Args:
      spec: the levels and the storage of scales; rows share a scale whatever `per` it
        has.
      digits: codes per number. Two digits of `int8()` carry 16 bits through integer
        products: the accurate choice where only the weights shall be coarse.
      ranges: the estimator that sees a row as one batch.

    Returns:
      Activations.

    Raises:
      TypeError: `spec` is no QuantSpec.
      ValueError: `spec` has groups or blocks, `digits` is no count, or above 1 for
        codes that are not odd whole numbers.

    Example:
      >>> jc.quantize.execution.dynamic().spec.name
      'int8'
    """
    check_data_spec("dynamic", spec)
    check_estimator("dynamic", ranges)
    digits = check_count("dynamic", "digits", digits)
    if digits > 1 and not (isinstance(spec.levels, Integers) and spec.odd):
        raise ValueError(
            f"dynamic(spec={spec}, digits={digits}) needs odd whole numbers such as int8() for "
            "more than one digit."
        )

    def own(rows: Array, site: Site) -> Range:
        return _own_range(rows, site, spec, ranges)

    return Activations(own, spec, digits)


def static(readings: Mapping[str, Reading | Range], spec: QuantSpec = int8()) -> Activations:
    """Takes ranges that calibration found beforehand, for each site or feature of it.

    Not for: data of which a few channels are large, unless `smooth` moves them first:
    under one range the others lose their codes.

    A reading of one range for each site gives the site one scale. One with a range for
    each feature, calibrated with `min_max(None, (-2,))`, gives every feature its own:
    finer where few features are large, but no integer product can multiply such codes,
    so it is for fake quantization.

    Also known as: static quantization, calibrated per-tensor activation quantization,
    per-channel activation quantization.

    A site that no data reached, in a branch never taken for example, takes its ranges
    from the data as `dynamic` does: a range of 0 was not calibrated.

    Args:
      readings: site names to what `graph.calibrate` gives with an estimator of
        `ranges`, as `min_max`, or to ranges of one's own: of shape (), or
        (…, 1, features) as the site's rows have it. Layers of a scan, whose ranges are
        stacked, share the widest; where no data reached one of them, none is known.
      spec: the grid.

    Returns:
      Activations. What lies outside a range is clipped.

    Raises:
      TypeError: `readings` is no mapping, or `spec` no QuantSpec.
      ValueError: `spec` has groups or blocks, no data reached any site, a range is not
        finite, or (when applied) a site has no reading, or a range of another shape, or
        one without data is of a leaf with a rule of its own.

    Example:
      >>> seen = {"kernel": jc.observers.Range(jnp.float32(-1.0), jnp.float32(2.0))}
      >>> jc.quantize.execution.static(seen).digits
      1
    """
    check_mapping("static", "readings", readings, "Pass what graph.calibrate gave.")
    check_data_spec("static", spec)
    found = {name: as_reading(reading) for name, reading in readings.items()}
    for name, each in found.items():
        check_kind("static", f"readings[{name!r}]", each.value, Range, "Calibrate with min_max.")
    unreached = frozenset(name for name, reading in found.items() if missing(reading.count))
    if found and len(unreached) == len(found):
        raise ValueError(
            f"static(readings=...): no data reached all of any of {', '.join(found)}. Calibrate "
            "with data that reach them, or take dynamic()."
        )
    fixed = {
        name: finite_range("static", name, reading.value)
        for name, reading in found.items()
        if name not in unreached
    }

    def ranges(rows: Array, site: Site) -> Range:
        if site.name in unreached:
            return _own_range(rows, site, spec, min_max)
        if site.name not in fixed:
            raise ValueError(
                f"static(readings=...) has no range for site {site.name!r}. It has: "
                f"{', '.join(fixed)}. Calibrate it, or leave its leaf out by a rule."
            )
        return fitted("static", fixed[site.name], rows, site)

    return Activations(ranges, spec, 1, unreached, calibrated=frozenset(fixed))


def encode(x: Array, site: Site, activations: Activations) -> tuple[Array, Array]:
    """Rounds rows to int8 digits and gives their scales, for a symmetric spec.

    Args:
      x: what `site.rows` gives, (..., rows, features) float32.
      site: where.
      activations: of a symmetric spec.

    Returns:
      (digits, scales): (count, ..., rows, features) int8, and
      (count, ..., rows or 1, 1) float32. Digits cannot say that an entry is not finite.
    """
    spec = activations.spec
    steps = grid(covered(activations.ranges(x, site), spec), spec).steps(spec)
    return digits_of(x, steps, count=activations.digits, highest=spec.highest)


def apart(data: Array, site: Site, activations: Activations) -> tuple[Array, Array]:
    """The data with zeros but for kept features, and with zeros in these; their sum."""
    rows = site.rows(data)
    kept = jnp.where(activations.kept(_held(rows), site), rows, 0)
    (back,) = jax.linear_transpose(site.rows, data)(kept)  # `rows` only moves entries about
    return back, jnp.where(back != 0, 0, data)


def by_feature(activations: Activations, site: Site) -> bool:
    """Whether each feature of the rows has a scale of its own."""
    data = jax.ShapeDtypeStruct(site.data_shape, site.data_dtype)

    def found(data: Array) -> Array:
        return activations.ranges(_held(site.rows(data)), site).low

    return jax.eval_shape(found, data).shape[-1] > 1


def _held(rows: Array) -> Array:
    """The rows as ranges are asked with: float32, without a gradient."""
    return jax.lax.stop_gradient(rows).astype(jnp.float32)


def finite_rows(rows: Array) -> Array:
    """(…, M, 1) bool: whether all of a row is finite, which its codes cannot say."""
    # `dynamic` takes the same largest entry, so XLA reads the rows once for both.
    return jnp.isfinite(largest_magnitude(rows, -1, keepdims=True))


def check_activations(caller: str, activations: Activations) -> None:
    """Raises a TypeError unless it is what `dynamic` and `static` give."""
    check_kind(caller, "activations", activations, Activations, MADE_BY)


def check_data_spec(caller: str, spec: QuantSpec) -> None:
    """Raises an error unless it is a format of data: without groups or blocks."""
    check_kind(caller, "spec", spec, QuantSpec, "Call a format, as int8().")
    if isinstance(spec.sharing, Group | Block):
        raise ValueError(
            f"{caller}(spec={spec}): data have a scale for each row or site, none for parts of a "
            "row. Take a format without group_size or block."
        )


def _own_range(rows: Array, site: Site, spec: QuantSpec, ranges: RangeEstimator) -> Range:
    """One range for each row; one for all rows of a convolution, whose windows mix."""
    if site.is_matmul:
        return estimate(ranges, rows, (-1,), spec)
    finite = jnp.where(jnp.isfinite(rows), rows, 0.0)  # an entry that is not spoils no other
    return estimate(ranges, finite, tuple(range(-rows.ndim, 0)), spec)


Ends = tuple[np.ndarray, np.ndarray]
"""Both ends of a range as NumPy, whose shape is looked at where it is applied."""


def finite_range(caller: str, name: str, found: Range) -> Ends:
    """The ends of a range that calibration found, or a ValueError."""
    low, high = (np.asarray(end, np.float32) for end in found)
    if not (np.all(np.isfinite(low) & np.isfinite(high)) and np.all(low <= high)):
        raise ValueError(
            f"{caller}(readings=...): the range of {name!r} is [{low.min()}, {high.max()}]. "
            "Calibrate it with finite data."
        )
    return low, high


def fitted(caller: str, found: Ends, rows: Array, site: Site) -> Range:
    """The range so that it broadcasts to the rows; of layers of a scan the widest."""
    layers = tuple(range(min(len(site.stack), found[0].ndim)))
    low, high = np.min(found[0], layers), np.max(found[1], layers)
    ones = (1,) * rows.ndim
    if low.size == 1:
        return Range(jnp.asarray(low.reshape(ones)), jnp.asarray(high.reshape(ones)))
    by_feature = (*rows.shape[:-2], 1, rows.shape[-1])
    if low.shape != by_feature:
        raise ValueError(
            f"{caller}(readings=...): the range of {site.name!r} has shape {found[0].shape}, and "
            f"its rows {rows.shape}. Calibrate it with min_max(), or with min_max(None, (-2,)) for "
            "a range of each feature."
        )
    return Range(jnp.asarray(low), jnp.asarray(high))
