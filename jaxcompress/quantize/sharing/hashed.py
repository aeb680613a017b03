"""Hashed weight sharing: the values that stand best for weights under a fixed hash."""

import math

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import Axes, to_canonical
from jaxcompress.core.checks import check_count, check_positive, check_share
from jaxcompress.core.formats.codebooks import Codebook
from jaxcompress.core.formats.sharing import Tensor
from jaxcompress.core.hashed import Hashed, places
from jaxcompress.core.kinds import check_select
from jaxcompress.core.leaf import CompressedLeaf, is_compressed
from jaxcompress.core.names import named_leaves
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.report import Report
from jaxcompress.core.sharding import gathered
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array, Params, Selector
from jaxcompress.quantize.assignment import Assignment, assign
from jaxcompress.quantize.weights import check_values, row


def hash_weights(
    params: Params,
    share: float,
    *,
    seed: int = 0,
    axes: Axes | None = None,
    select: Selector | None = None,
) -> tuple[Params, Report]:
    """Makes weights share a few values that a hash of their place chooses.

    Not for: trained models that are not trained on, which lose much by chance;
    `k_means` shares what is alike.

    Also known as: HashedNets, hashed weight sharing, the hashing trick.

        value_k = mean of sign(i) · w_i over the places i of bucket k

    which is nearest in the least squares. No code is stored: bytes are those of the
    values. Which weights share is chance, so a trained model loses much: train it on.
    Gradients of a leaf's values are the sums of sign · dL/dw over their members. What
    is trained from random weights should have them sqrt(1 / share) times as large,
    since means of independent weights are smaller than these.

    Args:
      params: arrays, or shapes for the report alone.
      share: how many values there are for each weight, in (0, 1]; at least one a layer.
      seed: of the hash, in [0, 2**32). Leaves of one shape share alike.
      axes: what `graph.axes` gave; without it the layout default. Layers of a stack
        have values of their own.
      select: which leaves; without it every weight that meets data.

    Returns:
      (params, report); the chosen leaves are `Hashed`.

    Raises:
      TypeError: as `quantize`.
      ValueError: `share` or `seed` is out of range; or as `quantize` of what is
        selected.

    Example:
      >>> params = {"kernel": jnp.arange(32.0).reshape(8, 4)}
      >>> hashed, report = jc.quantize.sharing.hash_weights(params, 1 / 8)
      >>> hashed["kernel"]
      Hashed(buckets=4, shape=(8, 4), dtype=float32)
      >>> grads = jax.grad(lambda params: (params["kernel"] * 1.0).sum())(hashed)
      >>> grads["kernel"].values.shape
      (4,)

    Source: Chen et al. 2015, arXiv:1504.04788, section 4. Differs: the hash is
    MurmurHash3's finalizer; given weights are projected.
    """
    check_positive("hash_weights", "share", share)
    check_share("hash_weights", "share", share)
    if check_count("hash_weights", "seed", seed, least=0) >= 2**32:
        raise ValueError(f"hash_weights(seed={seed}) must be below 2**32.")
    check_select("hash_weights", select)
    assigned = assign("hash_weights", params, QuantSpec(Codebook(8), Tensor()), axes, select)
    leaves = {}
    for name, leaf in named_leaves(params).items():
        choice = assigned[name]
        if isinstance(choice, Assignment):
            check_values("hash_weights", name, leaf)
            leaf = _hashed(leaf, choice, float(share), int(seed))
        leaves[name] = leaf
    rows = (
        row(name, each, leaves[name], assigned[name]) for name, each in named_leaves(params).items()
    )
    treedef = jax.tree.structure(params, is_leaf=is_compressed)
    return jax.tree.unflatten(treedef, leaves.values()), Report("hash_weights", tuple(rows))


def _hashed(leaf, choice: Assignment, share: float, seed: int) -> CompressedLeaf:
    def array(x: Array) -> Hashed:
        stored = to_canonical(gathered(x), choice.axes).astype(jnp.float32)
        batch = len(choice.axes.batch)
        sizes = stored.shape[batch:]
        entries = math.prod(sizes)
        buckets = max(1, round(share * entries))
        bucket, negative = places(entries, buckets, seed)
        layers = stored.reshape(-1, entries)
        signed = jnp.where(jnp.broadcast_to(negative, layers.shape), -layers, layers)
        sums = jax.vmap(lambda layer: jax.ops.segment_sum(layer, bucket, buckets))(signed)
        members = jnp.maximum(jnp.bincount(bucket, length=buckets), 1)[None]
        values = narrowed(sums / members, x.dtype).reshape(*stored.shape[:batch], buckets)
        return Hashed.from_values(values, sizes, seed=seed, dtype=x.dtype, axes=choice.axes)

    if isinstance(leaf, jax.ShapeDtypeStruct):
        return jax.eval_shape(array, leaf)
    return jax.jit(array)(jnp.asarray(leaf))
