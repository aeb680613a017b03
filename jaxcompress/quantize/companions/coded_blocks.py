"""One leaf of noisy weights, some of whose blocks may be encoded by now."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.axes import LeafAxes, from_canonical, to_canonical
from jaxcompress.core.draws import DEVIATION
from jaxcompress.core.hashed import places
from jaxcompress.core.numerics import narrowed, round_to_count
from jaxcompress.core.random_code import RandomCode, numbers
from jaxcompress.core.sharding import explicit_sharding, gathered, placed
from jaxcompress.core.types import Array, Key
from jaxcompress.quantize.companions.candidates import chosen, members
from jaxcompress.quantize.companions.mean_kl import Posterior, posterior

START = 0.5
"""Deviations of priors at first, as a share of the root mean square of the weights."""

WITHOUT = 0.01
"""The deviation at first where all weights are 0."""

CELL = np.float32(1 / DEVIATION)


class Coded(NamedTuple):
    """What of a leaf is encoded: its first blocks.

    Attributes:
      indices: (batch…, blocks) uint32; from `count` on they mean nothing.
      count: () int32 blocks.
    """

    indices: Array
    count: Array


class Layout(NamedTuple):
    """How one leaf is encoded.

    Attributes:
      axes: of the leaf.
      blocks: of a layer.
      bits: of an index.
      nats: divergence of the weights of a block from their prior, together.
      seed: of the hashes.
    """

    axes: LeafAxes
    blocks: int
    bits: int
    nats: float
    seed: int


Beside = dict[str, Array]
"""What is trained beside a leaf: `logits` of its shape, `log_deviation` (batch…)."""


def begun(x: Array, layout: Layout) -> Beside:
    """Equal budgets, and deviations by the sizes of the weights."""
    stored = to_canonical(gathered(x), layout.axes).astype(jnp.float32)
    layer = tuple(range(len(layout.axes.batch), stored.ndim))
    size = jnp.sqrt(jnp.mean(jnp.square(stored), axis=layer))
    deviation = jnp.where(size > 0, START * size, WITHOUT)
    return {"logits": jnp.zeros(x.shape, jnp.float32), "log_deviation": jnp.log(deviation)}


def distribution(x: Array, beside: Beside, layout: Layout) -> tuple[Posterior, Array]:
    """Of every weight in deviations of the prior, (layers, entries), and these.

    Args:
      x: the leaf, any axes; its numbers over the deviation say where means are.
      beside: as `begun` gives it.
      layout: of the leaf.

    Returns:
      (q, deviation): the posterior, and (layers,) float32.
    """
    deviation = jnp.exp(gathered(beside["log_deviation"]).astype(jnp.float32)).reshape(-1)
    free = _layers(x, layout) / deviation[:, None]
    logits = _layers(beside["logits"], layout)
    block, _ = places(free.shape[1], layout.blocks, layout.seed)

    def layer(free: Array, logits: Array) -> Posterior:
        return posterior(free, logits, block, layout.blocks, layout.nats)

    return jax.vmap(layer)(free, logits), deviation


def drawn(x: Array, beside: Beside, layout: Layout, key: Key, known: Coded | None) -> Array:
    """Weights as a model sees them in training: a draw, and what is encoded.

    Returns:
      (...) of the shape and dtype of `x`; encoded blocks bit for bit as `leaf_of` has
      them, under the same jit. They have gradients to the deviation alone.
    """
    q, deviation = distribution(x, beside, layout)
    noise = jax.random.normal(key, q.mean.shape, jnp.float32)
    weights = deviation[:, None] * (q.mean + jnp.exp(q.log_variance / 2) * noise)
    if known is not None:
        entries = q.mean.shape[1]
        block, _ = places(entries, layout.blocks, layout.seed)
        indices = known.indices.reshape(-1, layout.blocks)
        held = numbers(indices, entries, layout.seed).astype(jnp.float32)
        fixed = jnp.broadcast_to(block < known.count, weights.shape)
        weights = jnp.where(fixed, (deviation * CELL)[:, None] * held, weights)
    sizes = tuple(x.shape[axis] for axis in layout.axes.order)
    found = narrowed(from_canonical(weights.reshape(sizes), layout.axes), x.dtype)
    return placed(found, explicit_sharding(x))


def span(known: Coded | None, layout: Layout, share: float) -> tuple[int, int]:
    """The first block that is not encoded, and the first that will not be."""
    first = int(known.count) if known is not None else 0
    return first, max(first, int(round_to_count(share, layout.blocks)))


def extended(
    known: Coded | None, blocks: tuple[int, int], x: Array, beside: Beside, layout: Layout, key: Key
) -> Coded:
    """What is encoded after some more blocks, from the first to before the last."""
    first, last = blocks
    q, _ = distribution(x, beside, layout)
    layers, entries = q.mean.shape
    held = jnp.zeros((layers, layout.blocks), jnp.uint32)
    if known is not None:
        held = known.indices.reshape(held.shape)
    table = members(entries, layout.blocks, layout.seed)[:, first:last]
    if last > first:

        def layer(given: tuple[Array, Array, Key]) -> Array:
            return chosen(*given[:2], table, given[2], (layout.bits, layout.seed))

        new = jax.lax.map(layer, (q.mean, q.log_variance, jax.random.split(key, layers)))
        held = held.at[:, first:last].set(new)
    return Coded(held.reshape(*beside["log_deviation"].shape, -1), jnp.int32(last))


def leaf_of(coded: Coded, beside: Beside, like: Any, layout: Layout) -> RandomCode:
    """The leaf that is shipped, all of whose blocks are encoded."""
    scale = jnp.exp(beside["log_deviation"].astype(jnp.float32)) * CELL
    return RandomCode.from_indices(
        coded.indices, scale, like, bits=layout.bits, seed=layout.seed, axes=layout.axes
    )


def _layers(x: Array, layout: Layout) -> Array:
    """(layers, entries) float32, entries in the order of `RandomCode`."""
    stored = to_canonical(gathered(x), layout.axes).astype(jnp.float32)
    layers = math.prod(stored.shape[: len(layout.axes.batch)])
    return stored.reshape(layers, -1)
