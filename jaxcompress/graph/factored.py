"""A low-rank weight where it meets data: two thin products, the weight never formed."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.leaf import materialize
from jaxcompress.core.lowrank import LowRank
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.order import inverse
from jaxcompress.core.types import Array
from jaxcompress.graph.sites import Site


def in_two_products(site: Site, apply: Callable[..., Any], data: Array, weight: Any) -> Array:
    """Multiplies data with a low-rank weight's factors, one after the other.

        dot           to the rank, then to the outputs
        convolution   the same window to `rank` channels, then 1×1; not with feature
                      groups
        gather        rows of the left factor, then the right one; along one axis

    A replacement for `rewrite`: whatever else meets data, or meets them along other
    axes than it is factored along, goes to the site's own equation.
    """
    if not isinstance(weight, LowRank) or not meets_factors(site, apply, data, weight):
        return apply(data, weight)
    left, right = (
        narrowed(factor, weight.dtype) for factor in materialize((weight.left, weight.right))
    )
    equation = _equation(apply, data, weight)
    if site.primitive == "dot_general":
        return _dot(site, equation, data, left, right)
    if site.primitive == "conv_general_dilated":
        kernel = jnp.transpose(right, inverse(weight.permutation))
        features = equation["dimension_numbers"].out_spec[1]
        return _along(features, apply(data, kernel), left.T, site, equation)
    table = jnp.transpose(left, inverse(weight.permutation))
    sizes = list(equation["slice_sizes"])
    sizes[weight.permutation[-1]] = weight.rank
    rows = apply(data, table, slice_sizes=tuple(sizes))
    return _along(_copied_axis(equation, weight), rows, right, site, {})


def meets_factors(site: Site, apply: Callable[..., Any], data: Array, weight: LowRank) -> bool:
    """Whether `in_two_products` multiplies there by the factors, and forms no weight.

    There outputs add up where weights do.
    """
    axes = site.operand_axes
    same = weight.permutation == axes.order and weight.output_ndim == len(axes.output)
    if not same or weight.batch_ndim != len(axes.batch):
        return False
    match site.primitive:
        case "dot_general":
            return True
        case "conv_general_dilated":
            return _one_group(_equation(apply, data, weight))
        case "gather":
            return _copies_one_axis(_equation(apply, data, weight), weight)
    return False


def _equation(apply: Callable[..., Any], data: Array, weight: LowRank) -> dict[Any, Any]:
    """The parameters of the site's own equation."""
    array = jax.ShapeDtypeStruct(weight.shape, weight.dtype)
    return jax.make_jaxpr(apply)(data, array).eqns[-1].params


def _dot(site: Site, equation: dict[Any, Any], data: Array, left: Array, right: Array) -> Array:
    """The product with the right factor, then the left one; neither is reshaped."""
    batch = tuple(range(len(site.operand_axes.batch)))
    rows = site.rows(data)  # (batch…, M, K)
    rows = rows.reshape(
        *rows.shape[:-1], *right.shape[len(batch) + 1 :]
    )  # (batch…, M, contracting…)
    first = len(batch) + 1
    window = tuple(range(first, rows.ndim))
    thin = _product(rows, right, (window, window), batch, equation).astype(data.dtype)
    wide = _product(thin, left, ((first,), (left.ndim - 1,)), batch, equation)
    return site.output(wide).astype(site.dtype)


def _along(axis: int, thin: Array, factor: Array, site: Site, equation: dict[Any, Any]) -> Array:
    """The product with a (rank, size) factor along one axis."""
    wide = _product(thin, factor, ((axis,), (0,)), (), equation)
    return jnp.moveaxis(wide, -1, axis).astype(site.dtype)


def _product(
    x: Array, factor: Array, contracting, batch: tuple[int, ...], equation: dict[Any, Any]
) -> Array:
    return jax.lax.dot_general(
        x,
        factor,
        (contracting, (batch, batch)),
        precision=equation.get("precision"),
        preferred_element_type=jnp.float32,
    )


def _one_group(equation: dict[Any, Any]) -> bool:
    return equation["feature_group_count"] == equation["batch_group_count"] == 1


def _copies_one_axis(equation: dict[Any, Any], weight: LowRank) -> bool:
    """Whether rows are copied along one axis, and all of that axis."""
    numbers, sizes = equation["dimension_numbers"], equation["slice_sizes"]
    *_, copied = weight.permutation
    whole = weight.ndim - weight.batch_ndim - weight.output_ndim == 1
    if not whole or sizes[copied] != weight.shape[copied] or copied in _removed(numbers):
        return False
    # What fills rows outside of the table must survive the second product.
    fill = equation["fill_value"]
    return fill is None or fill == 0 or bool(np.isnan(fill))


def _copied_axis(equation: dict[Any, Any], weight: LowRank) -> int:
    """Where the one copied axis is in the output."""
    numbers = equation["dimension_numbers"]
    *_, copied = weight.permutation
    return numbers.offset_dims[sum(axis not in _removed(numbers) for axis in range(copied))]


def _removed(numbers) -> set[int]:
    """The axes of the table that the output has not."""
    return {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
