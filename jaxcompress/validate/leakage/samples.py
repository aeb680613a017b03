"""A bounded random sample of rows of a set that is read in blocks."""

from typing import NamedTuple

import jax
import numpy as np

from jaxcompress.core.types import PyTree
from jaxcompress.validate.leakage.blocks import count, rows
from jaxcompress.validate.leakage.buckets import mixed


class Sample(NamedTuple):
    """Some rows of a set, each with the same chance of being among them.

    Attributes:
      indices: (k,) int64, ascending: where the rows lie in the set.
      rows: tree of arrays (k, …).
    """

    indices: np.ndarray
    rows: PyTree


def sampled(examples: PyTree, start: int, before: Sample | None, most: int) -> Sample:
    """The sample with a further block: the `most` rows whose indices hash lowest.

    It depends on the indices alone, so it is the same however the set is cut.

    Args:
      examples: tree of arrays (m, …), of the block.
      start: index of its first row.
      before: the sample of the blocks before it, None for the first.
      most: rows that are kept.
    """
    indices = np.arange(start, start + count(examples))
    if before is not None:
        indices = np.concatenate([before.indices, indices])
        examples = jax.tree.map(lambda *parts: np.concatenate(parts), before.rows, examples)
    else:  # a copy, since a view of the first block would keep the whole of it
        examples = jax.tree.map(np.copy, examples)
    if len(indices) > most:
        kept = np.sort(np.argpartition(mixed(indices), most - 1)[:most])
        indices, examples = indices[kept], rows(examples, kept)
    return Sample(indices, examples)
