"""Data and weights that are -1, 0 or 1, and their product by words of bits."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.formats.coding import encode
from jaxcompress.core.formats.grids import covered, grid
from jaxcompress.core.formats.integers import Integers
from jaxcompress.core.formats.sharing import Channel, Tensor
from jaxcompress.core.formats.tables import Table
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.graph import Site
from jaxcompress.graph.convolutions import Convolution
from jaxcompress.kernels import pack_bits, sign_matmul
from jaxcompress.kernels.bits import WORD_BITS, words
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
    if site.grouped:
        return f"a {site.primitive} in groups, each of which meets features of its own"
    if not site.observable:
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
    planes, steps = encoded(site, data, activations)
    sums = sums_of_signs(site, planes, weight_planes(site, weight), terms(site, weight))
    return scaled_sums(site, sums, weight_scale(site, weight), steps)


def encoded(site: Site, data: Array, activations: Activations) -> tuple[Array, Array]:
    """Planes of the codes of data, and their steps, NaN where one is not finite.

    Returns:
      ((planes, batch…, M, words) uint32, (batch…, M, 1) float32), for the M rows of the
      site's output.
    """
    spec, rows = activations.spec, site.rows(data).astype(jnp.float32)
    on = grid(covered(activations.ranges(rows, site), spec), spec)
    codes = encode(rows, on, spec)
    planes = [words_of(site, codes >= cut) for cut in cuts(spec)]
    finite = ~anywhere(site, ~finite_rows(rows))
    return jnp.stack(planes), jnp.where(finite, on.steps(spec), jnp.nan)


def words_of(site: Site, bits: Array) -> Array:
    """(batch…, M, words) that the weight meets, of bits as `site.rows` gives data.

    Those of each tap of a window begin a word.
    """
    taken = site.taps(pack_bits(bits))  # (batch…, M, taps, words of one tap)
    return taken.reshape(*taken.shape[:-2], math.prod(taken.shape[-2:]))


def anywhere(site: Site, flags: Array) -> Array:
    """(batch…, M, 1) bool: whether a flag of a row's data is set, of (…, rows, n)."""
    taken = site.taps(jnp.any(flags, -1, keepdims=True))  # (batch…, M, taps, 1)
    return jnp.any(taken, -2)


def sums_of_signs(site: Site, data: Array, weights: Array, length: int) -> Array:
    """(batch…, M, N) int32, the exact sums of products that the site's equation has."""
    layout = site.layout
    if not isinstance(layout, Convolution):
        return sign_matmul(data, weights, length)
    # Bits that fill the words of each tap are alike in both, and were counted as 1.
    bits = WORD_BITS * data.shape[-1]
    sums = sign_matmul(data, weights, bits) - (bits - length)
    if not layout.padded:
        return sums
    # A bit of padding is not set: it was counted as -1, and stands for 0.
    missed = _over_the_edge(layout, weights)
    apart = sums.reshape(layout.output_shape[layout.output_axes[0]], *missed.shape)
    return (apart + missed[None]).reshape(sums.shape)


def _over_the_edge(layout: Convolution, weights: Array) -> Array:
    """(positions, N) int32: the sum of the weights that meet no data, by position."""
    edge = layout.edge  # (positions, taps)
    features = layout.data_shape[layout.data_axes[1]]
    taps = edge.shape[1]
    words_of_tap = weights.reshape(*weights.shape[:2], taps, weights.shape[-1] // taps)
    bits = jnp.sum(jax.lax.population_count(words_of_tap), -1, dtype=jnp.int32)
    of_tap = jnp.sum(2 * bits - features, 0) // len(weights)  # (N, taps)
    sums = jnp.einsum(
        "pt,nt->pn", edge.astype(np.float32), of_tap.astype(jnp.float32), precision="highest"
    )
    return sums.astype(jnp.int32)


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
    """(planes, batch…, N, words) uint32, in the order of `words_of`."""
    batch, contracting = site.operand_axes.batch, site.operand_axes.contracting
    if weight.spec.stored_bits == 1 and len(contracting) == 1:
        # Stored as `pack_bits` packs: nothing is unpacked.
        stored = weight.codes
        return words(stored.reshape(*stored.shape[: len(batch)], -1, stored.shape[-1]))[None]
    codes = weight.unpacked_codes  # (batch…, outputs…, contracting…)
    if isinstance(site.layout, Convolution):
        return _planes_of_kernel(site.layout, contracting, codes, weight.spec)
    columns = terms(site, weight)
    return planes_of(codes.reshape(*codes.shape[: len(batch)], -1, columns), weight.spec)


def _planes_of_kernel(
    layout: Convolution, contracting: tuple[int, ...], codes: Array, spec: QuantSpec
) -> Array:
    """(planes, N, taps · words of one tap) of codes (N, contracting…)."""
    _, features, *window = layout.kernel_axes
    order = [1 + contracting.index(axis) for axis in (*window, features)]
    planes = planes_of(jnp.transpose(codes, (0, *order)), spec)  # (planes, N, taps…, words)
    return planes.reshape(*planes.shape[:2], math.prod(planes.shape[2:]))


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
