"""The verb: named sets and checks in, one report out."""

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxcompress.core.checks import check_concrete
from jaxcompress.core.kinds import check_each, check_function, check_kind, check_mapping
from jaxcompress.core.messages import shown
from jaxcompress.core.types import PyTree
from jaxcompress.validate.leakage.blocks import Block, blocks, can_be_read_again, count, gather
from jaxcompress.validate.leakage.reports import LeakageReport, LeakingFeature, Note, Overlap

SETS = 'It is a dict from names to sets: {"train": x_train, "test": x_test}.'

Pairs = Callable[[str, str], bool]
"""Whether two sets, the same name twice for one set, are to be compared."""


class Reading(NamedTuple):
    """One set as a check has seen it.

    Attributes:
      caller: the name that errors give.
      name: of the set.
      n: number of its examples.
      kept: what the check's `update` made of its blocks.
      blocks: `blocks()` gives its blocks once more.
      again: `again(indices)` gives the examples of ascending indices once more.
    """

    caller: str
    name: str
    n: int
    kept: Any
    blocks: Callable[[], Iterator[Block]]
    again: Callable[[np.ndarray], PyTree]


class Check(NamedTuple):
    """One thing to look for.

    Attributes:
      what: kind of the leak, a colon, and in words what counts as one.
      init: `init() -> kept`, before the first block of a set.
      update: `update(block, kept) -> kept`; what is kept is small beside the block.
      find: `find(readings, pairs) -> findings`, over the pairs of sets of `compared`.
      rereads: whether `find` looks at chosen examples again.
    """

    what: str
    init: Callable[[], Any]
    update: Callable[[Block, Any], Any]
    find: Callable[[Sequence[Reading], Pairs], Sequence[Overlap | LeakingFeature | Note]]
    rereads: bool


def every_pair(first: str, second: str) -> bool:
    """Compares every two sets, and each with itself.

    Args:
      first: name of a set.
      second: name of a later one, or the same.

    Returns:
      True.
    """
    return True


def between_sets(first: str, second: str) -> bool:
    """Compares every two sets, and none with itself: repeats inside a set are allowed.

    Args:
      first: name of a set.
      second: name of a later one, or the same.

    Returns:
      Whether the names differ.
    """
    return first != second


def check(
    sets: Mapping[str, Any], checks: Sequence[Check], *, pairs: Pairs = every_pair
) -> LeakageReport:
    """What sets of examples that must be apart have in common, in one report.

    Sets are read once, a block at a time; checks keep digests and not examples, so a
    set may be larger than memory. Those of near duplicates read it again: for sketches,
    and to judge candidates, a thousand or so of the looked up at a time.
    A report of a search is no proof of absence: `not_checked` says what was left out.

    Args:
      sets: by name, at least one. Each is an array (n, ...), a list of texts, a tuple
        or dict of these with one first axis, an iterable of chunks of such, or a
        function without arguments that gives one. The order is that of time where a
        check asks for it.
      checks: at least one of `exact()`, `near_images()`, `near_texts()`, `near_rows()`,
        `near_vectors(embed)`, `groups(of)`, `times(of)`, `features(of, target)`.
      pairs: `pairs(first, second)`, which sets to compare: `every_pair` looks into each
        set as well, `between_sets` does not.

    Returns:
      The report; `print` it, `to_json()` stores it.

    Raises:
      TypeError: sets or checks are of another kind; examples are no arrays or texts, or
        of dtypes that cannot be compared; an iterator that would be read twice.
      ValueError: no sets, no checks, an empty set, shapes that cannot be compared.

    Example:
      >>> leakage = jc.validate.leakage
      >>> train, test = np.array([[1, 2], [3, 4]]), np.array([[3, 4], [5, 6]])
      >>> report = leakage.check({"train": train, "test": test}, [leakage.exact()])
      >>> print(report.leaks[0])
      exact  train / test: 1 of 2 in test, test[0] ~ train[1]
    """
    _check_call(sets, checks, pairs)
    return search("check", sets, checks, pairs)


def search(
    caller: str, sets: Mapping[str, Any], checks: Sequence[Check], pairs: Pairs
) -> LeakageReport:
    """What `check` gives, of checked arguments; errors name the caller and the set."""
    kept = {name: [each.init() for each in checks] for name in sets}
    sizes = dict.fromkeys(sets, 0)
    for name, examples in sets.items():
        for block in blocks(caller, name, examples):
            kept[name] = [
                each.update(block, so_far) for each, so_far in zip(checks, kept[name], strict=True)
            ]
            sizes[name] = block.start + count(block.examples)
        if not sizes[name]:
            raise ValueError(f"{caller}({name}) holds no examples.")
    found: list[Overlap | LeakingFeature | Note] = []
    for at, each in enumerate(checks):
        readings = [
            Reading(
                caller,
                name,
                sizes[name],
                kept[name][at],
                functools.partial(blocks, caller, name, examples),
                functools.partial(gather, caller, name, examples),
            )
            for name, examples in sets.items()
        ]
        found += each.find(readings, pairs)
    return LeakageReport(
        sets=sizes,
        checked=tuple(each.what for each in checks),
        overlaps=tuple(each for each in found if isinstance(each, Overlap)),
        features=tuple(each for each in found if isinstance(each, LeakingFeature)),
        notes=tuple(each.text for each in found if isinstance(each, Note)),
    )


def compared(readings: Sequence[Reading], pairs: Pairs) -> list[tuple[int, int]]:
    """Positions of sets to compare, the earlier first; twice the same for one set."""
    every = itertools.combinations_with_replacement(range(len(readings)), 2)
    return [(i, j) for i, j in every if pairs(readings[i].name, readings[j].name)]


def _check_call(sets: Any, checks: Any, pairs: object) -> None:
    check_concrete("check")
    check_mapping("check", "sets", sets, SETS)
    _check_names(sets)
    check_each(
        "check",
        "checks",
        checks,
        lambda caller, argument, each: check_kind(
            caller, argument, each, Check, "For example leakage.exact()."
        ),
    )
    if not checks:
        raise ValueError("check(checks) holds no check. For example [leakage.exact()].")
    check_function("check", "pairs", pairs, "For example leakage.between_sets.")
    for name, examples in sets.items():
        if any(each.rereads for each in checks) and not can_be_read_again(examples):
            raise TypeError(
                f"check(sets): {name!r} is an iterator, which is read once, and near duplicates"
                " are looked at again. Pass a function that gives the chunks anew."
            )


def _check_names(sets: Any) -> None:
    if not sets:
        raise ValueError(f"check(sets) holds no set. {SETS}")
    for name in sets:
        if not isinstance(name, str) or not name:
            raise TypeError(f"check(sets): the name {shown(name)} must be a text. {SETS}")
