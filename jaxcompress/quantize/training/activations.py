"""Quantization-aware training of activations: data rounded as execution rounds them."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.formats.coding import decode, encode
from jaxcompress.core.formats.grids import Grid, covered, grid, within
from jaxcompress.core.models import check_model
from jaxcompress.core.numerics import narrowed, straight_through
from jaxcompress.core.rotated import Rotated
from jaxcompress.core.rules import Rules, as_rules, check_rules
from jaxcompress.core.types import Array, Model
from jaxcompress.graph import Site, rewrite
from jaxcompress.kernels import digits as digits_of
from jaxcompress.quantize.execution.activations import MADE_BY, Activations
from jaxcompress.quantize.execution.parts import UNROTATED, by_parts


def fake_quantize_activations(fn: Model, activations: Activations | Rules[Any]) -> Model:
    """Rounds the data of every dot and convolution of a model to codes.

    For training with quantized activations, and to see what they cost before running on
    integers: with `quantize`d params it is W8A8, W4A8 or W4A4 on any program. The
    gradient is that of the data inside the range, 0 outside. Data that
    are not finite stay as they are. In a `jax.lax.scan` second derivatives need
    forward over forward mode: after a reverse pass JAX differentiates the rounding
    itself there. Where a weight is `Rotated` the rotated data are rounded; of a
    `Corrected` one, those that meet the codes, while its factors meet the data as they
    are.

    Args:
      fn: fn(params, *inputs) -> outputs.
      activations: `dynamic()`, `static(readings)` or `outliers(...)` of any format, or
        rules of them over leaf names; sites of a leaf without a rule stay as they are,
        and so do gathers and ragged dots. Rules for products, such as attention's two,
        begin with "@".

    Returns:
      Function of the same arguments and outputs.

    Raises:
      TypeError: `activations` are none.
      ValueError: (when traced) a rule matches nothing, a site has no reading, or one
        of data that are not rotated where its weight is; or no data reached one of a
        leaf that a rule names.

    Example:
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> coarse = jc.quantize.fake_quantize_activations(
      ...     fn, jc.quantize.execution.dynamic(jc.quantize.int4())
      ... )
      >>> coarse({"kernel": jnp.eye(2)}, jnp.array([[7.0, 2.2]]))
      Array([[7., 2.]], dtype=float32)

    Source: Jacob et al. 2018, arXiv:1712.05877, section 3.
    """
    check_model("fake_quantize_activations", fn)
    check_rules("fake_quantize_activations", "activations", activations, Activations, MADE_BY)
    pairs = as_rules(activations).pairs
    return rewrite(fn, Rules((pattern, rounded_data(value, pattern)) for pattern, value in pairs))


def rounded_data(activations: Activations, pattern: str = "*"):
    """Makes the site replacement that rounds data, for the rule of this pattern."""

    def replacement(site: Site, apply, data: Array, weight):
        if isinstance(weight, Rotated) and site.name in activations.calibrated:
            raise ValueError(
                f"fake_quantize_activations: the weight of site {site.name!r} is rotated, and "
                f"{UNROTATED}, or give its leaf a rule of its own."
            )
        return in_parts(site, apply, data, weight)

    def rounded(site: Site, apply, data: Array, weight):
        if site.name in activations.unreached and pattern != "*":
            raise ValueError(
                f"fake_quantize_activations: rule {pattern!r} asks for static ranges of site "
                f"{site.name!r}, but no data reached all of it in calibration. "
                "Give data that reach it, or a rule of dynamic() for it."
            )
        if not site.observable or not jnp.issubdtype(data.dtype, jnp.floating):
            return apply(data, weight)
        shown = fake_rows(site.rows(data), site, activations)
        # `rows` only moves entries about, so its transpose moves them back.
        (back,) = jax.linear_transpose(site.rows, data)(shown)
        return apply(back, weight)

    in_parts = by_parts(rounded)
    return replacement


def fake_rows(rows: Array, site: Site, activations: Activations) -> Array:
    """Rounds the rows of a site to codes, with a straight-through gradient."""
    x = jax.lax.stop_gradient(rows).astype(jnp.float32)
    kept = activations.kept(x, site)
    rest = jnp.where(kept, 0.0, x)
    cover = covered(activations.ranges(rest, site), activations.spec)
    value = _round_trip(rest, grid(cover, activations.spec), activations)
    value = jnp.where(jnp.isfinite(x) & ~kept, value, x)
    return straight_through(narrowed(value, rows.dtype), rows, within(rest, cover))


def _round_trip(x: Array, on: Grid, activations: Activations) -> Array:
    spec = activations.spec
    if activations.digits == 1:
        return decode(encode(x, on, spec), on, spec)
    steps = on.steps(spec)
    parts, scales = digits_of(x, steps, count=activations.digits, highest=spec.highest)
    return jnp.sum(parts * scales, axis=0)
