"""Two files leaf by leaf: what differs in shape, dtype, format and numbers."""

import contextlib
import dataclasses
import math
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from jaxcompress.core.checks import check_range
from jaxcompress.core.leaf import materialize
from jaxcompress.core.report import aligned
from jaxcompress.storage.container.limits import MAX_BYTES
from jaxcompress.storage.description import StoredLeaf, cells
from jaxcompress.storage.foreign import foreign
from jaxcompress.storage.opening import OpenFile

_PIECE = 1 << 20
"""Numbers that are compared at once."""


@dataclasses.dataclass(frozen=True)
class LeafComparison:
    """One leaf of two files.

    Attributes:
      name: the leaf's name.
      first: how it lies in the first file; None where that has no such leaf.
      second: the same of the second file.
      differing: how many of its numbers differ, -0.0 and 0.0 apart; None where the
        shapes differ.
      largest_difference: of two numbers in one place, both of them finite.
      not_finite: places that differ by no finite number.
    """

    name: str
    first: StoredLeaf | None
    second: StoredLeaf | None
    differing: int | None = None
    largest_difference: float | None = None
    not_finite: int | None = None

    @property
    def differs_in(self) -> tuple[str, ...]:
        """Of "shape", "dtype", "format" and "numbers"; or the one file that has it."""
        if self.first is None or self.second is None:
            return ("second",) if self.first is None else ("first",)
        found = {
            "shape": self.first.shape != self.second.shape,
            "dtype": self.first.dtype != self.second.dtype,
            "format": self.first.spec != self.second.spec,
            "numbers": bool(self.differing),
        }
        return tuple(name for name, differs in found.items() if differs)

    def within(self, tolerance: float) -> bool:
        """Whether both files have it in one shape with numbers at most so far apart."""
        if self.largest_difference is None:
            return False
        return not self.not_finite and self.largest_difference <= tolerance


@dataclasses.dataclass(frozen=True)
class FileComparison:
    """Two files, leaf by leaf. `print` it for a table of what differs.

    Attributes:
      paths: of both files.
      size_bytes: of both files.
      leaves: in the order of the first file, then those of the second alone.
      tolerance: how far numbers may be apart; None asks for the same leaves, bit for
        bit, in the same formats.
    """

    paths: tuple[str, str]
    size_bytes: tuple[int, int]
    leaves: tuple[LeafComparison, ...]
    tolerance: float | None = None

    def alike(self, leaf: LeafComparison) -> bool:
        """Whether a leaf is the same in both files, or within the tolerance."""
        if self.tolerance is None:
            return not leaf.differs_in
        return leaf.within(self.tolerance)

    @property
    def same(self) -> bool:
        """Whether all leaves are."""
        return all(map(self.alike, self.leaves))

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        told = dataclasses.asdict(self)
        told["leaves"] = [
            dataclasses.asdict(leaf) | {"differs_in": leaf.differs_in, "alike": self.alike(leaf)}
            for leaf in self.leaves
        ]
        return told | {"same": self.same}

    def __str__(self) -> str:
        first, second = self.size_bytes
        share = f", {second / first:.1%} of the first" if first else ""
        lines = [
            f"first   {self.paths[0]}: {first:,} bytes",
            f"second  {self.paths[1]}: {second:,} bytes{share}",
        ]
        rows = [_row(leaf) for leaf in self.leaves if leaf.differs_in]
        if rows:
            header = ("leaf", "first", "second", "bytes", "numbers that differ", "at most by")
            lines += ["", *aligned([header, *rows]), ""]
        count = len(self.leaves)
        alike = sum(map(self.alike, self.leaves))
        what = "the same" if self.tolerance is None else f"within {self.tolerance:g}"
        return "\n".join([*lines, f"{alike} of {count} leaves are {what}."])


def compare(
    first: str | os.PathLike[Any],
    second: str | os.PathLike[Any],
    *,
    tolerance: float | None = None,
    max_bytes: int = MAX_BYTES,
) -> FileComparison:
    """What differs between two files, each of this library or another one.

    Leaves go together by name. Compressed ones are compared by the numbers that they
    stand for, and by their format. How coders wrote them, the order of leaves and texts
    beside them do not count.

    Args:
      first: a safetensors file, or an index of several.
      second: the other one.
      tolerance: where given, a leaf is alike if all of its numbers are at most so far
        apart, whatever its dtype and format.
      max_bytes: what the leaves at hand may take in memory, as `open` counts.

    Returns:
      FileComparison.

    Raises:
      FileError: a file is truncated, altered or no safetensors file, or holds
        differences to a third one.
      ValueError: the tolerance is negative or not finite.
      OSError: there is no such file.
    """
    if tolerance is not None:
        check_range("compare", "tolerance", tolerance, 0, math.inf)
    with _opened(first, max_bytes) as left, _opened(second, max_bytes) as right:
        names = [*left.leaves, *(name for name in right.leaves if name not in left.leaves)]
        return FileComparison(
            (left.path, right.path),
            (left.size_bytes, right.size_bytes),
            tuple(_compared(name, left, right) for name in names),
            tolerance,
        )


class _File(NamedTuple):
    path: str
    size_bytes: int
    leaves: dict[str, StoredLeaf]
    array: Callable[[str], np.ndarray]


@contextlib.contextmanager
def _opened(path: str | os.PathLike[Any], max_bytes: int) -> Iterator[_File]:
    found = foreign("compare", path, max_bytes)
    if found is not None:
        leaves = {leaf.name: leaf for leaf in found.leaves}
        yield _File(
            found.path,
            found.size_bytes,
            leaves,
            lambda name: found.array("compare", name, max_bytes),
        )
        return
    with OpenFile(path, max_bytes, "compare") as opened:
        leaves = {leaf.name: leaf for leaf in opened.leaves}
        yield _File(
            opened.path,
            opened.size_bytes,
            leaves,
            lambda name: np.asarray(materialize(opened[name])),
        )


def _compared(name: str, left: _File, right: _File) -> LeafComparison:
    first, second = left.leaves.get(name), right.leaves.get(name)
    if first is None or second is None or first.shape != second.shape:
        return LeafComparison(name, first, second)
    return LeafComparison(name, first, second, *differences(left.array(name), right.array(name)))


def differences(first: np.ndarray, second: np.ndarray) -> tuple[int, float, int]:
    """How two arrays of one shape differ.

    Of one dtype, numbers differ where their bits do; of two dtypes where their values
    do. Integers are subtracted exactly, other numbers as float64.

    Returns:
      (numbers that differ, largest difference of finite ones, differing pairs whose
      difference is not finite).

    Example:
      >>> differences(np.array([1.0, 2.0, np.nan]), np.array([1.0, 2.5, 0.0]))
      (2, 0.5, 1)
    """
    left, right = np.ravel(first), np.ravel(second)
    differing, largest, not_finite = 0, 0.0, 0
    for begin in range(0, left.size, _PIECE):
        a, b = left[begin : begin + _PIECE], right[begin : begin + _PIECE]
        unlike = _unlike(a, b)
        differing += int(unlike.sum())
        apart, finite = _apart(a[unlike], b[unlike])
        largest = max(largest, float(apart[finite].max(initial=0)))
        not_finite += int((~finite).sum())
    return differing, largest, not_finite


def _unlike(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype == b.dtype:
        return np.any(_bytes(a) != _bytes(b), axis=1)
    a, b = _widest(a), _widest(b)
    return (a != b) & ~(np.isnan(a) & np.isnan(b))


def _apart(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By how much numbers differ, and where both are finite."""
    if a.dtype == b.dtype and a.dtype.kind in "iu":
        # The difference of the wider unsigned numbers wraps to the exact one.
        high, low = np.maximum(a, b), np.minimum(a, b)
        return high.astype(np.uint64) - low.astype(np.uint64), np.ones(a.shape, bool)
    a, b = _widest(a), _widest(b)
    finite = np.isfinite(a) & np.isfinite(b)
    with np.errstate(over="ignore"):
        apart = np.abs(np.where(finite, a, 0) - np.where(finite, b, 0))
    return apart, finite & np.isfinite(apart)


def _bytes(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x).view(np.uint8).reshape(x.size, x.dtype.itemsize)


def _widest(x: np.ndarray) -> np.ndarray:
    return x.astype(np.complex128 if x.dtype.kind == "c" else np.float64)


def _row(leaf: LeafComparison) -> tuple[str, ...]:
    known = [each for each in (leaf.first, leaf.second) if each is not None]
    sizes = [f"{each.size_bytes:,}" if each else "-" for each in (leaf.first, leaf.second)]
    apart = ["-", "-"]
    if leaf.differing is not None:
        total = int(np.prod(known[0].shape, dtype=np.int64))
        apart = [f"{leaf.differing:,} of {total:,}", f"{leaf.largest_difference:.3g}"]
    if leaf.not_finite:
        apart[1] += f", {leaf.not_finite:,} not finite"
    forms = [_form(leaf.first), _form(leaf.second)]
    return (cells(known[0])[0], *forms, " → ".join(sizes), *apart)


def _form(leaf: StoredLeaf | None) -> str:
    if leaf is None:
        return "none"
    _, shape, dtype, spec, _ = cells(leaf)
    return f"{dtype} {shape}" if spec == "-" else f"{dtype} {shape}, {spec}"
