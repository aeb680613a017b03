"""Near duplicates of texts: MinHash and banding, judged by the true Jaccard index."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxcompress.core.checks import check_range
from jaxcompress.core.kinds import check_function
from jaxcompress.core.messages import shown
from jaxcompress.core.types import PyTree
from jaxcompress.validate.leakage.canonical import words
from jaxcompress.validate.leakage.check import Check
from jaxcompress.validate.leakage.near import Method, near, of_equal_keys
from jaxcompress.validate.leakage.parts import PART, Part, everything
from jaxcompress.validate.leakage.shingles import (
    Shingles,
    band_keys,
    characters,
    jaccard,
    signature,
)

ROWS = 4
"""Hashes of a band: with 32 bands a pair of index 0.7 is missed once in 6,500."""
LOWEST = 0.6
"""Index at which one pair in a hundred is missed."""


def near_texts(
    *, of: Part = everything, shingles: Shingles = characters(), least: float = 0.7
) -> Check:
    """Looks for texts that share most of their runs of characters.

    Not for: paraphrases, which share few runs; `near_vectors` compares embeddings.

        index = |A ∩ B| / |A ∪ B|,  A and B the sets of runs of two texts
        candidates: one of 32 bands of 4 of 128 smallest hashes is equal
        missed: (1 - index^4)^32, or 0.00015 at 0.7 and 0.013 at 0.6

    Case and white space do not count. A candidate is a near duplicate where its true
    index is at least `least`.

    Args:
      of: `of(examples)`, the texts (n,), each a str or bytes.
      shingles: what is compared: `characters(length)`, `word_runs(length)` or a
        function of a text.
      least: index of near duplicates, in [0.6, 1).

    Returns:
      A check for `leakage.check`. A score is the index. It keeps 272 bytes of a text.

    Raises:
      TypeError: an argument is no function.
      ValueError: `least` is out of range.

    Example:
      >>> leakage = jc.validate.leakage
      >>> sets = {
      ...     "train": ["To be, or not to be, that is the question:"],
      ...     "test": ["Now is the winter", "To be or not to be, that is the question"],
      ... }
      >>> leakage.check(sets, [leakage.near_texts()]).leaks[0].pairs
      array([[0, 1]])

    Also known as: MinHash LSH, fuzzy deduplication.

    Source: Broder 1997, "On the resemblance and containment of documents"; Indyk and
    Motwani 1998 for the bands; Lee et al. 2022, arXiv:2107.06499, for language models.
    Differs: candidates are judged by the true index.
    """
    check_function("near_texts", "of", of, PART)
    check_function("near_texts", "shingles", shingles, "For example leakage.characters(5).")
    check_range("near_texts", "least", least, LOWEST, 1)

    def runs(part: PyTree) -> np.ndarray:
        texts = _texts(part)
        found = np.empty(len(texts), object)
        for i, text in enumerate(texts):
            found[i] = shingles(text)
        return found

    def sketch(part: PyTree) -> tuple[np.ndarray, ...]:
        return (band_keys(np.stack([signature(each) for each in runs(part)]), ROWS),)

    def candidates(first: tuple[Any, ...], second: tuple[Any, ...]) -> Iterator[np.ndarray]:
        return of_equal_keys(first[0], second[0])

    def alike(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        index = np.array([jaccard(a, b) for a, b in zip(one, other, strict=True)])
        return index, index >= least

    method = Method(sketch, sketch, candidates, runs, lambda part: runs(part)[:, None], alike)
    return near(f"near: texts of Jaccard index {least:g}", of, words, lambda _: method)


def _texts(part: PyTree) -> np.ndarray:
    if not isinstance(part, np.ndarray) or part.ndim != 1:
        raise ValueError(f"near_texts(of) gives {shown(part)}; it needs one list of texts (n,).")
    return words(part)
