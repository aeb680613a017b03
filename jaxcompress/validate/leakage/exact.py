"""Exact duplicates, and groups that two sets share: equality by digests."""

from collections.abc import Sequence

import numpy as np

from jaxcompress.core.kinds import check_function
from jaxcompress.validate.leakage import equality, matches
from jaxcompress.validate.leakage.blocks import Block
from jaxcompress.validate.leakage.canonical import Canonical, by_value, stored
from jaxcompress.validate.leakage.check import Check, Pairs, Reading, compared
from jaxcompress.validate.leakage.parts import PART, Part, everything, part_of
from jaxcompress.validate.leakage.reports import Overlap


def exact(*, of: Part = everything, canonical: Canonical = stored) -> Check:
    """Looks for examples that are equal, within a set and in two sets.

    Not for: copies that noise, compression or a word made differ; take `near_images`,
    `near_texts` or `near_rows`.

    Args:
      of: `of(examples)`, the part that is compared, such as `lambda xy: xy[0]`; all of
        it by default, so that equal inputs with two labels are two examples.
      canonical: what counts as equal: `stored` (equal bytes), `by_value`, `pixels`,
        `words`, `rounded(step)`, or a function of an array.

    Returns:
      A check for `leakage.check`; 16 bytes are kept of an example.

    Raises:
      TypeError: an argument is no function.

    Example:
      >>> leakage = jc.validate.leakage
      >>> sets = {"a": np.uint8([[0, 255]]), "b": np.float32([[0.0, 1.0]])}
      >>> report = leakage.check(sets, [leakage.exact(canonical=leakage.pixels)])
      >>> report.leaks[0].count
      1

    Also known as: duplicate detection, hash-based deduplication, train-test overlap.
    """
    check_function("exact", "of", of, PART)
    check_function("exact", "canonical", canonical, "For example leakage.by_value.")
    name = getattr(canonical, "__name__", "<")
    how = "a function of yours" if "<" in name else name
    return _equal("exact", f"exact: duplicates, equal by {how}", of, canonical)


def groups(of: Part) -> Check:
    """Looks for groups with examples in two sets: patients, users, documents.

    Not for: examples whose source is not written down; `near_vectors` finds those that
    are alike.

    Examples of one group are alike, so a model that has seen some knows the others, and
    a score on them is no score on new groups.

    Args:
      of: `of(examples)`, the group of each example (n,): numbers of any width, or
        texts.

    Returns:
      A check for `leakage.check`; each example of a later set is paired with the
      earliest of its group in the other. Within one set nothing is compared.

    Raises:
      TypeError: `of` is no function.
      ValueError: when checked, an example has no group, NaN or NaT.

    Example:
      >>> leakage = jc.validate.leakage
      >>> sets = {"train": {"patient": [7, 7, 8]}, "test": {"patient": [9, 8]}}
      >>> report = leakage.check(sets, [leakage.groups(lambda e: e["patient"])])
      >>> report.overlaps[0].pairs
      array([[2, 1]])

    Also known as: group leakage, subject overlap, identity confounding.
    """
    check_function("groups", "of", of, PART)

    def names(array: np.ndarray) -> np.ndarray:
        if array.ndim != 1:
            raise ValueError(
                f"groups(of) gives an array of shape {array.shape}; it needs one group per example,"
                " shape (n,)."
            )
        # Two missing names are equal as bytes, and name no group.
        missing = np.isnat(array) if array.dtype.kind in "mM" else array != array
        if missing.any():
            raise ValueError(
                f"groups(of): {missing.sum()} of {array.size} examples have no group, "
                f"{array[missing][0]}. Leave them out, or give each a name of its own."
            )
        # Numbers of any width name one group; float64 would round large integers.
        if array.dtype.kind in "biu":
            return array.astype(np.int64)
        return by_value(array) if array.dtype.kind == "f" else array

    return _equal("group", "group: examples of one group in two sets", of, names)


def _equal(kind: str, what: str, of: Part, canonical: Canonical) -> Check:
    def update(block: Block, kept: equality.Seen) -> equality.Seen:
        return equality.seen(part_of(of, block.examples), canonical, kept)

    def find(readings: Sequence[Reading], pairs: Pairs) -> list[Overlap]:
        ids = equality.identities(readings, [each.kept for each in readings])
        chosen = compared(readings, pairs)
        if kind == "group":
            chosen = [(i, j) for i, j in chosen if i != j]
        return [
            Overlap(
                kind,
                readings[i].name,
                readings[j].name,
                readings[j].n,
                *(matches.within(ids[i]) if i == j else matches.across(ids[i], ids[j])),
            )
            for i, j in chosen
        ]

    return Check(what, lambda: equality.NOTHING, update, find, rereads=False)
