"""Why an integer product cannot compute what a site computes."""

import math

import jax.numpy as jnp

from jaxcompress.core.formats.integers import Integers
from jaxcompress.core.formats.sharing import Block, Group, Row
from jaxcompress.core.qtensor import QTensor
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


def obstacle_to_codes(site: Site, weight: QTensor) -> str:
    """Why a site cannot multiply codes of 8 bits with those of its weight, or ""."""
    if site.axes.looked_up:
        return f"a {site.primitive} looks rows up and multiplies nothing"
    if not site.observable:
        return f"a {site.primitive} whose rows meet matrices that the data choose"
    if reason := obstacle(site, weight.spec, weight.permutation, weight.shape, largest=127):
        return reason
    rows = isinstance(weight.spec.sharing, Row) and len(site.operand_axes.contracting) > 1
    if rows or isinstance(weight.spec.sharing, Block):
        return f"scales {weight.spec.sharing}, which no integer product multiplies with"
    if not site.is_matmul and isinstance(weight.spec.sharing, Group):
        return "groups inside the window of a convolution"
    return ""
