"""Data and weights that are -1, 0 or 1, and their product by words of bits."""

import math

import jax.numpy as jnp

from jaxcompress.core.formats.coding import encode
from jaxcompress.core.formats.grids import covered, grid
from jaxcompress.core.formats.integers import Integers
from jaxcompress.core.formats.sharing import Channel, Tensor
from jaxcompress.core.formats.tables import Table
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.graph import Site
from jaxcompress.kernels import pack_bits, sign_matmul
from jaxcompress.kernels.bits import words
from jaxcompress.quantize.execution.activations import (
    MIXED,
    Activations,
    by_feature,
    finite_rows,
    none_kept,
)

SIGNS = ((-1.0, 1.0), (-1.0, 0.0, 1.0))
"""The levels whose products words of bits count."""

NEVER = -(2**31)
"""No sum of signs: stands for one of a row that is not finite."""


def are_signs(spec: QuantSpec) -> bool:
    """Whether codes stand for -1 and 1, or -1, 0 and 1, times the scale."""
    if isinstance(spec.levels, Table):
        return spec.levels.values in SIGNS
    return isinstance(spec.levels, Integers) and spec.symmetric and spec.levels.ends == SIGNS[0]


def sign_obstacle(site: Site, weight: QTensor, activations: Activations) -> str:
    """Why a site cannot multiply words of bits; empty when it can."""
    if not are_signs(weight.spec):
        return f"{weight.spec.name} weights are not signs"
    if not are_signs(activations.spec) or activations.digits > 1:
        return f"{activations.spec.name} data are not signs"
    if activations.kept is not none_kept:
        return "some features stay floats"
    if not site.is_matmul or not site.observable:
        return f"a {site.primitive}, whose data are no rows of one matrix"
    if not jnp.issubdtype(site.data_dtype, jnp.floating):
        return f"the data are {site.data_dtype}"
    if weight.permutation != site.operand_axes.order:
        return "quantized along other axes than it meets data with; pass axes=graph.axes(...)"
    if not isinstance(weight.spec.sharing, Channel | Tensor):
        return f"scales {weight.spec.sharing}"
    return MIXED if by_feature(activations, site) else ""


def terms(site: Site, weight: QTensor) -> int:
    """How many products an output sums."""
    return math.prod(weight.shape[axis] for axis in site.operand_axes.contracting)


def signs_product(site: Site, data: Array, weight: QTensor, activations: Activations) -> Array:
    """The output of the site's equation on data rounded to signs."""
    rows = site.rows(data).astype(jnp.float32)  # (batch…, M, K)
    planes, steps = encoded(rows, site, activations)
    sums = sign_matmul(planes, weight_planes(site, weight), terms(site, weight))
    return scaled_sums(site, sums, weight_scale(site, weight), steps)


def encoded(rows: Array, site: Site, activations: Activations) -> tuple[Array, Array]:
    """Planes of the codes of rows, and the data's steps, NaN where a row is not finite.

    Returns:
      ((planes, batch…, M, words) uint32, (batch…, M, 1) float32).
    """
    spec = activations.spec
    on = grid(covered(activations.ranges(rows, site), spec), spec)
    planes = planes_of(encode(rows, on, spec), spec)
    return planes, jnp.where(finite_rows(rows), on.steps(spec), jnp.nan)


def scaled_sums(site: Site, sums: Array, scale: Array, steps: Array) -> Array:
    """The equation's output of sums (batch…, M, N), multiplied as in integer forms."""
    known = jnp.where(jnp.isfinite(steps), sums, NEVER)
    return site.output(scaled(known, scale, steps)).astype(site.dtype)


def scaled(sums: Array, scale: Array, steps: Array) -> Array:
    """Sums times both scales, rounded before anything is added; NaN for `NEVER`."""
    # XLA's CPU compiler makes one operation of a product and a sum after it, which
    # rounds once, whatever barrier lies between; not where entries are chosen from.
    return jnp.where(sums == NEVER, jnp.nan, sums.astype(jnp.float32) * scale * steps)


def weight_scale(site: Site, weight: QTensor) -> Array:
    """(batch…, 1, N or 1) float32."""
    batch = len(site.operand_axes.batch)
    scale = weight.scales.reshape(*weight.scales.shape[:batch], -1, 1)
    return jnp.swapaxes(scale, -1, -2)


def weight_planes(site: Site, weight: QTensor) -> Array:
    """(planes, batch…, N, words) uint32 of codes (batch…, outputs…, contracting…)."""
    batch, contracting = site.operand_axes.batch, site.operand_axes.contracting
    if weight.spec.stored_bits == 1 and len(contracting) == 1:
        # Stored as `pack_bits` packs: nothing is unpacked.
        stored = weight.codes
        return words(stored.reshape(*stored.shape[: len(batch)], -1, stored.shape[-1]))[None]
    codes = weight.unpacked_codes
    columns = terms(site, weight)
    return planes_of(codes.reshape(*codes.shape[: len(batch)], -1, columns), weight.spec)


def planes_of(codes: Array, spec: QuantSpec) -> Array:
    """(planes, ..., words) of codes (..., K): a plane for each code but the lowest."""
    return jnp.stack([pack_bits(codes >= cut) for cut in cuts(spec)])


def signs_of(codes: Array, spec: QuantSpec) -> Array:
    """What codes stand for in steps, -1, 0 or 1: float32 of their shape."""
    numbers = codes.astype(jnp.float32)
    return numbers if spec.has_zero else 2 * numbers - 1


def cuts(spec: QuantSpec) -> tuple[int, ...]:
    """The codes from which on the bit of each plane is set."""
    return tuple(range(spec.lowest + 1, spec.highest + 1))
