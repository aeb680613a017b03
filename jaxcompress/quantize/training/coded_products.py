"""Products of low-bit operands, whose derivatives are products of low-bit operands.

    y = x · wᵀ,   dx = g · w,   dw = gᵀ · x

each of two operands that are rounded along what that product sums over. A product is
differentiable as often as one likes, backwards.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.formats.floats import FP8_E4M3, FP8_E5M2
from jaxcompress.core.formats.integers import Integers
from jaxcompress.core.numerics import not_finite
from jaxcompress.core.sharding import with_results_of_a_product, with_results_sharded_alike
from jaxcompress.core.types import Array, Key
from jaxcompress.kernels import int8_matmul
from jaxcompress.quantize.training.operands import Levels, Operand

HARDWARE = {FP8_E4M3: jnp.float8_e4m3fn, FP8_E5M2: jnp.float8_e5m2}
"""The dtypes of floats that matrix units multiply."""

MOST_SUMMED = 2**17
"""Products of int8 codes that an int32 holds the sum of, whatever they are."""

Form = Callable[[Array, Array], Array]
"""A map that is linear in each of two operands."""


class Precision(NamedTuple):
    """How the operands of a product and of its derivatives become codes.

    Made by `precision`; a static value.

    Attributes:
      first: of the first operand, the data.
      second: of the second operand, the weight.
      gradient: of the gradient of the product.
    """

    first: Operand
    second: Operand
    gradient: Operand

    @property
    def by_first(self) -> "Precision":
        """Of the derivative by the first operand, a product of gradient and second."""
        return Precision(self.gradient, self.second, self.gradient)

    @property
    def by_second(self) -> "Precision":
        return Precision(self.gradient, self.first, self.gradient)


class Known(NamedTuple):
    """The largest magnitude in each history, () float32; 0 where nothing is known."""

    first: Array
    second: Array
    gradient: Array

    @property
    def by_first(self) -> "Known":
        return Known(self.gradient, self.second, jnp.zeros_like(self.gradient))

    @property
    def by_second(self) -> "Known":
        return Known(self.gradient, self.first, jnp.zeros_like(self.gradient))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def matmul(how: Precision, a: Array, b: Array, known: Known, key: Key | None) -> Array:
    """Multiplies rounded matrices, a · bᵀ, and so do its derivatives.

    Args:
      how: the operands become codes.
      a: (batch…, M, K) real floating.
      b: (batch…, N, K) real floating.
      known: of histories, where scaling is delayed.
      key: for rounding at random; None where nothing is.

    Returns:
      (batch…, M, N) float32; not finite where a row of either operand is not.
    """
    product = functools.partial(_product, how)
    return with_results_of_a_product(product, a, b, known, key)


def _product(how: Precision, a: Array, b: Array, known: Known, key: Key | None) -> Array:
    left, right = how.first.rows(a, known.first, key), how.second.rows(b, known.second, key)
    y = multiplied(left.values, right.values, how.first.levels, how.second.levels)
    return scaled(y, left.scale, right.scale.mT)


def scaled(y: Array, one: Array, other: Array) -> Array:
    """A product of levels times both scales, the smaller first: no part overflows."""
    return y * jnp.minimum(one, other) * jnp.maximum(one, other)


def _matmul_forward(how: Precision, a: Array, b: Array, known: Known, key: Key | None):
    return matmul(how, a, b, known, key), (a, b, known, key)


def _matmul_backward(how: Precision, kept: tuple[Any, ...], gradient: Array):
    a, b, known, key = kept
    one, other = _parted(key)

    def to_first(_: Array, gradient: Array, b: Array, known: Known, key: Key | None) -> Array:
        return matmul(how.by_first, gradient, b.mT, known, key)

    def to_second(_: Array, gradient: Array, a: Array, known: Known, key: Key | None) -> Array:
        return matmul(how.by_second, gradient.mT, a.mT, known, key)

    by_a = with_results_sharded_alike(to_first, a, gradient, b, known.by_first, one)
    by_b = with_results_sharded_alike(to_second, b, gradient, a, known.by_second, other)
    return by_a.astype(a.dtype), by_b.astype(b.dtype), None, None


matmul.defvjp(_matmul_forward, _matmul_backward)


def multiplied(a: Array, b: Array, first: Levels, second: Levels) -> Array:
    """The product a · bᵀ of levels in steps, in the arithmetic that they are made for.

    Whole numbers of 8 bits are summed as int32, exactly. Floats of 8 bits are
    multiplied as such by matrix units, and on a CPU in float32, which gives the same up
    to the order of sums. Any others are multiplied in float32.
    """
    if isinstance(first, Integers) and isinstance(second, Integers):
        return _by_integers(a, b)
    if first in HARDWARE and second in HARDWARE:
        of_floats = functools.partial(_by_floats, dtypes=(HARDWARE[first], HARDWARE[second]))
        return jax.lax.platform_dependent(a, b, cpu=_dot, default=of_floats)
    return _dot(a, b)


def _by_floats(a: Array, b: Array, dtypes: tuple[Any, ...]) -> Array:
    # The numbers are levels by now, so the casts are exact: a compiler that drops a
    # cast and its opposite changes nothing.
    return _dot(a.astype(dtypes[0]), b.astype(dtypes[1]))


def _dot(a: Array, b: Array) -> Array:
    batch = tuple(range(a.ndim - 2))
    numbers = (((a.ndim - 1,), (b.ndim - 1,)), (batch, batch))
    return jax.lax.dot_general(a, b, numbers, preferred_element_type=jnp.float32)


def _by_integers(a: Array, b: Array) -> Array:
    product = int8_matmul
    for _ in range(a.ndim - 2):
        product = jax.vmap(product)
    # Codes have no NaN, so it is put back into the rows that had one.
    y = not_finite(a, -1, keepdims=True) + not_finite(b, -1, keepdims=True).mT
    for begin in range(0, a.shape[-1], MOST_SUMMED):
        part = slice(begin, begin + MOST_SUMMED)
        y = y + product(_codes(a[..., part]), _codes(b[..., part])).astype(jnp.float32)
    return y


def _codes(values: Array) -> Array:
    return jnp.where(jnp.isnan(values), 0.0, values).astype(jnp.int8)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def bilinear(
    form: Form, how: Precision, a: Array, b: Array, known: Known, key: Key | None
) -> Array:
    """As `matmul`, of any map that is linear in two operands, as a convolution is.

    Every operand is rounded under one scale, and levels are multiplied in float32.

    Args:
      form: of two float32 arrays of these shapes, to float32.
      how: the operands become codes.
      a: real floating.
      b: real floating.
      known: of histories, where scaling is delayed.
      key: for rounding at random; None where nothing is.

    Returns:
      float32 of the shape that the map gives.
    """
    left, right = how.first.whole(a, known.first, key), how.second.whole(b, known.second, key)
    return scaled(form(left.values, right.values), left.scale, right.scale)


def _bilinear_forward(
    form: Form, how: Precision, a: Array, b: Array, known: Known, key: Key | None
):
    return bilinear(form, how, a, b, known, key), (a, b, known, key)


def _bilinear_backward(form: Form, how: Precision, kept: tuple[Any, ...], gradient: Array):
    a, b, known, key = kept
    one, other = _parted(key)

    def to_first(gradient: Array, b: Array) -> Array:
        return jax.linear_transpose(lambda a: form(a, b), _float32(a))(gradient)[0]

    def to_second(gradient: Array, a: Array) -> Array:
        return jax.linear_transpose(lambda b: form(a, b), _float32(b))(gradient)[0]

    by_a = with_results_sharded_alike(
        lambda _, *rest: bilinear(to_first, how.by_first, *rest),
        *(a, gradient, b, known.by_first, one),
    )
    by_b = with_results_sharded_alike(
        lambda _, *rest: bilinear(to_second, how.by_second, *rest),
        *(b, gradient, a, known.by_second, other),
    )
    return by_a.astype(a.dtype), by_b.astype(b.dtype), None, None


bilinear.defvjp(_bilinear_forward, _bilinear_backward)


def _float32(x: Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, jnp.float32)


def _parted(key: Key | None) -> tuple[Key | None, Key | None]:
    """Two keys of one: errors of the two derivatives are not the same."""
    if key is None:
        return None, None
    one, other = jax.random.split(key)
    return one, other
