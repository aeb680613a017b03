"""Near duplicates of rows of numbers: all but few columns equal, or all up to noise."""

import warnings
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from jaxcompress.core.checks import check_count, check_range
from jaxcompress.core.kinds import check_function
from jaxcompress.core.types import PyTree
from jaxcompress.validate.leakage.buckets import joined, mixed
from jaxcompress.validate.leakage.canonical import by_value
from jaxcompress.validate.leakage.check import Check
from jaxcompress.validate.leakage.near import Method, near, of_equal_keys
from jaxcompress.validate.leakage.parts import PART, Part, everything
from jaxcompress.validate.leakage.samples import Sample, sampled

SAMPLED = 4096
"""Rows of a set from which deviations are taken."""
TABLES, PROJECTIONS, WIDTH = 8, 4, 16
"""Grids of four random directions, and the side of their cells in tolerances."""


def near_rows(*, of: Part = everything, columns: int = 1, tolerance: float = 0.01) -> Check:
    """Looks for rows of a table that agree in all but a few columns, up to tiny noise.

    Not for: tables of few or coarse columns, whose rows agree by chance; take `exact`.

        a and b agree in a column where |a - b| <= tolerance · deviation of the column,
        the range of its middle nine tenths / 3.29
        near duplicates: at most `columns` of the columns do not agree

    Candidates are rows that are equal in one of `columns` + 1 groups of columns, or lie
    in one cell of one of eight grids along random directions. So a copy is found that
    differs in `columns` columns, and one with noise in all. Tables of few or coarse
    columns have such rows by chance.

    Args:
      of: `of(examples)`, the table: numbers (n, d), or a dict or tuple of columns.
        NaN agrees with NaN alone.
      columns: that may differ by any amount, at least 0 and below d.
      tolerance: of the deviation over a sample of all sets, in (0, 1).

    Returns:
      A check for `leakage.check`. A score is the share of columns that agree. It keeps
      16 bytes and 8 (9 + columns) of a row.

    Raises:
      TypeError: `of` is no function.
      ValueError: a number is out of range.

    Example:
      >>> leakage = jc.validate.leakage
      >>> table = np.random.default_rng(0).normal(size=(30, 6))
      >>> test = table[[4, 7]]
      >>> test[0, 2] = 9  # a column overwritten
      >>> test[1] += 1e-3  # noise in all
      >>> sets = {"train": table, "test": test}
      >>> leakage.check(sets, [leakage.near_rows()]).leaks[0].pairs
      array([[4, 0],
             [7, 1]])

    Also known as: record linkage, fuzzy matching of rows.

    Source: Datar et al. 2004, "Locality-sensitive hashing scheme based on p-stable
    distributions", for the grids. Differs: candidates are judged by the true columns.
    """
    check_function("near_rows", "of", of, PART)
    columns = check_count("near_rows", "columns", columns, least=0)
    check_range("near_rows", "tolerance", tolerance, 0, 1)
    if not tolerance:
        raise ValueError(
            "near_rows(tolerance=0) must be above 0; leakage.exact() finds equal rows."
        )

    def method(samples: list[Sample]) -> Method:
        centre, scale = spread(np.concatenate([each.rows for each in samples]))
        if columns >= scale.size:
            raise ValueError(
                f"near_rows(columns={columns}) must be below the {scale.size} columns there are."
            )

        def sketch(part: PyTree) -> tuple[np.ndarray, ...]:
            table = _table(part)
            cells = _cells((table - centre) / scale, WIDTH * tolerance)
            return (np.concatenate([_groups(table, columns + 1), cells], axis=1),)

        def candidates(first: tuple[Any, ...], second: tuple[Any, ...]) -> Iterator[np.ndarray]:
            return of_equal_keys(first[0], second[0])

        def alike(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            both = np.isnan(one) & np.isnan(other)
            agree = (np.abs(one - other) <= tolerance * scale) | both
            return agree.mean(axis=1), np.sum(~agree, axis=1) <= columns

        return Method(sketch, sketch, candidates, _table, lambda part: _table(part)[:, None], alike)

    what = f"near: rows equal in all but {columns} columns, up to {tolerance:g} deviations"
    return near(what, of, by_value, method, _learn)


def _learn(block: PyTree, start: int, before: Sample | None) -> Sample:
    return sampled(_table(block), start, before, SAMPLED)


def spread(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median and deviation (d,) of the columns of a table (n, d), without its NaNs.

    The deviation is the range of the middle nine tenths / 3.29, that of a normal
    column, so that an outlier or a rare code such as -999 changes little; where it is 0
    the standard deviation, and 1 of a constant.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of columns of NaN alone
        low, centre, high = np.nanpercentile(table, [5, 50, 95], axis=0)
        deviation = np.nanstd(table, axis=0)
    scale = (high - low) / 3.29
    scale = np.where(scale > 0, scale, deviation)
    return np.nan_to_num(centre), np.where(scale > 0, scale, 1.0)


def _table(part: PyTree) -> np.ndarray:
    """The columns side by side, float64 (n, d)."""
    columns = []
    for leaf in jax.tree.leaves(part):
        if leaf.ndim not in (1, 2):
            raise ValueError(f"near_rows(of) gives shape {leaf.shape}; a table has shape (n, d).")
        columns.append(by_value(leaf).reshape(len(leaf), -1))
    table = np.concatenate(columns, axis=1)
    if np.isinf(table).any():
        raise ValueError("near_rows(of) gives an infinity; remove it, or write NaN instead.")
    return table


def _groups(table: np.ndarray, groups: int) -> np.ndarray:
    """Keys (n, groups) of the exact values of every `groups`-th column."""
    bits = table.view(np.uint64)
    return np.stack([joined(bits[:, start::groups]) for start in range(groups)], axis=1)


def _cells(standard: np.ndarray, width: float) -> np.ndarray:
    """Keys (n, tables) of the cells of grids in which standardised rows lie."""
    n, d = standard.shape
    count = TABLES * PROJECTIONS
    chosen = mixed(np.arange(d * count, dtype=np.uint64)).reshape(d, count) >> np.uint64(63)
    directions = (2.0 * chosen - 1) / np.sqrt(d)
    offsets = mixed(np.arange(count, dtype=np.uint64) + np.uint64(d * count)) / 2.0**64
    # Far outliers share a cell: beyond it a float64 has no whole numbers left.
    known = np.clip(np.nan_to_num(standard, nan=0.0), -1e9, 1e9)
    places = np.floor(known @ directions / width + offsets)
    cells = places.astype(np.int64).view(np.uint64).reshape(n, TABLES, PROJECTIONS)
    return np.stack([joined(cells[:, table]) for table in range(TABLES)], axis=1)
