"""Fine-tuning of codebooks: codes stay, the levels are trained."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.companions import Companion, Companions, Step, no_penalty, require, seen
from jaxcompress.core.leaf import CompressedLeaf
from jaxcompress.core.names import named_leaves
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.product import ProductQuantized
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.types import Array, Params
from jaxcompress.quantize.sharing.leaves import with_zero


def centroids() -> Companion:
    """Trains the levels of codebooks and nothing else: the codes of weights stay.

    Not for: codes that are to change in training: `learned_codebooks` lets weights move
    from level to level.

    Also known as: centroid fine-tuning, trained quantization, codebook fine-tuning.

        dL/dc_k = sum of dL/dw over the weights w with code k

    which is the gradient through `materialized(fn)`, times the scale of the block where
    that is not 1. The level of code 0 is no companion, so it stays 0, and with it every
    pruned weight. Bytes stay what they are. Codebooks of vectors, of `product`, are
    trained alike: dL/dc_k is then a vector.

    Returns:
      Companion. `init` takes params with `QTensor` leaves that store levels and gives
      by leaf name the levels beside zero, float32 (blocks…, 2**bits - 1); of a
      `ProductQuantized` the entries beside the first, float32 (batch…, books,
      entries - 1, length). `view` and `freeze` put them back. There is no penalty.

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

    Source: Han et al. 2016, arXiv:1510.00149, section 3.3; Stock et al. 2019,
    arXiv:1907.05686, section 3.3, for vectors.
    """
    return Companion(_levels, _view, _view, no_penalty)


def _levels(params: Params) -> Companions:
    found = {
        name: _trained(leaf) for name, leaf in named_leaves(params).items() if _stores_levels(leaf)
    }
    if not found:
        raise ValueError(
            "centroids().init(params): no leaf stores levels of its own. Quantize with "
            "formats.codebook(bits) or sharing.product first."
        )
    return found


def _view(params: Params, companions: Companions, step: Step = Step()) -> Params:
    del step
    require("centroids", params, companions, _fits)

    def with_levels(name: str, leaf: QTensor | ProductQuantized) -> CompressedLeaf:
        levels = jnp.asarray(companions[name], jnp.float32)
        if isinstance(leaf, ProductQuantized):
            entries = narrowed(levels, leaf.codebooks.dtype)
            fixed = leaf.codebooks[..., :1, :]
            codebooks = jnp.concatenate([fixed, entries], axis=-2)
            return dataclasses.replace(leaf, codebooks=codebooks)
        return dataclasses.replace(leaf, codebook=with_zero(levels))

    return seen(params, companions, with_levels)


def _stores_levels(leaf: Any) -> bool:
    if isinstance(leaf, QTensor):
        return leaf.codebook is not None
    return isinstance(leaf, ProductQuantized)


def _trained(leaf: Any) -> Array:
    """All levels or vectors but those of code 0, float32."""
    if isinstance(leaf, ProductQuantized):
        return leaf.codebooks[..., 1:, :].astype(jnp.float32)
    return leaf.codebook[..., 1:]


def _fits(companion: Array, leaf: Any) -> bool:
    return _stores_levels(leaf) and jnp.shape(companion) == jax.eval_shape(_trained, leaf).shape
