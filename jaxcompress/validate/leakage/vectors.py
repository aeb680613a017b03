"""Near duplicates by vectors of the user's own: cosines, a block at a time."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.checks import check_inside
from jaxcompress.core.kinds import check_function
from jaxcompress.core.messages import shown
from jaxcompress.core.types import Array
from jaxcompress.validate.leakage import matches
from jaxcompress.validate.leakage.blocks import Block, count
from jaxcompress.validate.leakage.check import Check, Pairs, Reading, compared
from jaxcompress.validate.leakage.reports import Overlap

ROWS = 2048
"""Vectors of each set in one product."""


def near_vectors(embed: Any, *, least: float = 0.95) -> Check:
    """Looks for examples whose vectors point the same way.

    Not for: millions of examples, since it compares every pair; `near_texts` and
    `near_images` hash.

        cosine(a, b) = a · b / (|a| |b|) >= least

    Every pair is compared, 2,048 × 2,048 at once in a compiled product, so the time is
    quadratic and the memory that of the vectors alone. Good for what no hash sees:
    paraphrases, other photographs of one object. The vectors decide what is alike:
    look at what is found before you remove it.

    Args:
      embed: `embed(examples) -> (n, d)`, real and finite, such as the features of a
        trained model; `validate.predict` gives them in batches.
      least: cosine of near duplicates, in (0, 1).

    Returns:
      A check for `leakage.check`. A score is the cosine. It keeps 4·d bytes of an
      example.

    Raises:
      TypeError: `embed` is no function.
      ValueError: `least` is out of range; vectors are not finite, or not (n, d).

    Example:
      >>> leakage = jc.validate.leakage
      >>> sets = {"a": np.eye(3)[:2], "b": np.float32([[0, 2, 0.1]])}
      >>> leakage.check(sets, [leakage.near_vectors(lambda x: x)]).leaks[0].pairs
      array([[1, 0]])

    Also known as: semantic deduplication, SemDeDup, embedding similarity.

    Source: Abbas et al. 2023, arXiv:2303.09540. Differs: no clustering, every pair.
    """
    check_function("near_vectors", "embed", embed, "It takes examples and gives vectors (n, d).")
    check_inside("near_vectors", "least", least, 0, 1)

    def update(block: Block, kept: list[np.ndarray]) -> list[np.ndarray]:
        return [*kept, _directions(embed(block.examples), block)]

    def find(readings: Sequence[Reading], pairs: Pairs) -> list[Overlap]:
        vectors = [np.concatenate(each.kept) for each in readings]
        if len({each.shape[1] for each in vectors}) > 1:
            raise ValueError("near_vectors(embed) gives vectors of different lengths for two sets.")
        return [
            Overlap(
                "near",
                readings[i].name,
                readings[j].name,
                readings[j].n,
                *_match(vectors[i], vectors[j], i == j, least),
            )
            for i, j in compared(readings, pairs)
        ]

    what = f"near: vectors of cosine {least:g}"
    return Check(what, list, update, find, rereads=False)


def cosines(one: Array, other: Array) -> Array:
    """Products (n, m) float32 of rows of norm 1: their cosines."""
    return jnp.matmul(one, other.T, precision=jax.lax.Precision.HIGHEST)


def _match(first: np.ndarray, second: np.ndarray, same: bool, least: float) -> matches.Match:
    run = jax.jit(cosines)
    pairs, scores = [np.empty((0, 2), np.int64)], [np.empty(0)]
    for j, others in _padded(second):
        for i, ones in _padded(first):
            if same and i > j:
                continue
            values = np.asarray(run(ones, others))
            at, where = np.nonzero(values >= least)
            found = np.stack([i + at, j + where], axis=1)
            # Rows that fill up a block are 0, and so are their cosines.
            kept = found[:, 0] < found[:, 1] if same else slice(None)
            pairs.append(found[kept])
            scores.append(np.minimum(values[at, where][kept].astype(np.float64), 1))
    return matches.witnesses(np.concatenate(pairs), np.concatenate(scores))


def _padded(vectors: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks of one shape, with the index of their first row."""
    size = min(ROWS, 1 << (len(vectors) - 1).bit_length())
    for start in range(0, len(vectors), size):
        block = vectors[start : start + size]
        yield start, np.pad(block, ((0, size - len(block)), (0, 0)))


def _directions(vectors: Any, block: Block) -> np.ndarray:
    array = np.asarray(vectors)
    n = count(block.examples)
    if array.ndim != 2 or len(array) != n or array.dtype.kind not in "fiub":
        raise ValueError(
            f"near_vectors(embed) gives {shown(vectors)} for {n} examples; it needs real numbers"
            " (n, d)."
        )
    array = array.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if bad.size:
        raise ValueError(
            f"near_vectors(embed): the vector of example {block.start + bad[0]} is not finite."
        )
    norm = np.linalg.norm(array, axis=1, keepdims=True)
    return (array / np.where(norm == 0, 1, norm)).astype(np.float32)
