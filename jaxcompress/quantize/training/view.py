"""Quantization-aware training of weights: the view that rounds as `quantize` does."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import Axes
from jaxcompress.core.formats.coding import decode, encode
from jaxcompress.core.formats.cuts import as_before, cut, in_blocks
from jaxcompress.core.formats.grids import within
from jaxcompress.core.names import map_named
from jaxcompress.core.numerics import narrowed, straight_through
from jaxcompress.core.rules import Rules
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array, Params, Selector, View
from jaxcompress.quantize.assignment import Assignment, assign, check_choice
from jaxcompress.quantize.ranges.extremes import min_max
from jaxcompress.quantize.ranges.grids import Ranges, check_ranges, found_cover


def fake_quantize(
    spec: QuantSpec | Rules[Any],
    *,
    axes: Axes | None = None,
    select: Selector | None = None,
    ranges: Ranges = min_max,
) -> View:
    """The view that rounds weights in the forward pass, as `quantize` would.

    Not for: models without a training loop; `quantize` and `reconstruct` take none.

    Also known as: fake quantization, QAT, straight-through estimator (STE).

        value = (clip(round(w / scale) + zero_point) - zero_point) · scale
        d value / d w = 1 inside the range of the block, 0 outside

    A block with an entry that is not finite shows NaN, as its codes would.

    Use it on the full params inside the loss: `fn(view(params), x)`. The forward pass
    is bit for bit `materialize(quantize(params)[0])` under the same jit.

    Args:
      spec: one spec, or rules over the names of the selected leaves; a leaf without a
        rule stays.
      axes: what `graph.axes` gave; without it the layout default, as in `quantize`.
      select: which leaves; without it every weight that meets data.
      ranges: which range the codes of a block cover.

    Returns:
      View: params to params of the same structure, shapes and dtypes. What the view
      does to each leaf is the report of `quantize` with the same arguments on the
      params' shapes.

    Raises:
      TypeError: (when applied) as `quantize`.
      ValueError: (when applied) as `quantize`, save for what only values show.

    Example:
      >>> view = jc.quantize.fake_quantize(jc.quantize.int4())
      >>> params = {"kernel": jnp.array([[7.0], [2.2]])}
      >>> view(params)["kernel"][:, 0]
      Array([7., 2.], dtype=float32)
      >>> jax.grad(lambda params: view(params)["kernel"].sum())(params)["kernel"][:, 0]
      Array([1., 1.], dtype=float32)

    Source: Jacob et al. 2018, arXiv:1712.05877, section 3. Differs: scales follow the
    weights at every step instead of a moving average, and nothing is folded.
    """
    check_choice("fake_quantize", spec, axes, select)
    check_ranges("fake_quantize", ranges)

    def view(params: Params) -> Params:
        assigned = assign("fake_quantize", params, spec, axes, select)

        def seen(name: str, leaf):
            choice = assigned[name]
            return fake_leaf(leaf, choice, ranges) if isinstance(choice, Assignment) else leaf

        return map_named(seen, params)

    return view


def fake_leaf(x: Array, choice: Assignment, ranges: Ranges) -> Array:
    """Rounds one array as its `QTensor` would, with a straight-through gradient."""
    spec, axes = choice
    x = jnp.asarray(x)  # Those of NumPy in double precision get the dtype of programs.
    parts = cut(x.shape, spec.sharing, axes)
    blocks = in_blocks(jax.lax.stop_gradient(x).astype(jnp.float32), parts)
    cover, on = found_cover(ranges, blocks, parts, spec)
    value = as_before(decode(encode(blocks, on, spec), on, spec), x)
    return straight_through(narrowed(value, x.dtype), x, as_before(within(blocks, cover), x))
