"""What a range estimator is, and its range for one array."""

from collections.abc import Callable
from typing import cast

import jax
import jax.numpy as jnp

from jaxcompress.core.checks import check_whole
from jaxcompress.core.kinds import check_each, check_kind, check_takes
from jaxcompress.core.messages import shown
from jaxcompress.core.numerics import largest_magnitude, not_finite
from jaxcompress.core.observers import Observer, Range
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array

Axis = tuple[int, ...] | None
"""The axes whose entries share a range; None for all of them."""

RangeEstimator = Callable[[QuantSpec | None, Axis], Observer]
"""(spec, axis) to an observer whose reading is a `Range`.

The range has size 1 along `axis`, so that it broadcasts to the data; with None it is of
shape (). Zero and, for symmetric specs, the mirror image are added when a grid is
formed, so no estimator has to. Options are bound with `functools.partial`.
"""


def estimate(ranges: RangeEstimator, x: Array, axis: Axis, spec: QuantSpec) -> Range:
    """The range of every block of one array, seen as a single batch.

    Args:
      ranges: the estimator.
      x: (...) floating.
      axis: the axes whose entries share a range.
      spec: what the range is for.

    Returns:
      Range of float32 arrays of the rank of `x` whose shared axes have size 1.

    Example:
      >>> x = jnp.array([[1.0, -2.0], [3.0, 4.0]])
      >>> ranges = jc.quantize.ranges.min_max
      >>> found = estimate(ranges, x, (-1,), jc.quantize.formats.uint8())
      >>> found.low.tolist(), found.high.tolist()
      ([[-2.0], [3.0]], [[1.0], [4.0]])
    """
    observer = ranges(spec, axis)
    if not isinstance(observer, Observer):
        raise TypeError(
            f"ranges={shown(ranges)} gives {shown(observer)}, and must give an Observer, as "
            "ranges.min_max does."
        )
    if observer.alone is not None:
        return observer.read(observer.alone(x))
    state = observer.init(jax.ShapeDtypeStruct(x.shape, x.dtype))
    return observer.read(observer.update(x, state))


def check_estimator(caller: str, ranges: RangeEstimator) -> None:
    """Raises a TypeError unless it is a function (spec, axis) to an observer.

    Example:
      >>> check_estimator("dynamic", (-1.0, 1.0))
      Traceback (most recent call last):
      TypeError: dynamic(ranges=(-1.0, 1.0)) must be a function. Pass an estimator, as
      ranges.min_max; bind its options with functools.partial.
    """
    mend = "Pass an estimator, as ranges.min_max; bind its options with functools.partial."
    check_takes(caller, "ranges", ranges, 2, mend)


def check_scope(caller: str, spec: QuantSpec | None, axis: Axis) -> None:
    """Raises an error unless `spec` is a format and `axis` ints, or None."""
    check_kind(caller, "spec", spec, QuantSpec | None, "Call a format, as int8().")
    if axis is not None:
        check_each(caller, "axis", axis, check_whole)


def check_format(caller: str, spec: QuantSpec | None, axis: Axis) -> QuantSpec:
    """Gives the format whose rounding is asked; raises an error where there is none."""
    mend = "Errors are those of a format: give one, as int8()."
    check_kind(caller, "spec", spec, QuantSpec, mend)
    check_scope(caller, spec, axis)
    return cast(QuantSpec, spec)


def unknown(x: jax.ShapeDtypeStruct, axis: Axis) -> Range:
    """The range before any data: from inf to -inf, of the shape that `axis` leaves."""
    shape = jax.eval_shape(lambda x: jnp.sum(x, axis, keepdims=axis is not None), x).shape
    return Range(jnp.full(shape, jnp.inf, jnp.float32), jnp.full(shape, -jnp.inf, jnp.float32))


def extremes(x: Array, spec: QuantSpec | None, axis: Axis) -> Range:
    """The smallest and largest value of each block of an array that may be empty.

    Of complex numbers those of both parts.
    """
    if jnp.iscomplexobj(x):
        real, imaginary = (extremes(part, spec, axis) for part in (x.real, x.imag))
        return Range(jnp.minimum(real.low, imaginary.low), jnp.maximum(real.high, imaginary.high))
    values, keepdims = x.astype(jnp.float32), axis is not None
    if spec is not None and spec.odd:
        # An odd grid covers the mirror image too: one pass over the data, not two.
        largest = largest_magnitude(values, axis, keepdims=keepdims)
        largest = largest if x.size else jnp.full_like(largest, -jnp.inf)
        return Range(-largest, largest)
    lost = not_finite(values, axis, keepdims=keepdims)
    return Range(
        jnp.min(values, axis, keepdims=keepdims, initial=jnp.inf) + lost,
        jnp.max(values, axis, keepdims=keepdims, initial=-jnp.inf) + lost,
    )
