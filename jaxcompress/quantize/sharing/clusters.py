"""K-means of vectors: Lloyd's iteration around an entry that stays zero.

The numbers of a codebook of levels have an order, which `lloyd` goes by; vectors have
none, so distances to all entries are formed, for a block of vectors at a time.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.numerics import narrowed
from jaxcompress.core.types import Array
from jaxcompress.quantize.sharing.points import unit_of

_ROWS = 2**14
"""Vectors whose distances are in memory at once: times 256 entries, 16 MiB."""

_LEAST = 2.0**-24
"""What any weight counts beside the one that counts most: none may be far off."""


class Clustered(NamedTuple):
    """A codebook and what is nearest to each entry.

    Attributes:
      codes: (..., vectors) int32, the entry of each vector.
      codebook: (..., entries, length); entry 0 is zero, the others are in the order of
        their members, the most first, and zero where there are none.
    """

    codes: Array
    codebook: Array


class _State(NamedTuple):
    count: Array
    book: Array
    codes: Array
    moved: Array


class _Sums(NamedTuple):
    """What one pass finds of each entry's members.

    Attributes:
      columns: (entries, 2 · length + 2) sums of importance, importance · vector, error
        and one.
      error: (entries,) the largest.
      farthest: (entries, length) the member that has it.
    """

    columns: Array
    error: Array
    farthest: Array


@functools.partial(jax.jit, static_argnames=("iterations", "dtype"))
def clustered(
    vectors: Array, importance: Array, chances: Array, iterations: int, dtype
) -> Clustered:
    """The codebooks of several sets of vectors, by k-means.

        least sum over vectors v, i of importance_vi · (x_vi - codebook[code_v]_i)²

    Each set begins with entries drawn far from one another (k-means++). Entries without
    members move to the farthest vectors of the clusters that err most. The error never
    rises, but for rounding. Sums are products of matrices, so that their order is the
    same in every run.

    Args:
      vectors: (sets, vectors, length) float32.
      importance: of the same shape, finite and at least 0; what has less than 2**-24 of
        the largest of its set counts as that.
      chances: (sets, entries - 1) in [0, 1), the draws.
      iterations: at most so many.
      dtype: of the codebooks; codes are nearest to what is stored.

    Returns:
      Clustered, of all sets; its codebook is NaN where a vector is not finite.
    """
    rows = max(1, vectors.shape[1])
    solve = functools.partial(_solved, iterations=iterations, dtype=dtype)
    together = max(1, _ROWS // rows)
    return jax.lax.map(
        lambda each: solve(*each), (vectors, importance, chances), batch_size=together
    )


def _solved(
    vectors: Array, importance: Array, chances: Array, *, iterations: int, dtype
) -> Clustered:
    unit = unit_of(jnp.max(jnp.abs(vectors)))
    finite = jnp.isfinite(jnp.sum(vectors * 0.0))
    x = jnp.where(finite, vectors / unit, 0.0)
    most = jnp.max(importance)
    weights = jnp.where(most > 0, importance / jnp.where(most > 0, most, 1.0), 1.0)
    weights = jnp.maximum(weights, _LEAST)
    book = _lloyd(_blocks(x), _blocks(weights), _start(x, weights, chances), iterations)
    book = narrowed(book * unit, dtype)
    stored = book.astype(jnp.float32) / unit
    near = functools.partial(_nearest, book=stored)
    codes = jax.lax.map(lambda block: near(*block), (_blocks(x), _blocks(weights)))
    codes = codes.reshape(-1)[: len(x)]
    codes, book = _by_members(codes, book)
    return Clustered(codes, jnp.where(finite, book, jnp.full_like(book, jnp.nan)))


def _blocks(x: Array) -> Array:
    """(blocks, rows, length); what fills the last block is zero."""
    rows = min(_ROWS, max(1, len(x)))
    padded = jnp.pad(x, ((0, -len(x) % rows), (0, 0)))
    return padded.reshape(-1, rows, x.shape[1])


def _start(x: Array, weights: Array, chances: Array) -> Array:
    """Zero and vectors drawn in proportion to their distance, (entries, length)."""

    def draw(distance: Array, chance: Array) -> tuple[Array, Array]:
        sums = jnp.cumsum(distance)
        at = jnp.searchsorted(sums, chance * sums[-1], side="right")
        found = x[jnp.minimum(at, len(x) - 1)]
        return jnp.minimum(distance, _errors(x, weights, found[None])), found

    _, drawn = jax.lax.scan(draw, _errors(x, weights, jnp.zeros_like(x[:1])), chances)
    return jnp.pad(drawn, ((1, 0), (0, 0)))


def _lloyd(x: Array, weights: Array, book: Array, iterations: int) -> Array:
    """The codebook (entries, length) when nothing changes any more, of blocks."""
    entries, length = book.shape

    def step(state: _State) -> _State:
        def block(sums: _Sums, each: tuple[Array, Array, Array]) -> tuple[_Sums, Array]:
            codes = _nearest(each[0], each[1], state.book)
            return _added(sums, each, codes, state.book), codes

        begun = _Sums(
            jnp.zeros((entries, 2 * length + 2), jnp.float32),
            jnp.zeros(entries, jnp.float32),
            jnp.zeros((entries, length), jnp.float32),
        )
        index = jnp.arange(len(x), dtype=jnp.int32)
        sums, codes = jax.lax.scan(block, begun, (x, weights, index))
        moved = jnp.any(codes != state.codes)
        return _State(state.count + 1, _moved(sums, state.book), codes, moved)

    def goes_on(state: _State) -> Array:
        return state.moved & (state.count < iterations)

    nowhere = jnp.full(x.shape[:2], -1, jnp.int32)
    return jax.lax.while_loop(
        goes_on, step, _State(jnp.int32(0), book, nowhere, jnp.bool_(True))
    ).book


def _nearest(x: Array, weights: Array, book: Array) -> Array:
    """The entry nearest to each vector, the first of several, (rows,) int32.

    By products of matrices: sum w (x - c)² less sum w x², which is no entry's matter.
    """
    costs = _product(weights, jnp.square(book).T) - 2 * _product(weights * x, book.T)
    return jnp.argmin(costs, axis=1).astype(jnp.int32)


def _added(sums: _Sums, each: tuple[Array, Array, Array], codes: Array, book: Array) -> _Sums:
    x, weights, _ = each
    entries = len(book)
    errors = _errors(x, weights, book[codes])
    columns = [weights, weights * x, errors[:, None], jnp.ones_like(errors)[:, None]]
    members = (codes[:, None] == jnp.arange(entries, dtype=jnp.int32)[None]).astype(jnp.float32)
    columns = sums.columns + _product(members.T, jnp.concatenate(columns, axis=1))
    most = jnp.maximum(jax.ops.segment_max(errors, codes, entries), 0.0)
    # The first of those that err most; of entries without members any row.
    rows = jnp.arange(len(x), dtype=jnp.int32)
    at = jnp.where(errors >= most[codes], rows, len(x))
    first = jnp.minimum(jax.ops.segment_min(at, codes, entries), len(x) - 1)
    farther = most > sums.error
    farthest = jnp.where(farther[:, None], x[first], sums.farthest)
    return _Sums(columns, jnp.maximum(most, sums.error), farthest)


def _moved(sums: _Sums, book: Array) -> Array:
    """The means, with entries without members moved to where errors are largest."""
    length = book.shape[1]
    mass, moment, error, members = jnp.split(
        sums.columns, (length, 2 * length, 2 * length + 1), axis=1
    )
    mean = jnp.where(mass > 0, moment / jnp.where(mass > 0, mass, 1.0), book)
    free = jnp.arange(len(book))[:, None] > 0
    empty = (members == 0) & free
    order = jnp.argsort(-error[:, 0])
    worst = order[jnp.maximum(jnp.cumsum(empty[:, 0]) - 1, 0)]
    can = empty & (sums.error[worst] > 0)[:, None]
    return jnp.where(free, jnp.where(can, sums.farthest[worst], mean), 0.0)


def _by_members(codes: Array, book: Array) -> tuple[Array, Array]:
    """Codes and codebook with the entries of the most members first, behind zero."""
    members = jnp.bincount(codes, length=len(book)).at[0].set(len(codes) + 1)
    order = jnp.argsort(-members)
    place = jnp.argsort(order).astype(jnp.int32)
    book = jnp.where(members[:, None] > 0, book, jnp.zeros_like(book))
    return place[codes], book[order]


def _errors(x: Array, weights: Array, entry: Array) -> Array:
    return jnp.sum(weights * jnp.square(x - entry), axis=1)


def _product(left: Array, right: Array) -> Array:
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)
