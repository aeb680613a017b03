"""Quantization-aware training on integer products, the ones that execution forms."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import Axes
from jaxcompress.core.formats.coding import encode
from jaxcompress.core.formats.cuts import cut
from jaxcompress.core.formats.grids import Grid, covered, grid, within
from jaxcompress.core.formats.integers import Integers
from jaxcompress.core.formats.sharing import Channel, Tensor
from jaxcompress.core.models import check_model
from jaxcompress.core.names import map_named
from jaxcompress.core.numerics import narrowed, straight_through
from jaxcompress.core.observers import Range
from jaxcompress.core.rules import Rules, as_rules, check_rules
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array, Model, Params, Selector
from jaxcompress.graph import Replacement, Site, rewrite
from jaxcompress.quantize.assignment import Assignment, assign, check_choice
from jaxcompress.quantize.execution.activations import (
    MADE_BY,
    Activations,
    by_feature,
    dynamic,
    finite_rows,
    none_kept,
)
from jaxcompress.quantize.execution.obstacles import obstacle
from jaxcompress.quantize.ranges.extremes import min_max
from jaxcompress.quantize.ranges.grids import Ranges, check_ranges, found_cover
from jaxcompress.quantize.training.activations import rounded_data
from jaxcompress.quantize.training.latent import Latent


def fake_quantize_model(
    fn: Model,
    spec: QuantSpec | Rules[Any],
    activations: Activations | Rules[Any] = dynamic(),
    *,
    axes: Axes | None = None,
    select: Selector | None = None,
    ranges: Ranges = min_max,
) -> Model:
    """Rounds weights and data of a model to codes, for quantization-aware training.

    Not for: data in 4 bits and fewer, whose ranges `training.learned_activations`
    trains.

    Also known as: W8A8 QAT, fake quantization of weights and activations.

    Outputs and gradients are those of

        fake_quantize_activations(fn, activations)(fake_quantize(spec)(params), *inputs)

    up to the rounding of sums. Where a dot has symmetric codes on both sides, without
    groups, its forward pass multiplies the codes, as `run` does in the integer form; so
    it costs less than the float product where int8 is fast.

    Args:
      fn: fn(params, *inputs) -> outputs.
      spec: of the weights; one, or rules over the names of the selected leaves.
      activations: how data become codes, at every site; or rules of them over leaf
        names, by which data of a leaf without a rule stay as they are.
      axes: what `graph.axes` gave; without it the layout default, as in `quantize`.
      select: which leaves; without it every weight that meets data.
      ranges: which range the codes of a block of weights cover.

    Returns:
      Function of the same arguments and outputs, for the full params; jit what calls
      it.

    Raises:
      TypeError: `activations` are none, or (when called) as `fake_quantize`.
      ValueError: (when called) as `fake_quantize`, or a site has no reading.

    Example:
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> coarse = jc.quantize.fake_quantize_model(fn, jc.quantize.int4())
      >>> params = {"kernel": jnp.array([[7.0], [2.2]])}
      >>> float(coarse(params, jnp.array([[0.0, 127.0]]))[0, 0])
      254.0
      >>> jax.grad(lambda p: coarse(p, jnp.ones((1, 2))).sum())(params)["kernel"][:, 0]
      Array([1., 1.], dtype=float32)

    Source: Jacob et al. 2018, arXiv:1712.05877, section 3. Differs: the forward pass
    multiplies integers.
    """
    check_model("fake_quantize_model", fn)
    check_choice("fake_quantize_model", spec, axes, select)
    check_ranges("fake_quantize_model", ranges)
    check_rules("fake_quantize_model", "activations", activations, Activations, MADE_BY)
    pairs = as_rules(activations).pairs
    rewritten = rewrite(fn, Rules((pattern, _rounding(each, pattern)) for pattern, each in pairs))

    @functools.wraps(fn)
    def model(params: Params, *inputs):
        assigned = assign("fake_quantize_model", params, spec, axes, select)

        def latent(name: str, leaf):
            choice = assigned[name]
            return Latent.of(leaf, choice, ranges) if isinstance(choice, Assignment) else leaf

        return rewritten(map_named(latent, params), *inputs)

    return model


def _rounding(activations: Activations, pattern: str) -> Replacement:
    """The replacement of the sites of one rule: products of codes where they can be."""
    in_floats = rounded_data(activations, pattern)

    def replacement(site: Site, apply: Callable[..., Any], data: Array, weight) -> Array:
        if isinstance(weight, Latent) and _has_codes(site, weight, activations):
            return _product(site, weight, activations)(data, weight.array)
        return in_floats(site, apply, data, weight)

    return replacement


def _has_codes(site: Site, weight: Latent, activations: Activations) -> bool:
    """Whether a site can multiply codes and scale the product."""
    data = activations.spec
    largest = max(-data.lowest, data.highest)
    return (
        site.is_matmul
        and isinstance(data.levels, Integers)
        and data.symmetric
        and activations.digits == 1
        and activations.kept is none_kept
        and not by_feature(activations, site)
        and isinstance(weight.spec.sharing, Channel | Tensor)
        and not obstacle(site, weight.spec, weight.axes.order, weight.shape, largest)
    )


class _Rounded(NamedTuple):
    """Numbers with the codes that they round to and the scale of these."""

    x: Array
    codes: Array
    cover: Range
    scale: Array

    @property
    def value(self) -> Array:
        return self.codes.astype(jnp.float32) * self.scale

    @property
    def inside(self) -> Array:
        return within(self.x, self.cover)

    def seen(self, x: Array, dtype) -> Array:
        """The dequantized codes, with a straight-through gradient to `x`."""
        return straight_through(narrowed(self.value, dtype), x, self.inside)


def _rounded(x: Array, cover: Range, on: Grid, spec: QuantSpec) -> _Rounded:
    return _Rounded(x, encode(x, on, spec).astype(jnp.int8), cover, on.steps(spec))


def _rows(site: Site, data: Array, activations: Activations) -> _Rounded:
    """The data as rows, (batch…, M, K)."""
    x = jax.lax.stop_gradient(site.rows(data)).astype(jnp.float32)
    cover = covered(activations.ranges(x, site), activations.spec)
    rows = _rounded(x, cover, grid(cover, activations.spec), activations.spec)
    return rows._replace(scale=jnp.where(finite_rows(x), rows.scale, jnp.nan))


def _weights(weight: Latent, array: Array) -> _Rounded:
    """Rounds the weight in its own layout: a transpose costs more than the rest."""
    x = jax.lax.stop_gradient(array).astype(jnp.float32)
    parts = cut(x.shape, weight.spec.sharing, weight.axes)  # by channels or whole: not cut
    return _rounded(x, *found_cover(weight.ranges, x, parts, weight.spec), weight.spec)


def _product(site: Site, weight: Latent, activations: Activations) -> Callable[..., Any]:
    """Makes (data, array) -> the site's output, differentiable by both."""

    # The codes are operands, so that a derivative of any order rounds but once.
    @jax.custom_jvp
    def product(data: Array, array: Array, rows: _Rounded, weights: _Rounded) -> Array:
        y = _dot(site, rows.codes, weights.codes, preferred_element_type=jnp.int32)
        y = y.astype(jnp.float32) * _by_output(site, weights.scale) * rows.scale
        return site.output(y).astype(site.dtype)

    @product.defjvp
    def _(primals, tangents):
        data, array, rows, weights = primals
        seen_rows = rows.seen(site.rows(data), data.dtype)
        seen_weights = weights.seen(array, weight.dtype)
        by_data = jnp.where(rows.inside, site.rows(tangents[0]), 0)
        by_array = jnp.where(weights.inside, tangents[1], 0).astype(weight.dtype)
        tangent = _dot(site, by_data, seen_weights) + _dot(site, seen_rows, by_array)
        return product(*primals), site.output(tangent).astype(site.dtype)

    def rounded(data: Array, array: Array) -> Array:
        return product(data, array, _rows(site, data, activations), _weights(weight, array))

    return rounded


def _by_output(site: Site, scale: Array) -> Array:
    """The scale of each output, (batch…, 1, N or 1)."""
    axes = site.operand_axes
    return jnp.transpose(scale, axes.order).reshape(*_sizes(scale, axes.batch), 1, -1)


def _dot(site: Site, rows: Array, weight: Array, **options) -> Array:
    """(batch…, M, K) times the weight as it lies, (batch…, M, N)."""
    # The weight keeps its layout and the small rows are reshaped to it: (batch…, M,
    # contracting as the weight has them), so that no copy of the weight is made.
    axes = site.operand_axes
    *batch, count, _ = rows.shape
    first = len(batch) + 1
    summed = tuple(range(first, first + len(axes.contracting)))
    numbers = ((summed, axes.contracting), (tuple(range(len(batch))), axes.batch))
    parted = rows.reshape(*batch, count, *_sizes(weight, axes.contracting))
    y = jax.lax.dot_general(parted, weight, numbers, **options)  # (batch…, M, outputs as they lie)
    # `dot_general` leaves output axes in the weight's order; the site wants its own.
    places = (first + sorted(axes.output).index(axis) for axis in axes.output)
    return jnp.transpose(y, (*range(first), *places)).reshape(*batch, count, -1)


def _sizes(x: Array, axes: tuple[int, ...]) -> list[int]:
    return [x.shape[axis] for axis in axes]
