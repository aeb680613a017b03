"""Running low-rank weights as two thin products.

`low_rank` finds the factors.
"""

import dataclasses
from typing import Any

import jax
import numpy as np

from jaxcompress.core.leaf import is_compressed, materialize
from jaxcompress.core.lowrank import LowRank
from jaxcompress.core.models import check_model
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Model, Params
from jaxcompress.graph import rewrite
from jaxcompress.graph.factored import in_two_products


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
    rewritten = rewrite(fn, in_two_products)

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

    def tree_flatten_with_keys(self) -> tuple[Any, Any]:
        children = tuple(
            (jax.tree_util.GetAttrKey(name), getattr(self, name)) for name in ("left", "right")
        )
        return children, (self.dtype, self.order, self.output_ndim)

    @classmethod
    def tree_unflatten(cls, static: Any, children: Any) -> "Factors":
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
