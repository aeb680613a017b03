"""Refuses sets of examples that must be apart and share any, byte for byte.

The shortest door to `leakage`, where near duplicates, groups and time are looked at.
"""

from numpy.typing import ArrayLike

from jaxcompress.core.checks import check_concrete
from jaxcompress.validate.leakage.check import between_sets, search
from jaxcompress.validate.leakage.exact import exact
from jaxcompress.validate.leakage.reports import Overlap


def check_disjoint(**splits: ArrayLike) -> None:
    """Raises when an example of one set is also in another.

    Use it on training, validation, test and calibration data before any figure is
    believed. Examples are equal when their bytes are; duplicates inside
    one set are allowed. For a report, other equalities, near duplicates, groups and
    sets in streams there is `leakage.check`.

    Args:
      **splits: two or more named arrays (n, ...), n at least 1, of one dtype and one
        shape per example, or lists of texts; arrays of indices are fine too.

    Raises:
      TypeError: the dtypes or shapes differ, so equal examples would have different
        bytes, or they hold Python objects.
      ValueError: fewer than two sets, an empty set, or an overlap: the message names
        each pair of sets, how many examples of the second are in the first, and where
        the first of them lie.

    Example:
      >>> jc.validate.check_disjoint(train=np.array([1, 2]), test=np.array([4, 2]))
      Traceback (most recent call last):
      ValueError: check_disjoint: 'train' holds 1 of 2 examples of 'test': ...
    """
    check_concrete("check_disjoint")
    if len(splits) < 2:
        raise ValueError(f"check_disjoint({', '.join(splits)}) needs two or more named sets.")
    report = search("check_disjoint", splits, [exact()], between_sets)
    found = "; ".join(_in_words(each) for each in report.overlaps if each.count)
    if found:
        raise ValueError(f"check_disjoint: {found}.")


def _in_words(found: Overlap) -> str:
    places = ", ".join(
        f"{found.second}[{j}] = {found.first}[{i}]" for i, j in found.pairs[:3].tolist()
    )
    rest = ", …" if found.count > 3 else ""
    share = f"{found.count} of {found.n}"
    return f"{found.first!r} holds {share} examples of {found.second!r}: {places}{rest}"
