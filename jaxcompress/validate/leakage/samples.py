"""A bounded random sample of rows of a set that is read in blocks."""

from typing import NamedTuple

import numpy as np

from jaxcompress.validate.leakage.buckets import mixed


class Sample(NamedTuple):
    """Some rows of a set, each with the same chance of being among them.

    Attributes:
      indices: (k,) int64, ascending: where the rows lie in the set.
      rows: (k, …).
    """

    indices: np.ndarray
    rows: np.ndarray


def sampled(rows: np.ndarray, start: int, before: Sample | None, most: int) -> Sample:
    """The sample with a further block: the `most` rows whose indices hash lowest.

    It depends on the indices alone, so it is the same however the set is cut.

    Args:
      rows: (m, …) of the block.
      start: index of its first row.
      before: the sample of the blocks before it, None for the first.
      most: rows that are kept.
    """
    indices = np.arange(start, start + len(rows))
    if before is not None:
        indices = np.concatenate([before.indices, indices])
        rows = np.concatenate([before.rows, rows])
    if len(indices) > most:
        kept = np.sort(np.argpartition(mixed(indices), most - 1)[:most])
        indices, rows = indices[kept], rows[kept]
    return Sample(indices, rows)
