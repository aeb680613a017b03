"""Running low-rank weights as two thin products.

`low_rank` finds the factors.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.kinds import check_model
from jaxcompress.core.leaf import is_compressed, materialize
from jaxcompress.core.lowrank import LowRank
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.order import inverse
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Model, Params
from jaxcompress.graph import Site, rewrite


def run_low_rank(fn: Model) -> Model:
    """Runs each low-rank weight as two thin products instead of forming the weight.

        dot           to the rank, then to the outputs
        convolution   the same window to `rank` channels, then 1×1; not with feature
                      groups
        gather        rows of the left factor, then the right one; along one axis

    Elsewhere, and where a weight is factored along other axes than it meets data with,
    the array that the factors stand for is formed. Jit the result.

    Args:
      fn: fn(params, *inputs) -> outputs.

    Returns:
      Model of the same signature, for params with `LowRank` leaves, or with the
      `Factors` that `open_factors` gives. Outputs differ by rounding.

    Example:
      >>> params, _ = jc.structure.factorize({"kernel": jnp.ones((8, 6))}, rank=1)
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> fast = jax.jit(jc.structure.run_low_rank(fn))
      >>> bool(jnp.allclose(fast(params, jnp.ones((2, 8))), 8.0))
      True
    """
    check_model("run_low_rank", fn)
    rewritten = rewrite(fn, _in_two_products)

    def running(params: Params, *inputs):
        return rewritten(close_factors(params), *inputs)

    return running


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True, eq=False)
class Factors:
    """A low-rank weight whose factors are leaves of their own, "…/left" and "…/right".

    Invariants:
      - The fields are those of `LowRank`; the factors are any leaves.
    """

    left: Any
    right: Any
    dtype: np.dtype
    order: tuple[int, ...]
    output_ndim: int

    def tree_flatten_with_keys(self):
        children = tuple(
            (jax.tree_util.GetAttrKey(name), getattr(self, name)) for name in ("left", "right")
        )
        return children, (self.dtype, self.order, self.output_ndim)

    @classmethod
    def tree_unflatten(cls, static, children) -> "Factors":
        return cls(*children, *static)


def open_factors(params: Params) -> Params:
    """The params whose low-rank weights are two leaves each, for all other methods.

    Then factors are traced, calibrated, pruned, quantized and run like any weight, with
    `run_low_rank(fn)` as the model:

        model, params = run_low_rank(fn), open_factors(params)
        quantized, _ = quantize(params, int8(), axes=graph.axes(model, params, x))

    Args:
      params: tree with `LowRank` leaves.

    Returns:
      The tree with a `Factors` node in place of each.

    Example:
      >>> params, _ = jc.structure.factorize({"kernel": jnp.ones((8, 6))}, rank=1)
      >>> list(jc.named_leaves(jc.structure.open_factors(params)))
      ['kernel/left', 'kernel/right']
    """
    check_arrays("open_factors", "params", params)

    def opened(leaf):
        if not isinstance(leaf, LowRank):
            return leaf
        return Factors(leaf.left, leaf.right, leaf.dtype, leaf.order, leaf.output_ndim)

    return jax.tree.map(opened, params, is_leaf=is_compressed)


def close_factors(params: Params) -> Params:
    """The params with a `LowRank` leaf for each `Factors` node again."""
    check_arrays("close_factors", "params", params)

    def closed(node):
        if not isinstance(node, Factors):
            return node
        left, right = (
            part if isinstance(part, QTensor) else materialize(part)
            for part in (node.left, node.right)
        )
        return LowRank(left, right, node.dtype, node.order, node.output_ndim)

    return jax.tree.map(
        closed, params, is_leaf=lambda node: is_compressed(node) or isinstance(node, Factors)
    )


def _in_two_products(site: Site, apply: Callable, data: Array, weight) -> Array:
    if not isinstance(weight, LowRank) or not _meets_as_factored(site, weight):
        return apply(data, weight)
    left, right = (
        narrowed(factor, weight.dtype) for factor in materialize((weight.left, weight.right))
    )
    array = jax.ShapeDtypeStruct(weight.shape, weight.dtype)
    equation = jax.make_jaxpr(apply)(data, array).eqns[-1].params
    match site.primitive:
        case "dot_general":
            return _dot(site, equation, data, left, right)
        case "conv_general_dilated" if _one_group(equation):
            kernel = jnp.transpose(right, inverse(weight.permutation))
            features = equation["dimension_numbers"].out_spec[1]
            return _along(features, apply(data, kernel), left.T, site, equation)
        case "gather" if (axis := _copied_axis(equation, weight)) is not None:
            table = jnp.transpose(left, inverse(weight.permutation))
            sizes = list(equation["slice_sizes"])
            sizes[weight.permutation[-1]] = weight.rank
            rows = apply(data, table, slice_sizes=tuple(sizes))
            return _along(axis, rows, right, site, {})
    return apply(data, weight)


def _meets_as_factored(site: Site, weight: LowRank) -> bool:
    axes = site.operand_axes
    same = weight.permutation == axes.order and weight.output_ndim == len(axes.output)
    return same and weight.batch_ndim == len(axes.batch)


def _dot(site: Site, equation: dict, data: Array, left: Array, right: Array) -> Array:
    """The product with the right factor, then the left one; neither is reshaped."""
    batch = tuple(range(len(site.operand_axes.batch)))
    rows = site.rows(data)  # (batch…, M, K)
    rows = rows.reshape(
        *rows.shape[:-1], *right.shape[len(batch) + 1 :]
    )  # (batch…, M, contracting…)
    first = len(batch) + 1
    window = tuple(range(first, rows.ndim))
    thin = _product(rows, right, (window, window), batch, equation).astype(data.dtype)
    wide = _product(thin, left, ((first,), (left.ndim - 1,)), batch, equation)
    return site.output(wide.reshape(*thin.shape[:-1], -1)).astype(site.dtype)


def _along(axis: int, thin: Array, factor: Array, site: Site, equation: dict) -> Array:
    """The product with a (rank, size) factor along one axis."""
    wide = _product(thin, factor, ((axis,), (0,)), (), equation)
    return jnp.moveaxis(wide, -1, axis).astype(site.dtype)


def _product(x: Array, factor: Array, contracting, batch: tuple[int, ...], equation: dict) -> Array:
    return jax.lax.dot_general(
        x,
        factor,
        (contracting, (batch, batch)),
        precision=equation.get("precision"),
        preferred_element_type=jnp.float32,
    )


def _one_group(equation: dict) -> bool:
    return equation["feature_group_count"] == equation["batch_group_count"] == 1


def _copied_axis(equation: dict, weight: LowRank) -> int | None:
    """Where the one copied axis is in the output; None unless all of it is copied."""
    numbers, sizes = equation["dimension_numbers"], equation["slice_sizes"]
    *_, copied = weight.permutation
    removed = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    whole = weight.ndim - weight.batch_ndim - weight.output_ndim == 1
    if not whole or sizes[copied] != weight.shape[copied] or copied in removed:
        return None
    # What fills rows outside of the table must survive the second product.
    fill = equation["fill_value"]
    if not (fill is None or fill == 0 or np.isnan(fill)):
        return None
    return numbers.offset_dims[sum(axis not in removed for axis in range(copied))]
