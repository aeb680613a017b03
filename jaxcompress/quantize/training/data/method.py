"""What a way to learn the range of data is, and how data are rounded by it."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.formats.coding import decode, encode
from jaxcompress.core.formats.grids import covered, grid
from jaxcompress.core.formats.integers import Integers
from jaxcompress.core.formats.scales import Float32
from jaxcompress.core.numerics import narrowed, not_finite, straight_through
from jaxcompress.core.observers import Observer, Range
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.quantize.execution.activations import check_data_spec
from jaxcompress.quantize.ranges.estimator import extremes

Learned = dict[str, Array]
"""What is trained for the data of one site: () float32 numbers by name."""

SMALLEST, LARGEST = 2.0**-100, 2.0**100
"""A learned number is read as one of this size, so that grids neither vanish nor
overflow."""


class Statistics(NamedTuple):
    """What the data of a site were when training began, () float32 each.

    Attributes:
      total: the sum of all magnitudes.
      count: how many numbers there were.
      low: the smallest.
      high: the largest.
    """

    total: Array
    count: Array
    low: Array
    high: Array

    @property
    def mean(self) -> Array:
        """The mean magnitude; the largest float where the sum overflowed."""
        mean = self.total / jnp.maximum(self.count, 1.0)
        return jnp.where(jnp.isinf(mean), jnp.finfo(jnp.float32).max, mean)


class RangeMethod(NamedTuple):
    """How the range of the data at a site is learned: pure functions of its numbers.

    Made by the functions of `quantize.training.data`, for `learned_activations`.

    Attributes:
      spec: the format of the codes.
      start: Statistics -> Learned, where training begins.
      range: Learned -> Range with () ends, from the first code to the last.
      passing: (rows, Learned, steps) -> array of the shape of the float32 rows whose
        derivatives are those of training; its values are not used. Steps are what the
        codes stand for, in steps from zero.
      penalty: Learned -> () float32, for the loss.
    """

    spec: QuantSpec
    start: Callable[[Statistics], Learned]
    range: Callable[[Learned], Range]
    passing: Callable[[Array, Learned, Array], Array]
    penalty: Callable[[Learned], Array]


def unpenalized(learned: Learned) -> Array:
    """The penalty of a method without one: 0."""
    del learned
    return jnp.zeros((), jnp.float32)


def positive(x: Array) -> Array:
    """A learned number as it is read: its magnitude, kept off 0 and infinity.

    A step of the optimizer that crosses zero is reflected there; what is not finite
    stays not finite. Exact operations alone, so that programs agree bit for bit.

    Example:
      >>> positive(jnp.array([0.5, -0.5, 0.0])).tolist()
      [0.5, 0.5, 7.888609052210118e-31]
    """
    return jnp.where(jnp.isfinite(x), jnp.clip(jnp.abs(x), SMALLEST, LARGEST), jnp.nan)


def slope(x: Array) -> Array:
    """The derivative that training takes for that of `positive`: 1, below zero -1."""
    return jnp.where(x < 0, -1.0, 1.0)


def seen_rows(rows: Array, learned: Learned, method: RangeMethod) -> Array:
    """Rounds the rows of a site as `static` of the frozen range would.

    Args:
      rows: (…, rows, features) floating.
      learned: of the site.
      method: gives range and derivatives.

    Returns:
      Array of the shape and dtype of the rows, differentiable in both. What is not
      finite stays so, and its gradient passes.
    """
    spec = method.spec
    x = rows.astype(jnp.float32)
    finite = jnp.isfinite(x)
    rest = jnp.where(finite, x, 0.0)
    fixed = jax.lax.stop_gradient(rest)
    ends = method.range(jax.lax.stop_gradient(learned))
    cover = covered(Range(*(end.reshape((1,) * x.ndim) for end in ends)), spec)
    on = grid(cover, spec)
    codes = encode(fixed, on, spec)
    steps = codes if on.zero_point is None else codes - on.zero_point.astype(jnp.float32)
    value = jnp.where(finite, decode(codes, on, spec), jax.lax.stop_gradient(x))
    passing = jnp.where(finite, method.passing(rest, learned, steps), x)
    return straight_through(narrowed(value, rows.dtype), passing, jnp.ones_like(finite))


def statistics() -> Observer:
    """Observes what the data of a site are: the reading is `Statistics`."""

    def init(x):
        del x
        zero = jnp.zeros((), jnp.float32)
        return Statistics(zero, zero, zero + jnp.inf, zero - jnp.inf)

    def update(x, state):
        values = jnp.real(x).astype(jnp.float32)
        low, high = extremes(values, None, None)
        total = jnp.sum(jnp.abs(values)) + not_finite(values)
        return merge(state, Statistics(total, jnp.float32(x.size), low, high))

    def merge(one, other):
        return Statistics(
            one.total + other.total,
            one.count + other.count,
            jnp.minimum(one.low, other.low),
            jnp.maximum(one.high, other.high),
        )

    return Observer(init, update, lambda state: state, merge)


def check_whole_steps(caller: str, spec: QuantSpec) -> None:
    """Raises an error unless it is a format of data: integers under float32 scales."""
    check_data_spec(caller, spec)
    if not (isinstance(spec.levels, Integers) and isinstance(spec.scales, Float32)):
        raise ValueError(
            f"{caller}(spec={spec}) must have integers and float32 scales, whose range is what is "
            "learned. Pass int8(), formats.uint8() or another of intN() and uintN()."
        )


def check_zero_point(caller: str, spec: QuantSpec) -> None:
    """Raises an error unless the integers have a zero point."""
    check_whole_steps(caller, spec)
    if spec.symmetric:
        raise ValueError(
            f"{caller}(spec={spec}) must have a zero point, since the range is not symmetric "
            "around zero. Pass formats.uint8() or another of uintN()."
        )
