"""Quantization by the optimizer alone: weights drawn to their levels."""

from functools import partial
from typing import Any

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.axes import Axes
from jaxcompress.core.checks import check_rate
from jaxcompress.core.formats.coding import decode, encode
from jaxcompress.core.formats.cuts import as_before, cut, in_blocks
from jaxcompress.core.proximal import Operator, proximal
from jaxcompress.core.rules import Rules
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array, Params, Selector
from jaxcompress.quantize.assignment import Assignment, Choice
from jaxcompress.quantize.ranges.extremes import min_max
from jaxcompress.quantize.ranges.grids import Ranges, check_ranges, found_grid


def proximal_grid(
    strength: ArrayLike | optax.Schedule,
    spec: QuantSpec | Rules[Any],
    *,
    axes: Axes | None = None,
    select: Selector | None = None,
    ranges: Ranges = min_max,
) -> optax.GradientTransformation:
    """Draws each weight towards its nearest level, after the updates before it.

    Not for: steps and levels that the loss shall train, which it never sees here;
    `learned_steps` shows and trains them.

        q = level nearest to w + update
        w <- q + sign(w + update - q) · max(0, |w + update - q| - strength)

    which is the proximal step of the distance to the grid, strength · Σ |w - q|. The
    model sees the weights themselves: no view, no straight-through gradient. Let the
    strength grow from 0, by a schedule, until weights lie on their levels; then
    `quantize` with the same spec and ranges finds these.

    Also known as: ProxQuant, proximal quantization, regularization towards a grid.

    Args:
      strength: in units of the weights: () at least 0 for each step, or
        a schedule, such as `optax.linear_schedule(0.0, 1e-3, steps)`.
      spec: one spec, or rules over the names of the selected leaves.
      axes: what `graph.axes` gave; without it the layout default, as in `quantize`.
      select: which leaves; without it every weight that meets data.
      ranges: which range the codes of a block cover, found anew at every step.

    Returns:
      Transformation for the end of a chain, with a `ProximalState`.

    Raises:
      TypeError: as `quantize`.
      ValueError: the strength is negative or not finite; params are missing; as
        `quantize` when the params are seen.

    Example:
      >>> towards = jc.quantize.training.proximal_grid(0.2, jc.quantize.int4())
      >>> optimizer = optax.chain(optax.sgd(0.1), towards)
      >>> params = {"kernel": jnp.array([[7.0], [2.3], [0.9]])}
      >>> grads = {"kernel": jnp.zeros((3, 1))}
      >>> updates, _ = optimizer.update(grads, optimizer.init(params), params)
      >>> optax.apply_updates(params, updates)["kernel"][:, 0]
      Array([7. , 2.1, 1. ], dtype=float32)

    Source: Bai et al. 2019, arXiv:1810.00861, section 3 and algorithm 1. Differs: any
    format in place of binary and ternary weights.
    """
    check_rate("proximal_grid", "strength", strength)
    check_ranges("proximal_grid", ranges)
    choice = Choice("proximal_grid", spec, axes, select)

    def operators(params: Params) -> dict[str, Operator]:
        return {
            name: partial(_towards, choice=each, ranges=ranges)
            for name, each in choice.assigned(params).items()
        }

    return proximal("proximal_grid", strength, 1.0, operators)


def _towards(target: Array, strength: ArrayLike, *, choice: Assignment, ranges: Ranges) -> Array:
    """Moves entries of an array to their nearest levels by at most `strength`."""
    spec = choice.spec
    parts = cut(target.shape, spec.sharing, choice.axes)
    blocks = in_blocks(target.astype(jnp.float32), parts)
    on = found_grid(ranges, blocks, parts, spec)
    level = as_before(decode(encode(blocks, on, spec), on, spec), target).astype(target.dtype)
    away = target - level
    left = jnp.sign(away) * jnp.maximum(jnp.abs(away) - strength, 0)
    # Exactly the level, not nearly, where nothing is left; what is not finite stays so.
    return jnp.where(jnp.isfinite(target), level + left, target)
