"""Classes drawn from what a teacher answers, a few bytes for each that was drawn."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.checks import check_concrete, check_count, check_positive
from jaxcompress.core.digests import as_numpy
from jaxcompress.core.kinds import check_key
from jaxcompress.core.types import Array, Key, PyTree
from jaxcompress.distill.outputs import draws as drawn
from jaxcompress.distill.outputs.draws import Draws
from jaxcompress.train.teacher_cache.contents import Content, Named, check_classes, class_dtype
from jaxcompress.train.teacher_cache.rows import Rows, Shards


def draws(count: int, key: Key, *, temperature: float = 1.0) -> Content:
    """Keeps how often each class was drawn, of some draws with replacement.

    Not for: few classes, of which `teacher_cache.whole` keeps all logits in as few
    bytes.

        target = times that a class was drawn / count, on average the teacher's softmax

    A class that was drawn takes its number and how often it was, packed into whole
    bytes: 3 where log2(classes) + log2(count) <= 24, as for 50 draws of 151,000
    classes. Of 50 draws from a language model about 12 classes are different.

    Args:
      count: draws of each token, at least 1.
      key: of JAX; the draws of an example follow from it and from the example's index.
      temperature: above 0, that of the student's loss; it cannot be changed later.

    Returns:
      Content whose targets are `distill.outputs.Draws` of `Rows` (n, …, count), for
      `distill.outputs.sampled_targets`; entries that are not needed have weight 0.

    Raises:
      TypeError: the key is none.
      ValueError: `count` is no count, or the temperature is not above 0.

    Example:
      >>> jc.train.teacher_cache.draws(50, jax.random.key(0)).description["count"]
      50

    Also known as: random sampling knowledge distillation (RS-KD), sparse logit
    sampling.

    Source: Anshumann et al. 2025, arXiv:2503.16870, section 4. Differs: classes are
    drawn from the teacher itself and not from a tempered proposal, so that a count is
    all that a class needs.
    """
    count = check_count("draws", "count", count)
    check_key("draws", "key", key)
    check_concrete("draws", key=key, temperature=temperature)
    check_positive("draws", "temperature", temperature)

    def of_example(logits: Array, index: Array) -> Array:
        own = jax.random.fold_in(key, index)
        return jnp.sort(drawn(logits, count, own, temperature=temperature).indices, axis=-1)

    def keep(outputs: Array, indices: Array) -> dict[str, Array]:
        check_classes("draws", outputs)
        return {"classes": jax.vmap(of_example)(outputs, indices)}

    def packed(arrays: Named, shape: tuple[int, ...]) -> Named:
        return merged(arrays["classes"], shape[-1])

    described: dict[str, Any] = {
        "kind": "draws",
        "count": count,
        "temperature": float(temperature),
        "key": as_numpy(key).tobytes().hex(),
    }
    return Content(described, keep, packed, lambda shards: rows(shards, count))


def merged(drawn: np.ndarray, classes: int) -> Named:
    """Draws (rows, …, count) in rising order as entries: each class once.

    Returns:
      `entries` (total, bytes) uint8: class and how often, little-endian; `lengths`
      (rows, …): of each token; `ends` (rows,): where the entries of a row end.

    Example:
      >>> found = merged(np.array([[3, 3, 5]]), classes=8)
      >>> found["entries"].tolist(), found["lengths"], found["ends"]
      ([[19], [13]], array([2], dtype=uint8), array([2], dtype=uint32))
    """
    rows, count = len(drawn), drawn.shape[-1]
    tokens = drawn.reshape(-1, count).astype(np.uint64)
    first = np.ones(tokens.shape, bool)
    first[:, 1:] = tokens[:, 1:] != tokens[:, :-1]
    starts = np.flatnonzero(first)
    times = np.diff(starts, append=first.size).astype(np.uint64)
    codes = tokens.ravel()[starts] | (times << np.uint64(_class_bits(classes)))
    raw = codes.astype("<u8").view(np.uint8).reshape(-1, 8)
    lengths = first.sum(axis=1)
    return {
        "entries": np.ascontiguousarray(raw[:, : _width(classes, count)]),
        "lengths": lengths.reshape(drawn.shape[:-1]).astype(np.min_scalar_type(count)),
        "ends": np.cumsum(lengths.reshape(rows, -1).sum(axis=1)).astype(np.uint32),
    }


def rows(shards: Shards, count: int) -> PyTree:
    """The draws of all examples, as their classes and weights."""
    *tokens, classes = shards.shape
    shape = (*tokens, count)

    def indices(number: int, places: np.ndarray) -> np.ndarray:
        return _spread(shards, number, places, count)[0].reshape(-1, *shape)

    def weights(number: int, places: np.ndarray) -> np.ndarray:
        times = _spread(shards, number, places, count)[1].reshape(-1, *shape)
        return times.astype(np.float32) / np.float32(count)

    of_classes: Any = Rows(shards, shape, class_dtype(classes), indices)
    of_weights: Any = Rows(shards, shape, np.float32, weights)
    return Draws(of_classes, of_weights)


def _spread(
    shards: Shards, number: int, places: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Classes and how often each was drawn, (tokens, count) both; zeros behind them."""
    ends = shards.array(number, "ends").astype(np.int64)
    begins = np.concatenate([[0], ends])[places]
    entries = shards.array(number, "entries")[_runs(begins, ends[places] - begins)]
    wide = np.zeros((len(entries), 8), np.uint8)
    wide[:, : entries.shape[1]] = entries
    codes = wide.view("<u8")[:, 0]
    lengths = shards.array(number, "lengths")[places].ravel().astype(np.int64)
    where = np.repeat(np.arange(lengths.size), lengths), _runs(np.zeros_like(lengths), lengths)
    shift = np.uint64(_class_bits(shards.shape[-1]))
    classes, times = np.zeros((2, lengths.size, count), np.uint64)
    classes[where], times[where] = codes & ((np.uint64(1) << shift) - np.uint64(1)), codes >> shift
    return classes, times


def _runs(begins: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Consecutive numbers from each beginning on, one run after another.

    Example:
      >>> _runs(np.array([5, 0]), np.array([2, 3])).tolist()
      [5, 6, 0, 1, 2]
    """
    before = np.cumsum(lengths) - lengths
    return np.repeat(begins - before, lengths) + np.arange(lengths.sum())


def _class_bits(classes: int) -> int:
    return max(1, (classes - 1).bit_length())


def _width(classes: int, count: int) -> int:
    """Bytes of an entry."""
    return -(-(_class_bits(classes) + count.bit_length()) // 8)
