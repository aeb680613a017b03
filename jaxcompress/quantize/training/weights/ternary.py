"""Ternary weights: zero and one level on each side, computed or trained."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import Axes
from jaxcompress.core.checks import check_inside
from jaxcompress.core.companions import Companion
from jaxcompress.core.formats.codebooks import Codebook
from jaxcompress.core.formats.cuts import Cut
from jaxcompress.core.formats.grids import Grid
from jaxcompress.core.formats.scales import Float32
from jaxcompress.core.numerics import largest_magnitude
from jaxcompress.core.rules import Rules, as_rules
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array, Selector
from jaxcompress.quantize.assignment import Choice
from jaxcompress.quantize.formats.tables import codebook, ternary
from jaxcompress.quantize.training.weights.method import (
    Codes,
    Method,
    Trained,
    bounded,
    companion,
)
from jaxcompress.quantize.training.weights.steps import positive

THREE_LEVELS = ternary().levels
BELOW, ABOVE = 1, 2
"""The codes of the levels on both sides of zero, in a codebook of four."""


def ternary_weights(
    spec: QuantSpec | Rules[Any] = ternary(per="tensor"),
    *,
    axes: Axes | None = None,
    select: Selector | None = None,
    threshold: float = 0.7,
) -> Companion:
    """Trains weights of which the model sees -scale, 0 or scale.

    Not for: accuracy before bytes: with `learned_steps` in 4 bits, data too, a small
    ResNet was a point better.

        delta = threshold · mean |w|
        value = scale · sign(w) where |w| > delta, else 0
        scale = mean |w| of the weights above delta
        d value / d w = 1

    Also known as: ternary weight network (TWN).

    Args:
      spec: `formats.ternary`, per tensor by default; or rules of such.
      axes: what `graph.axes` gave; without it the layout default, as in `quantize`.
      select: which leaves; without it every weight that meets data.
      threshold: share of the mean magnitude below which a weight is 0, above 0. 0.7 is
        nearly best for weights that are normally distributed.

    Returns:
      Companion with nothing beside the weights. `freeze` gives `QTensor`s of two bits.

    Raises:
      TypeError: as `quantize`; when applied: as `quantize`.
      ValueError: a format is not `ternary`, or `threshold` is not in (0, 10); when
        applied: as `quantize`, or companions are of other params.

    Example:
      >>> technique = jc.quantize.training.ternary_weights()
      >>> params = {"kernel": jnp.array([[0.1, -2.0, 1.0]])}
      >>> technique.view(params, technique.init(params))["kernel"]
      Array([[ 0. , -1.5,  1.5]], dtype=float32)

    Source: Li et al. 2016, arXiv:1605.04711, section 2, equations 4 and 6.
    """
    choice = Choice("ternary_weights", spec, axes, select)
    check_inside("ternary_weights", "threshold", threshold, 0, 10)
    for _, each in as_rules(spec).pairs:
        if each.levels != THREE_LEVELS:
            raise ValueError(f"ternary_weights(spec={each}) must be a format of formats.ternary().")

    def rounded(blocks: Array, trained: Trained, parts: Cut, spec: QuantSpec) -> Codes:
        del trained
        magnitudes = jnp.abs(blocks)
        mean = bounded(jnp.mean(magnitudes, parts.shared, keepdims=True), blocks, parts)
        above = ~(magnitudes <= threshold * mean)
        mean = _mean_where(above, magnitudes, parts)
        on = Grid(*spec.scales.write(mean, parts))
        return Codes(jnp.where(above, jnp.sign(blocks), 0.0), on)

    return companion(choice, Method(rounded, _identity))


def trained_ternary(
    spec: QuantSpec | Rules[Any] = codebook(2, per="tensor"),
    *,
    axes: Axes | None = None,
    select: Selector | None = None,
    threshold: float = 0.05,
) -> Companion:
    """Trains two levels beside zero, one on each side, with the weights that get them.

    Not for: short training: on a small ResNet `ternary_weights`, which trains no
    levels, was a point better after six epochs.

        delta = threshold · max |w|
        value = above where w > delta, -below where w < -delta, else 0
        d L / d above = sum of d L / d value over the weights above
        d L / d below = -sum of d L / d value over the weights below
        d L / d w = d L / d value times above, 1 or below, by where w lies

    Levels count by their magnitude, so they stay on their sides of zero. Begin with
    trained floats; the first layer and the last are left out by the authors.

    Also known as: TTQ, trained ternary quantization.

    Args:
      spec: `formats.codebook(2)`, per tensor by default, with float32 scales; or rules
        of such. One of the four codes is not used.
      axes: what `graph.axes` gave; without it the layout default, as in `quantize`.
      select: which leaves; without it every weight that meets data.
      threshold: share of the largest magnitude below which a weight is 0, in (0, 1).

    Returns:
      Companion. By leaf name it holds "above" and "below", float32 of the blocks, which
      begin at the mean magnitude of their weights.

    Raises:
      TypeError: as `quantize`; when applied: as `quantize`.
      ValueError: a format is no codebook of two bits with float32 scales, or
        `threshold` is not in (0, 1); when applied: as `quantize`, or companions are of
        other params.

    Example:
      >>> technique = jc.quantize.training.trained_ternary()
      >>> params = {"kernel": jnp.array([[0.02, -2.0, 1.0, 3.0]])}
      >>> companions = technique.init(params)
      >>> technique.view(params, companions)["kernel"]
      Array([[ 0., -2.,  2.,  2.]], dtype=float32)
      >>> total = lambda levels: technique.view(params, levels)["kernel"].sum()
      >>> grads = jax.grad(total)(companions)["kernel"]
      >>> grads["above"].item(), grads["below"].item()
      (2.0, -1.0)

    Source: Zhu et al. 2017, arXiv:1612.01064, section 3, equations 6 to 8. Differs:
    weights are not divided by their largest magnitude before.
    """
    choice = Choice("trained_ternary", spec, axes, select)
    check_inside("trained_ternary", "threshold", threshold, 0, 1)
    for _, each in as_rules(spec).pairs:
        if each.levels != Codebook(2) or not isinstance(each.scales, Float32):
            raise ValueError(
                f"trained_ternary(spec={each}) must be a format of formats.codebook(2) with "
                "float32 scales, which stores the two levels."
            )

    def sides(blocks: Array, parts: Cut) -> tuple[Array, Array, Array]:
        largest = largest_magnitude(blocks, parts.shared, keepdims=True)
        return blocks > threshold * largest, blocks < -threshold * largest, largest

    def start(blocks: Array, parts: Cut, spec: QuantSpec) -> Trained:
        del spec
        above, below, _ = sides(blocks, parts)
        return {
            "above": _mean_where(above, jnp.abs(blocks), parts, empty=1.0),
            "below": _mean_where(below, jnp.abs(blocks), parts, empty=1.0),
        }

    def rounded(blocks: Array, trained: Trained, parts: Cut, spec: QuantSpec) -> Codes:
        above, below, largest = sides(blocks, parts)
        del spec
        high, low = positive(trained["above"]), positive(trained["below"])
        # The fourth level repeats one, so that no other number is among them.
        levels = jnp.stack([jnp.zeros_like(high), -low, high, high], axis=-1)
        # A block with an entry that is not finite has no sides: its scale says so.
        on = Grid(1 + 0 * largest, codebook=levels)
        return Codes(jnp.where(above, ABOVE, jnp.where(below, BELOW, 0)), on)

    def passing(blocks: Array, trained: Trained, found: Codes, parts: Cut, spec: QuantSpec):
        del parts, spec
        high, low = positive(trained["above"]), positive(trained["below"])
        moved = blocks - jax.lax.stop_gradient(blocks)
        above = high + jax.lax.stop_gradient(high) * moved
        below = -low + jax.lax.stop_gradient(low) * moved
        outer = jnp.where(found.codes == ABOVE, above, below)
        return jnp.where(found.codes == 0, blocks, outer)

    return companion(choice, Method(rounded, passing, start))


def _identity(blocks: Array, trained: Trained, found: Codes, parts: Cut, spec: QuantSpec) -> Array:
    del trained, found, parts, spec
    return blocks


def _mean_where(chosen: Array, magnitudes: Array, parts: Cut, empty: float = 0.0) -> Array:
    """The mean of chosen entries of each block, `empty` where none is."""
    count = jnp.sum(chosen, parts.shared, keepdims=True)
    total = jnp.sum(jnp.where(chosen, magnitudes, 0.0), parts.shared, keepdims=True)
    mean = bounded(total / jnp.maximum(count, 1), magnitudes, parts)
    return jnp.where(count > 0, mean, empty)
