"""Whether sets of examples that must be apart share any, byte for byte.

Near duplicates, groups and time order are not looked at here.
"""

import hashlib
import itertools

import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.core.checks import check_concrete


def check_disjoint(**splits: ArrayLike) -> None:
    """Raises when an example of one set is also in another.

    Use it on training, validation, test and calibration data before any figure is
    believed. Examples are equal when their bytes are; duplicates inside
    one set are allowed.

    Args:
      **splits: two or more named arrays (n, ...), n at least 1, of one dtype and one
        shape per example; arrays of indices are fine too.

    Raises:
      TypeError: the dtypes differ, so equal examples would have different bytes, or
        hold Python objects.
      ValueError: fewer than two sets, an empty set, shapes that differ, or an overlap:
        the message names each pair of sets, how many examples of the second are in the
        first, and where the first of them lie.

    Example:
      >>> jc.validate.check_disjoint(train=np.array([1, 2]), test=np.array([4, 2]))
      Traceback (most recent call last):
      ValueError: check_disjoint: 'train' holds 1 of 2 examples of 'test': ...
    """
    check_concrete("check_disjoint", splits=splits)
    arrays = {name: np.asarray(examples) for name, examples in splits.items()}
    _check_comparable(arrays)
    hashes = {
        name: [hashlib.blake2b(each.tobytes(), digest_size=16).digest() for each in examples]
        for name, examples in arrays.items()
    }
    overlaps = [
        _overlap(first, hashes[first], second, hashes[second])
        for first, second in itertools.combinations(hashes, 2)
    ]
    found = "; ".join(overlap for overlap in overlaps if overlap)
    if found:
        raise ValueError(f"check_disjoint: {found}.")


def _overlap(first: str, first_hashes: list[bytes], second: str, second_hashes: list[bytes]) -> str:
    """The overlap in words, empty where there is none."""
    # Reversed, so that the earliest of equal examples is the one kept.
    position = {digest: i for i, digest in reversed(list(enumerate(first_hashes)))}
    shared = [(i, position[digest]) for i, digest in enumerate(second_hashes) if digest in position]
    if not shared:
        return ""
    share = f"{len(shared)} of {len(second_hashes)}"
    places = ", ".join(f"{second}[{i}] = {first}[{j}]" for i, j in shared[:3])
    rest = ", …" if len(shared) > 3 else ""
    return f"{first!r} holds {share} examples of {second!r}: {places}{rest}"


def _check_comparable(arrays: dict[str, np.ndarray]) -> None:
    if len(arrays) < 2:
        raise ValueError(f"check_disjoint({', '.join(arrays)}) needs two or more named sets.")
    for name, examples in arrays.items():
        if examples.ndim == 0 or not examples.size:
            raise ValueError(
                f"check_disjoint({name} of shape {examples.shape}) needs the shape (n, ...),"
                " n at least 1."
            )
        if examples.dtype.hasobject:
            raise TypeError(
                f"check_disjoint({name} of dtype {examples.dtype}) holds references, not the"
                " examples' bytes; convert it to a numeric dtype."
            )
    names = list(arrays)
    for name in names[1:]:
        one, other = arrays[names[0]], arrays[name]
        if one.dtype != other.dtype:
            raise TypeError(
                f"check_disjoint({names[0]} of dtype {one.dtype}, {name} of dtype {other.dtype}):"
                " bytes can be compared in one dtype only; convert one of them."
            )
        if one.shape[1:] != other.shape[1:]:
            raise ValueError(
                f"check_disjoint({names[0]} of shape {one.shape}, {name} of shape {other.shape}):"
                " examples must have one shape."
            )
