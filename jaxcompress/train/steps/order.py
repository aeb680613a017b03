"""In which order examples are met: a random order that is evaluated place by place.

Nothing is sorted and no order is kept, so that a step needs its own number alone: a
run resumes anywhere, and the number of examples may be traced.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_count
from jaxcompress.core.kinds import check_key, check_shape
from jaxcompress.core.messages import shown
from jaxcompress.core.types import Array, Key

ROUNDS = 8
"""Times that both halves of a place are moved."""


def order(key: Key, steps: ArrayLike, *, n: ArrayLike, batch_size: int) -> Array:
    """The examples of the minibatches of given steps, in freshly shuffled epochs.

    Not for: private training, whose account wants examples drawn by coins; take
    `private_fit`.

        epoch, turn = divmod(step, n // batch_size)
        index_j = shuffled(fold_in(half of key, epoch), turn · batch_size + j, n)

    An epoch meets each example at most once; the n mod batch_size that are left over
    differ from epoch to epoch. The order depends on the key and on n alone; a step's
    other random numbers come from the other half of the key.

    Args:
      key: of the whole run.
      steps: (k,) integer, at least 0.
      n: number of examples, at least 1; traced or not.
      batch_size: examples per step, at least 1. Where a traced n is smaller, examples
        come twice from entry n of a batch on.

    Returns:
      (k, batch_size) int32 in [0, n).

    Raises:
      TypeError: `key` is no key, or `steps` no (k,) integers.
      ValueError: `n` or `batch_size` is no count, or n < batch_size.

    Example:
      >>> key, steps = jax.random.key(0), jnp.arange(2)
      >>> epoch = jc.train.steps.order(key, steps, n=4, batch_size=2)
      >>> epoch.shape, sorted(epoch.ravel().tolist())
      ((2, 2), [0, 1, 2, 3])

    Also known as: data order, index sampler, epoch shuffling.
    """
    check_key("order", "key", key)
    _check_integers("order", "steps", steps, "(k,)")
    batch_size = check_count("order", "batch_size", batch_size)
    if not isinstance(n, Tracer):
        n = check_count("order", "n", n.item() if isinstance(n, jax.Array) else n)
        if n < batch_size:
            raise ValueError(f"order(n={n}, batch_size={batch_size}) needs n >= batch_size.")
    n = jnp.maximum(jnp.asarray(n, jnp.int32), 1)
    epochs, turns = jnp.divmod(jnp.asarray(steps, jnp.int32), jnp.maximum(n // batch_size, 1))
    places = turns[:, None] * batch_size + jnp.arange(batch_size, dtype=jnp.int32)[None]
    half = jax.random.split(key)[0]
    keys = jax.vmap(functools.partial(jax.random.fold_in, half))(epochs)
    return jax.vmap(functools.partial(_shuffled, n=n))(keys, places % n)  # (k, batch_size)


def shuffled(key: Key, places: ArrayLike, *, n: int) -> Array:
    """The entries at some places of a random order of n things.

    Not for: orders that nobody may guess: its hashes are no cipher.

    A bijection of a table of rows · columns >= n cells, both about √n: in turn the row
    of a cell moves by a hash of its column, and the column by a hash of the row. A
    place that leaves [0, n) is moved again until it is back.

    Args:
      key: of the order.
      places: (…) integer in [0, n).
      n: how many things, at least 1.

    Returns:
      int32 of the shape of `places`: over all places, each of 0 to n - 1 once. Over
      keys, orders of few things are equally likely; it is no cipher.

    Raises:
      TypeError: `key` is no key, or `places` holds no integers.
      ValueError: `n` is no count.

    Example:
      >>> found = jc.train.steps.shuffled(jax.random.key(0), jnp.arange(5), n=5)
      >>> sorted(found.tolist())
      [0, 1, 2, 3, 4]

    Also known as: index shuffle, pseudo-random permutation, format-preserving
    permutation.

    Source: Black and Rogaway 2002, "Ciphers with arbitrary finite domains", sections 4
    and 5 (cycle walking, generalized Feistel). Differs: the round function is the
    finalizer of MurmurHash3, fast and not secret.
    """
    check_key("shuffled", "key", key)
    _check_integers("shuffled", "places", places, "(…)")
    n = check_count("shuffled", "n", n)
    return _shuffled(key, jnp.asarray(places, jnp.int32) % n, jnp.int32(n))


def _check_integers(caller: str, argument: str, value: Any, shape: str) -> None:
    check_shape(caller, argument, value, shape)
    if not jnp.issubdtype(jnp.result_type(value), jnp.integer):
        raise TypeError(f"{caller}({argument}={shown(value)}) must hold integers.")


def _shuffled(key: Key, places: Array, n: Array) -> Array:
    """As `shuffled`; n () int32 may be traced."""
    seeds = jax.random.bits(key, (ROUNDS, 2), jnp.uint32)
    count = n.astype(jnp.uint32)
    bits = 32 - jax.lax.clz(count - 1)
    shift = (bits + 1) // 2
    rows = jnp.left_shift(jnp.uint32(1), shift)
    columns = (count + rows - 1) // rows

    def turn(cell: tuple[Array, Array], seed: Array) -> tuple[tuple[Array, Array], None]:
        row, column = cell
        row = (row + _hash(column ^ seed[0])) & (rows - 1)
        # A hash of 16 bits times at most 2¹⁶ columns stays within 32 bits.
        column = column + (((_hash(row ^ seed[1]) >> 16) * columns) >> 16)
        return (row, jnp.where(column >= columns, column - columns, column)), None

    def walk(at: tuple[Array, Array]) -> tuple[Array, Array]:
        places, outside = at
        cell = places & (rows - 1), jnp.right_shift(places, shift)
        (row, column), _ = jax.lax.scan(turn, cell, seeds)
        places = jnp.where(outside, jnp.left_shift(column, shift) | row, places)
        return places, places >= count

    at = places.astype(jnp.uint32), jnp.ones(places.shape, bool)
    return jax.lax.while_loop(lambda at: jnp.any(at[1]), walk, at)[0].astype(jnp.int32)


def _hash(bits: Array) -> Array:
    """MurmurHash3's finalizer: each bit of the result depends on each one given."""
    bits = (bits ^ (bits >> 16)) * np.uint32(0x85EBCA6B)
    bits = (bits ^ (bits >> 13)) * np.uint32(0xC2B2AE35)
    return bits ^ (bits >> 16)
