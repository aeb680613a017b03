"""Multiplying data with leaves that hold leaves: each part in a way of its own."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.corrected import Corrected
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.rotated import Rotated
from jaxcompress.core.types import Array
from jaxcompress.graph import Site
from jaxcompress.graph.factored import in_two_products

WITH_CODES = (QTensor, Corrected, Rotated)
"""The leaves that a plan chooses a form for."""

UNROTATED = "calibration saw data that are not rotated; take dynamic() to multiply codes"
"""Why fixed ranges say nothing of the data that meet a rotated weight."""


def by_parts(multiply: Callable[..., Any]) -> Callable[..., Any]:
    """Takes leaves that hold leaves apart, and multiplies what they hold.

        rotated     rows of the data are rotated, and meet the weight as it is stored;
                    so what rounds data rounds rotated ones
        corrected   the product with the codes, plus two thin products with the factors,
                    which meet the data as they are

    Args:
      multiply: (site, apply, data, weight) -> output, of a weight that holds none: an
        array or a `QTensor`; or of a leaf whose parts cannot be met at the site.

    Returns:
      The same function for every weight.
    """

    def product(site: Site, apply: Callable[..., Any], data: Array, weight) -> Array:
        if isinstance(weight, Rotated) and not unrotatable(site, weight):
            return product(site, apply, rotated_data(site, data, weight), weight.leaf)
        if isinstance(weight, Corrected) and _is_linear(site):
            base = product(site, apply, data, weight.base)
            thin = in_two_products(site, apply, data, weight.correction)
            total = base.astype(jnp.float32) + thin.astype(jnp.float32)
            return total.astype(site.dtype)
        return multiply(site, apply, data, weight)

    return product


def rotated_data(site: Site, data: Array, weight: Rotated) -> Array:
    """The data whose rows are rotated as the weight is, where `unrotatable` is ""."""
    rows = weight.rotated_rows(site.rows(data))
    # `rows` only moves entries about, so its transpose moves them back.
    (back,) = jax.linear_transpose(site.rows, data)(rows)
    return back


def unrotatable(site: Site, weight: Rotated) -> str:
    """Why data cannot be rotated at a site, so that the weight is rotated back."""
    axes = site.operand_axes
    roles = (len(axes.output), len(axes.contracting))
    if not site.is_matmul or not site.observable:
        return f"a {site.primitive}, whose data have no rows to rotate"
    if not jnp.issubdtype(site.data_dtype, jnp.floating):
        return f"the data are {site.data_dtype}"
    if (weight.permutation, weight.output_ndim, weight.contracting_ndim) != (axes.order, *roles):
        return "rotated along other axes than it meets data with; pass axes=graph.axes(...)"
    return ""


def _is_linear(site: Site) -> bool:
    """Whether outputs add up where weights do; a lookup may fill rows."""
    return site.primitive in ("dot_general", "conv_general_dilated")
