"""Observers: statistics of calibration data that merge over batches and devices.

An observer sees the data that meets a weight as (batch…, rows, contracting): one row
per vector that is multiplied with the weight. It keeps a state of fixed
shape and dtype. What it learned is worth as much as the data it saw: `counted` adds to
any observer how many rows those were.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core import exports
from jaxcompress.core.kinds import check_kind
from jaxcompress.core.types import Array, PyTree

exports.list_definitions(globals())


MOST_ROWS = 2**31 - 1
"""Where a count of rows stands still."""


class Observer(NamedTuple):
    """A statistic of data, as four pure functions, and a fifth for all data at once.

    Attributes:
      init: (x: jax.ShapeDtypeStruct) -> state.
      update: (x, state) -> state, one batch later.
      read: state -> what was learned.
      merge: (state, state) -> state; associative, so shards and batches merge
        in any grouping.
      alone: x -> what `read` takes when x is all the data, which may tell more than a
        state of fixed shape can; None where that is a fresh state updated once.
    """

    init: Callable[[jax.ShapeDtypeStruct], PyTree]
    update: Callable[[Array, PyTree], PyTree]
    read: Callable[[PyTree], Any]
    merge: Callable[[PyTree, PyTree], PyTree]
    alone: Callable[[Array], PyTree] | None = None


class Reading(NamedTuple):
    """The value of an observer, and how many rows of data it is from.

    Attributes:
      value: what `observer.read` gave.
      count: (stack…, batch…) int32: for each matrix of the leaf, the rows with an entry
        other than 0. Where it is 0 no data reached the matrix, as in a branch never
        taken or an expert without tokens, and the value says nothing about it.
    """

    value: Any
    count: Array


def counted(observer: Observer) -> Observer:
    """Adds to an observer a count of the rows that it saw.

    Rows of nothing but zeros, as padding and masks leave them, are not counted.

    Args:
      observer: any.

    Returns:
      Observer whose reading is a `Reading`; counts merge by sum.

    Example:
      >>> observer = jc.observers.counted(jc.observers.second_moment())
      >>> x = jnp.array([[1.0, 2.0], [0.0, 0.0]])
      >>> reading = observer.read(observer.update(x, observer.init(x)))
      >>> reading.value.tolist(), int(reading.count)
      ([0.5, 2.0], 1)
    """
    check_kind("counted", "observer", observer, Observer, "For example second_moment().")
    both = together(observer, row_count())
    return both._replace(read=lambda state: Reading(*both.read(state)))


def row_count() -> Observer:
    """Counts the rows that have an entry other than 0.

    Returns:
      Observer whose reading is (batch…) int32, at most `MOST_ROWS`; merges by sum.

    Example:
      >>> observer = jc.observers.row_count()
      >>> x = jnp.array([[1.0, 2.0], [0.0, 0.0]])
      >>> int(observer.read(observer.update(x, observer.init(x))))
      1
    """

    def init(x):
        return jnp.zeros(x.shape[:-2], jnp.int32)

    def update(x, state):
        rows = jnp.sum(jnp.any(x != 0, axis=-1), axis=-1, dtype=jnp.int32)
        return merge(state, rows)

    def merge(first, second):
        # Saturates: an int32 count that wrapped would be negative.
        return first + jnp.minimum(second, MOST_ROWS - first)

    return Observer(init, update, lambda state: state, merge)


def together(first: Observer, second: Observer) -> Observer:
    """Joins two observers of the same data; states and readings are pairs."""
    for argument, observer in (("first", first), ("second", second)):
        check_kind("together", argument, observer, Observer, "For example second_moment().")
    return Observer(
        init=lambda x: (first.init(x), second.init(x)),
        update=lambda x, state: (first.update(x, state[0]), second.update(x, state[1])),
        read=lambda state: (first.read(state[0]), second.read(state[1])),
        merge=lambda one, other: (first.merge(one[0], other[0]), second.merge(one[1], other[1])),
    )


def as_reading(found: Any) -> Reading:
    """Gives a reading as it is; a value written by hand counts as seen."""
    return found if isinstance(found, Reading) else Reading(found, jnp.ones((), jnp.int32))


class Range(NamedTuple):
    """The smallest and largest value, float32; inf and -inf before any data."""

    low: Array
    high: Array


def second_moment() -> Observer:
    """Observes the mean square of every contracting feature.

    Not for: inputs that go together, whose products it leaves out; take `covariance`.

    Also known as: activation norm (Wanda), diagonal of the Hessian or of H = X Xᵀ.

    Returns:
      Observer whose reading is the mean square per feature, (batch…, contracting)
      float32, of complex features that of their absolute value; merges by sum.

    Example:
      >>> observer = jc.observers.second_moment()
      >>> x = jnp.array([[1.0, 2.0], [3.0, 0.0]])
      >>> observer.read(observer.update(x, observer.init(x)))
      Array([5., 2.], dtype=float32)
    """

    def init(x):
        return jnp.zeros((*x.shape[:-2], x.shape[-1]), jnp.float32), jnp.zeros((), jnp.float32)

    def update(x, state):
        squares = jnp.sum(jnp.square(_real_rows(x)), axis=-2)
        return merge(state, (squares, jnp.asarray(x.shape[-2], jnp.float32)))

    def read(state):
        return _per_row(*state)

    def merge(first, second):
        return jax.tree.map(jnp.add, first, second)

    return Observer(init, update, read, merge)


def covariance() -> Observer:
    """Observes the mean outer product of the rows, not centred.

    Not for: wide inputs, of whose width it holds the square; `second_moment` holds the
    diagonal.

    Also known as: Gram matrix, second moment matrix, the Hessian of GPTQ and SparseGPT.

    What `structure.factorize` weighs errors with: for an error E of a weight,
    E[|E x|²] = trace(E · covariance · Eᵀ). Takes contracting² numbers per site.

    Returns:
      Observer whose reading is the mean outer product E[x xᵀ], (batch…, contracting,
      contracting) float32, of complex rows the real part of E[x xᴴ]; merges by sum.

    Example:
      >>> observer = jc.observers.covariance()
      >>> x = jnp.array([[1.0, 2.0], [3.0, 0.0]])
      >>> observer.read(observer.update(x, observer.init(x)))
      Array([[5., 1.],
             [1., 2.]], dtype=float32)
    """

    def init(x):
        size = x.shape[-1]
        return jnp.zeros((*x.shape[:-2], size, size), jnp.float32), jnp.zeros((), jnp.float32)

    def update(x, state):
        rows = _real_rows(x)
        products = jnp.einsum("...mi,...mj->...ij", rows, rows, precision=jax.lax.Precision.HIGHEST)
        return merge(state, (products, jnp.asarray(x.shape[-2], jnp.float32)))

    def read(state):
        return _per_row(*state)

    def merge(first, second):
        return jax.tree.map(jnp.add, first, second)

    return Observer(init, update, read, merge)


def _real_rows(x: Array) -> Array:
    """(…, rows, features) float32: complex rows as two each, whose squares add up."""
    parts = [x.real, x.imag] if jnp.iscomplexobj(x) else [x]
    return jnp.concatenate([part.astype(jnp.float32) for part in parts], axis=-2)


def _per_row(total: Array, rows: Array) -> Array:
    """The mean of a state that may be stacked: (stack…, …) sums and (stack…) counts."""
    counts = jnp.maximum(rows, 1.0)
    return total / counts.reshape(counts.shape + (1,) * (total.ndim - counts.ndim))
