"""Forms of execution: the ways to multiply data with a quantized weight at a site.

Each form is a function of a site, its equation, its data and a `QTensor`, and gives the
equation's output. Whatever a form rounds, two things hold: data that are not finite
give outputs that are not, and the gradient is that of `materialized`, straight through
the rounding.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.corrected import Corrected
from jaxcompress.core.formats.integers import Integers
from jaxcompress.core.formats.sharing import Group
from jaxcompress.core.leaf import materialize
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.rotated import Rotated
from jaxcompress.core.types import Array
from jaxcompress.graph import Site
from jaxcompress.kernels import (
    grouped_matmul,
    int8_matmul,
    packed_grouped_matmul,
    packed_matmul,
    stack_digits,
)
from jaxcompress.quantize.execution.activations import (
    MIXED,
    Activations,
    apart,
    by_feature,
    encode,
    finite_rows,
    none_kept,
)
from jaxcompress.quantize.execution.obstacles import obstacle_to_codes
from jaxcompress.quantize.execution.parts import UNROTATED, WITH_CODES, by_parts, unrotatable
from jaxcompress.quantize.execution.signs import sign_obstacle, signs_product

Form = Callable[[Site, Callable[..., Any], Array, QTensor], Array]
"""(site, apply, data, weight) to the output of the site's equation."""


def materialized(site: Site, apply: Callable[..., Any], data: Array, weight: Any) -> Array:
    """Dequantizes the weight and runs the site's own equation on it."""
    del site
    return _apart(apply(data, materialize(weight)))


def scaled(site: Site, apply: Callable[..., Any], data: Array, weight: QTensor) -> Array:
    """Multiplies data with codes widened to their dtype, and scales the product.

    Also known as: weight-only quantization (W8A16, W4A16).

    Exact in the data's dtype up to rounding. On accelerators the widening fuses into
    the product, so that only codes are read from memory.
    """
    del apply
    rows = site.rows(data)
    codes, scale = _flat(site, weight, weight.unpacked_codes)
    y = jnp.einsum(
        "...mk,...nk->...mn",
        rows,
        codes.astype(rows.dtype),
        preferred_element_type=jnp.float32,
    )
    return _apart(site.output(y * jnp.swapaxes(scale, -1, -2)).astype(site.dtype))


def integer(activations: Activations) -> Form:
    """Multiplies codes of data with codes of weights, and scales the product twice.

    Features that the activations keep are multiplied in floats beside it.

    Also known as: W8A8, integer-only matrix products.
    """

    def form(site: Site, apply: Callable[..., Any], data: Array, weight: QTensor) -> Array:
        multiply = _integer_dot if site.is_matmul else _integer_convolution

        def rounded(data, weight):
            if activations.kept is none_kept:
                return multiply(site, apply, data, weight, activations)
            kept, rest = apart(data, site, activations)
            codes = multiply(site, apply, rest, weight, activations)
            return codes + apply(kept, materialize(weight))

        def exact(data, weight):
            return apply(data, materialize(weight))

        return _with_gradient_of(exact, rounded)(data, weight)

    return form


def _apart(output: Array) -> Array:
    """Keeps XLA from fusing the output with what follows, so that timings stay true.

    XLA's CPU compiler multiplies a single row with the codes in one loop, but only
    while nothing follows: else it fuses the product with the bias after it, and writes
    the whole widened weight to memory in each call.
    """
    return jax.lax.optimization_barrier(output)


def bits(activations: Activations) -> Form:
    """Multiplies signs of data with signs of weights by words, and scales the product.

    To the bit what `integer` gives where that can multiply the same codes.

    Also known as: XNOR-popcount, bitwise execution of binary and ternary networks.
    """

    def form(site: Site, apply: Callable[..., Any], data: Array, weight: QTensor) -> Array:
        def rounded(data, weight):
            return signs_product(site, data, weight, activations)

        def exact(data, weight):
            return apply(data, materialize(weight))

        return _with_gradient_of(exact, rounded)(data, weight)

    return form


def _with_gradient_of(exact: Callable[..., Any], rounded: Callable[..., Any]) -> Callable[..., Any]:
    """Gives `rounded(data, weight)` the derivatives of `exact` at the same operands.

    By the data and the scales, in both modes; codes are integers and have none.
    """

    def both(data: Array, weight: QTensor) -> Array:
        children, structure = jax.tree.flatten(weight)

        # Children one by one: tangents of codes are none that a `QTensor` could hold.
        @jax.custom_jvp
        def product(data, *children):
            return rounded(data, jax.tree.unflatten(structure, children))

        @product.defjvp
        def _(primals, tangents):
            def value(data, *children):
                return exact(data, jax.tree.unflatten(structure, children))

            return product(*primals), jax.jvp(value, primals, tangents)[1]

        return product(data, *children)

    return both


def by_name(activations: Activations | None) -> dict[str, Form]:
    """Every form by name, for every weight; those that multiply codes first.

    Without activations, those that leave the data as they are.
    """
    forms: dict[str, Form] = {"scaled": scaled, "materialized": materialized}
    if activations is not None:
        forms = {"bits": bits(activations), "integer": integer(activations)} | forms
    return {name: by_parts(_of_codes(form)) for name, form in forms.items()}


def _of_codes(form: Form) -> Form:
    """The form for quantized weights, and the site's own equation for all others."""

    def multiply(site: Site, apply: Callable[..., Any], data: Array, weight) -> Array:
        return (form if isinstance(weight, QTensor) else _plain)(site, apply, data, weight)

    return multiply


def _plain(site: Site, apply: Callable[..., Any], data: Array, weight) -> Array:
    del site
    return apply(data, weight)


def possible(site: Site, weight: Any, activations: Activations) -> tuple[tuple[str, ...], str]:
    """Which forms can run at a site, and the reason where one cannot."""
    if isinstance(weight, Rotated):
        if reason := unrotatable(site, weight):
            return ("materialized",), reason
        if site.name in activations.calibrated:
            return ("materialized",), UNROTATED
        if not isinstance(weight.leaf, WITH_CODES):
            return ("materialized",), "rotated, and no codes"
        return possible(site, weight.leaf, activations)
    if isinstance(weight, Corrected):
        return possible(site, weight.base, activations)
    if not isinstance(weight, QTensor):
        return ("materialized",), "reshaped before it meets data"
    bits = () if sign_obstacle(site, weight, activations) else ("bits",)
    if reason := obstacle_to_codes(site, weight):
        return (*bits, "materialized"), "" if bits else reason
    if by_feature(activations, site):
        return ("materialized",), MIXED
    integer = ("integer",) if isinstance(activations.spec.levels, Integers) else ()
    if site.is_matmul and not isinstance(weight.spec.sharing, Group):
        return (*bits, *integer, "scaled", "materialized"), ""
    return (*bits, *integer, "materialized"), ""


def _integer_dot(
    site: Site, apply: Callable[..., Any], data: Array, weight: QTensor, activations: Activations
) -> Array:
    del apply
    rows = site.rows(data).astype(jnp.float32)  # (batch…, M, K)
    parts, scales = encode(rows, site, activations)  # (digits, batch…, M, K)
    scales = jnp.where(finite_rows(rows), scales, jnp.nan)  # (digits, batch…, M, 1)
    product, codes = _integer_product(site, weight)
    codes, scale = _flat(site, weight, codes)  # (batch…, N, K), (batch…, N, groups)

    def multiply(parts, scales, codes, scale):
        return stack_digits(lambda x: product(x, codes, scale), parts, scales)

    # Digits lead, the batch axes follow them in data and lead in the weight.
    for _ in site.operand_axes.batch:
        multiply = jax.vmap(multiply, in_axes=(1, 1, 0, 0))
    return site.output(multiply(parts, scales, codes, scale)).astype(site.dtype)


def _integer_product(site: Site, weight: QTensor) -> tuple[Callable[..., Any], Array]:
    """(rows, codes, scale) -> (rows, N), and the codes as that product takes them."""
    spec = weight.spec
    grouped = isinstance(spec.sharing, Group)
    groups = weight.scale.shape[-1]
    # With several contracting axes, planes of the last are none of the flattened one.
    planes = spec.stored_bits == 4 and len(site.operand_axes.contracting) == 1
    if planes and grouped and groups % 2 == 0:
        return lambda x, w, s: packed_grouped_matmul(x, w, s, spec.lowest), weight.codes
    if grouped:
        return grouped_matmul, weight.unpacked_codes
    if planes:
        return lambda x, w, s: _scaled(packed_matmul(x, w, spec.lowest), s), weight.codes
    return lambda x, w, s: _scaled(int8_matmul(x, w), s), weight.unpacked_codes


def _scaled(sums: Array, scale: Array) -> Array:
    """Sums of products of codes times the scale of their output, float32."""
    return sums.astype(jnp.float32) * scale.T


def _integer_convolution(
    site: Site, apply: Callable[..., Any], data: Array, weight: QTensor, activations: Activations
) -> Array:
    """Multiplies codes; data that are not finite have no code and run in floats."""
    finite = jnp.all(jnp.isfinite(data))
    codes = partial(_convolution_of_codes, site, apply, activations=activations)
    return jax.lax.cond(finite, codes, partial(materialized, site, apply), data, weight)


def _convolution_of_codes(
    site: Site, apply: Callable[..., Any], data: Array, weight: QTensor, *, activations: Activations
) -> Array:
    parts, scales = encode(data.astype(jnp.float32), site, activations)
    stored = weight.unpacked_codes  # (output, contracting…), as leaves are stored
    inverse = sorted(range(stored.ndim), key=weight.permutation.__getitem__)
    kernel = jnp.transpose(stored, inverse)
    products = [apply(part, kernel, preferred_element_type=jnp.int32) for part in parts]
    y = jnp.sum(jnp.stack(products).astype(jnp.float32) * scales, axis=0)
    features = [1] * y.ndim
    features[_feature_axis(site, apply, kernel)] = weight.scale.size
    return (y * weight.scales.reshape(features)).astype(site.dtype)


def _feature_axis(site: Site, apply: Callable[..., Any], kernel: Array) -> int:
    """Finds the output axis of the kernel's features: the one that grows with them."""
    # Asking the equation for its shape works for any dimension numbers and groups.
    grown = list(kernel.shape)
    grown[site.operand_axes.output[0]] *= 2
    data = jax.ShapeDtypeStruct(site.data_shape, site.data_dtype)
    wide = jax.eval_shape(apply, data, jax.ShapeDtypeStruct(tuple(grown), site.data_dtype)).shape
    return next(axis for axis, size in enumerate(wide) if size != site.output_shape[axis])


def _flat(site: Site, weight: QTensor, codes: Array) -> tuple[Array, Array]:
    """Codes and scale as (batch…, outputs, contracting)."""
    batch, outputs = len(site.operand_axes.batch), len(site.operand_axes.output)

    def flat(x: Array) -> Array:
        columns = math.prod(x.shape[batch + outputs :])
        return x.reshape(*x.shape[:batch], -1, columns)

    return flat(codes), flat(weight.scales)
