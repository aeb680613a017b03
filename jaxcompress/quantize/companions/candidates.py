"""Which of the candidates that a generator draws stands for a block of weights.

Importance sampling of one layer: a candidate is chosen with a probability that is
proportional to q / p, so that with enough of them it is nearly a draw from q.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.draws import DEVIATION, draws, streams
from jaxcompress.core.hashed import places
from jaxcompress.core.types import Array, Key

AT_ONCE = 2**17
"""Scores held at a time: one for each block and for the candidates of a chunk."""


def members(entries: int, blocks: int, seed: int) -> np.ndarray:
    """The entries of each block of a layer, by the hash of `RandomCode`.

    Returns:
      (most in a block, blocks) int32; -1 where a block has fewer entries.

    Example:
      >>> members(5, 2, seed=1)
      array([[ 0,  1],
             [ 4,  2],
             [-1,  3]], dtype=int32)
    """
    # The sizes decide a shape, so this is computed even where a program is traced.
    with jax.ensure_compile_time_eval():
        block = np.asarray(places(entries, blocks, seed)[0])
    order = np.argsort(block, kind="stable")
    counts = np.bincount(block, minlength=blocks)
    rows = np.arange(entries) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.full((counts.max(), blocks), -1, np.int32)
    table[rows, block[order]] = order
    return table


def chosen(
    mean: Array, log_variance: Array, table: np.ndarray, key: Key, form: tuple[Any, ...]
) -> Array:
    """The index of a candidate for each block of a layer, by importance sampling.

    Args:
      mean: (entries,) float32 of q, in deviations of the prior p.
      log_variance: (entries,) float32 of q, the same.
      table: what `members` gives, or some of its columns.
      key: random key.
      form: bits of an index, and the seed of the hashes.

    Returns:
      (columns of the table,) uint32, below 2**bits.

    Example:
      >>> table = members(3, 1, seed=0)
      >>> mean, log_variance = jnp.array([1.0, 0.0, -0.5]), jnp.full(3, -6.0)
      >>> index = chosen(mean, log_variance, table, jax.random.key(0), (16, 0))
      >>> (draws(streams(3, 0), index) / DEVIATION).tolist()
      [1.0, 0.0, -0.5]
    """
    bits, seed = form
    missing, at = jnp.asarray(table < 0), jnp.asarray(np.maximum(table, 0))
    # A missing entry has the prior for its q: its candidates differ in nothing.
    means = jnp.where(missing, 0.0, mean[at])
    inverse = jnp.where(missing, 1.0, jnp.exp(-log_variance / 2)[at])
    return _sampled(means, inverse, streams(mean.shape[0], seed)[at], key, bits)


@functools.partial(jax.jit, static_argnums=4, inline=True)
def _sampled(means: Array, inverse: Array, stream: Array, key: Key, bits: int) -> Array:
    """The largest of log(q / p) and Gumbel noise over all candidates, in chunks."""
    blocks = means.shape[1]
    size = min(2**bits, 2 ** max(0, math.floor(math.log2(AT_ONCE / blocks))))

    def chunk(number: Array, best: tuple[Array, Array]) -> tuple[Array, Array]:
        first = number.astype(jnp.uint32) * np.uint32(size)
        candidates = first + jax.lax.iota(jnp.uint32, size)

        def added(row: Array, scores: Array) -> Array:
            z = draws(stream[row][:, None], candidates[None]).astype(jnp.float32)
            z = z * np.float32(1 / DEVIATION)
            # As a difference of squares of what is small where q is narrow.
            off = (z - means[row][:, None]) * inverse[row][:, None]
            return scores + 0.5 * (z * z - off * off)

        scores = jax.random.gumbel(
            jax.random.fold_in(key, number), (blocks, size), jnp.float32
        )  # (blocks, candidates)
        scores = jax.lax.fori_loop(0, means.shape[0], added, scores)
        top, index = jnp.max(scores, axis=1), candidates[jnp.argmax(scores, axis=1)]
        better = top > best[0]
        return jnp.where(better, top, best[0]), jnp.where(better, index, best[1])

    start = jnp.full(blocks, -jnp.inf, jnp.float32), jnp.zeros(blocks, jnp.uint32)
    return jax.lax.fori_loop(0, 2**bits // size, chunk, start)[1]
