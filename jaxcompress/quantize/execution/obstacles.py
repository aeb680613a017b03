"""Why an integer product cannot compute what a site computes."""

import math

import jax.numpy as jnp

from jaxcompress.core.formats.integers import Integers
from jaxcompress.core.spec import QuantSpec
from jaxcompress.graph import Site


def obstacle(
    site: Site, spec: QuantSpec, order: tuple[int, ...], shape: tuple[int, ...], largest: int
) -> str:
    """Why a site cannot multiply the codes of a weight; empty when it can.

    Sharing is not looked at: each product has scales of its own.

    Args:
      site: where the weight meets data.
      spec: of the weight's codes.
      order: of its axes as they were quantized: batch, output, contracting.
      shape: of the array that the weight stands for.
      largest: magnitude of a code of the data.
    """
    if not jnp.issubdtype(site.data_dtype, jnp.floating):
        return f"the data are {site.data_dtype}"
    if not isinstance(spec.levels, Integers):
        return f"{spec.name} codes are not integers"
    if not spec.symmetric:
        return "asymmetric codes"
    if order != site.operand_axes.order:
        return "quantized along other axes than it meets data with; pass axes=graph.axes(...)"
    terms = math.prod(shape[axis] for axis in site.operand_axes.contracting)
    if terms * largest * max(-spec.lowest, spec.highest) >= 2**31:
        return f"sums of {terms} products overflow int32"
    return ""
