"""Fine-tuning of codebooks: codes stay, the levels are trained."""

import dataclasses
from typing import Any

import jax.numpy as jnp

from jaxcompress.core.companions import Companion, Companions, Step, no_penalty, require, seen
from jaxcompress.core.names import named_leaves
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.types import Array, Params
from jaxcompress.quantize.sharing.leaves import with_zero


def centroids() -> Companion:
    """Trains the levels of codebooks and nothing else: the codes of weights stay.

    Also known as: centroid fine-tuning, trained quantization, codebook fine-tuning.

        dL/dc_k = sum of dL/dw over the weights w with code k

    which is the gradient through `materialized(fn)`, times the scale of the block where
    that is not 1. The level of code 0 is no companion, so it stays 0, and with it every
    pruned weight. Bytes stay what they are.

    Returns:
      Companion. `init` takes params with `QTensor` leaves that store levels and gives
      by leaf name the levels beside zero, float32 (blocks…, 2**bits - 1); `view` and
      `freeze` put them back. There is no penalty.

    Raises:
      ValueError: (of `init`) no leaf stores levels; (of `view` and `freeze`) companions
        are of other params.

    Example:
      >>> kernel = jnp.array([[0.0, 1.0], [1.0, -2.0]])
      >>> spec = jc.quantize.formats.codebook(2, per="tensor")
      >>> search = jc.quantize.sharing.k_means()
      >>> rounding = jc.quantize.rounding.nearest(search)
      >>> small, _ = jc.quantize.quantize({"kernel": kernel}, spec, rounding=rounding)
      >>> technique = jc.quantize.sharing.centroids()
      >>> levels = technique.init(small)
      >>> fn = jc.materialized(lambda params: (params["kernel"] ** 2).sum())
      >>> grads = jax.grad(lambda levels: fn(technique.view(small, levels)))(levels)
      >>> levels["kernel"].ravel(), grads["kernel"].ravel()
      (Array([-2., -2.,  1.], dtype=float32), Array([-4.,  0.,  4.], dtype=float32))

    Source: Han et al. 2016, arXiv:1510.00149, section 3.3.
    """
    return Companion(_levels, _view, _view, no_penalty)


def _levels(params: Params) -> Companions:
    found = {
        name: leaf.codebook[..., 1:]
        for name, leaf in named_leaves(params).items()
        if _stores_levels(leaf)
    }
    if not found:
        raise ValueError(
            "centroids().init(params): no leaf stores levels of its own. Quantize with "
            "formats.codebook(bits) first."
        )
    return found


def _view(params: Params, companions: Companions, step: Step = Step()) -> Params:
    del step
    require("centroids", params, companions, _fits)

    def with_levels(name: str, leaf: QTensor) -> QTensor:
        levels = jnp.asarray(companions[name], jnp.float32)
        return dataclasses.replace(leaf, codebook=with_zero(levels))

    return seen(params, companions, with_levels)


def _stores_levels(leaf: Any) -> bool:
    return isinstance(leaf, QTensor) and leaf.codebook is not None


def _fits(companion: Array, leaf: Any) -> bool:
    if not _stores_levels(leaf):
        return False
    *blocks, levels = leaf.codebook.shape
    return tuple(companion.shape) == (*blocks, levels - 1)
