"""All folds as one program: rows gathered and padded per fold, folds side by side."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.types import Array, Fit, Key, PyTree
from jaxcompress.validate.cross_validation.candidate import Evaluate
from jaxcompress.validate.splits.fold import Fold


class Rows(NamedTuple):
    """Which examples a fold reads; of several folds with an axis of folds in front.

    Attributes:
      train: (…, most_train) int32 indices; beyond the fold's own, they repeat them.
      weights: (…, most_train) float32: 1 for the fold's own, 0 for repetitions.
      test: (…, most_test) int32 indices, filled up likewise.
      keys: (…) random keys.
    """

    train: Array | np.ndarray
    weights: Array | np.ndarray
    test: Array | np.ndarray
    keys: Key


def fold_keys(key: Key, count: int) -> Key:
    """The keys of so many folds, each the same however many there are."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(count))


def padded(folds: Sequence[Fold], keys: Key) -> Rows:
    """The rows of all folds, of one key each, filled up to the longest.

    A repeated training row is one of the fold's own: a recipe that overlooks weights
    sees no test example by it.
    """
    most_train = max(fold.train.size for fold in folds)
    most_test = max(fold.test.size for fold in folds)
    return Rows(
        train=np.stack([np.resize(fold.train, most_train) for fold in folds]).astype(np.int32),
        weights=np.stack(
            [np.arange(most_train) < fold.train.size for fold in folds], dtype=np.float32
        ),
        test=np.stack([np.resize(fold.test, most_test) for fold in folds]).astype(np.int32),
        keys=keys,
    )


def program(fit: Fit, evaluate: Evaluate) -> Callable[[PyTree, Rows], PyTree]:
    """(data, rows in chunks of folds) to values, (chunks, folds, most_test, …)."""

    def one(data: PyTree, rows: Rows) -> PyTree:
        model = fit(_taken(data, rows.train), jnp.asarray(rows.weights), rows.keys)
        return evaluate(model, _taken(data, rows.test))

    def all_chunks(data: PyTree, rows: Rows) -> PyTree:
        return jax.lax.map(lambda chunk: jax.vmap(one, in_axes=(None, 0))(data, chunk), rows)

    return all_chunks


def in_chunks(rows: Rows, at_once: int) -> Rows:
    """The rows as (chunks, folds, …), chunks as even as their number allows.

    The last folds are repeated to fill the last chunk.
    """
    count = len(rows.train)
    chunks = -(-count // at_once)
    size = -(-count // chunks)
    places = np.minimum(np.arange(chunks * size), count - 1).reshape(chunks, size)
    return jax.tree.map(lambda array: array[places], rows)


def apart(values: dict[str, np.ndarray], folds: Sequence[Fold]) -> list[dict[str, np.ndarray]]:
    """The values of each fold without what filled up: arrays (n_test, …)."""
    flat = {name: value.reshape(-1, *value.shape[2:]) for name, value in values.items()}
    return [
        {name: value[i, : fold.test.size] for name, value in flat.items()}
        for i, fold in enumerate(folds)
    ]


def _taken(data: PyTree, indices: Array | np.ndarray) -> PyTree:
    return jax.tree.map(lambda array: array[indices], data)
