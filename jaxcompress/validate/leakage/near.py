"""Near duplicates: candidates from sketches, each judged by a true distance.

What a sketch is and when two examples are alike is said in `images`, `texts`, `tables`.
Sets are read for digests and statistics, for sketches, and once more to judge each
thousand or so of the examples that are looked up.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxcompress.core.types import PyTree
from jaxcompress.validate.leakage import equality, matches
from jaxcompress.validate.leakage.blocks import Block, count, rows
from jaxcompress.validate.leakage.buckets import Buckets, distinct
from jaxcompress.validate.leakage.canonical import Canonical
from jaxcompress.validate.leakage.check import Check, Pairs, Reading, compared
from jaxcompress.validate.leakage.matches import Match
from jaxcompress.validate.leakage.parts import Part, part_of
from jaxcompress.validate.leakage.reports import Overlap

JUDGED = 1 << 14
"""Pairs judged at once."""
LOOKED_UP = 1 << 12
"""Examples of a second set whose candidates are held at once."""


Sketch = Callable[[PyTree], tuple[np.ndarray, ...]]


class Method(NamedTuple):
    """How near duplicates of one kind of data are found.

    Attributes:
      plain: of a part (n, ...), a tuple of arrays (n, ...), small beside it: the sketch
        of examples that are only looked up.
      sketch: the same with all variants, of examples that look others up.
      candidates: of the sketches of two sets, batches (k, 3) int64 of first example,
        second example and variant of the second.
      one: of a part, what is judged of examples of the first set, an array (n, ...).
      variants: of a part, the same of the second's variants, (n, variants, ...).
      alike: of k rows of each, scores (k,), and which are near duplicates (k,) bool.
    """

    plain: Sketch
    sketch: Sketch
    candidates: Callable[[tuple[Any, ...], tuple[Any, ...]], Iterator[np.ndarray]]
    one: Callable[[PyTree], np.ndarray]
    variants: Callable[[PyTree], np.ndarray]
    alike: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


class Kept(NamedTuple):
    """What is kept of a set at first sight.

    Attributes:
      equality: forms and digests.
      statistics: what `learn` made of its blocks.
    """

    equality: equality.Seen
    statistics: Any


def nothing(part: PyTree, start: int, statistics: Any) -> None:
    """For methods that learn nothing of all sets before they sketch."""


def near(
    what: str,
    of: Part,
    canonical: Canonical,
    method: Callable[[list[Any]], Method],
    learn: Callable[[PyTree, int, Any], Any] = nothing,
) -> Check:
    """The check that finds near duplicates by a method.

    Args:
      what: in words.
      of: the part of examples that is compared.
      canonical: examples equal in this form are near duplicates of score 1; of equal
        ones only the earliest is searched.
      method: from the statistics of all sets.
      learn: `learn(part, start, statistics) -> statistics` of a set's blocks, beginning
        with None.
    """

    def update(block: Block, kept: Kept) -> Kept:
        part = part_of(of, block.examples)
        return Kept(
            equality.seen(part, canonical, kept.equality), learn(part, block.start, kept.statistics)
        )

    def find(readings: Sequence[Reading], pairs: Pairs) -> list[Overlap]:
        chosen = compared(readings, pairs)
        ids = equality.identities(readings, [each.kept.equality for each in readings])
        by = method([each.kept.statistics for each in readings])
        looking = {j for _, j in chosen}
        sides = {
            i: _side(readings[i], ids[i], of, by.sketch if i in looking else by.plain)
            for i in sorted(looking.union(i for i, _ in chosen))
        }
        return [
            Overlap(
                "near",
                readings[i].name,
                readings[j].name,
                readings[j].n,
                *_match(sides[i], sides[j], of, by),
            )
            for i, j in chosen
        ]

    return Check(what, lambda: Kept(equality.NOTHING, None), update, find, rereads=True)


class Side(NamedTuple):
    """One set of a comparison.

    Attributes:
      reading: the set.
      ids: (n,), equal where examples are.
      searched: (m,) ascending, the earliest of equal examples.
      sketch: of these.
    """

    reading: Reading
    ids: np.ndarray
    searched: np.ndarray
    sketch: tuple[np.ndarray, ...]


def _side(reading: Reading, ids: np.ndarray, of: Part, sketch: Sketch) -> Side:
    searched = np.sort(np.unique(ids, return_index=True)[1])
    found = []
    for block in reading.blocks():
        low, high = np.searchsorted(searched, (block.start, block.start + count(block.examples)))
        part = rows(part_of(of, block.examples), searched[low:high] - block.start)
        if high > low:
            found.append(sketch(part))
    columns = zip(*found, strict=True)
    return Side(reading, ids, searched, tuple(np.concatenate(column) for column in columns))


def _match(first: Side, second: Side, of: Part, method: Method) -> Match:
    """Equal examples, and those of the searched ones that are judged alike."""
    same = first is second
    equal = matches.within(first.ids) if same else matches.across(first.ids, second.ids)
    pairs, scores = [equal.pairs], [equal.scores]
    for batch in method.candidates(first.sketch, second.sketch):
        triples = batch[batch[:, 0] < batch[:, 1]] if same else batch
        # The searched ones ascend, so < says which is earlier.
        triples = np.stack(
            [first.searched[triples[:, 0]], second.searched[triples[:, 1]], triples[:, 2]], axis=1
        )
        kept, of_kept = _judged(first.reading, second.reading, triples, of, method)
        pairs.append(kept)
        scores.append(of_kept)
    found = matches.witnesses(np.concatenate(pairs), np.concatenate(scores))
    return matches.spread(found, first.ids, second.ids, same)


def _judged(
    first: Reading, second: Reading, triples: np.ndarray, of: Part, method: Method
) -> tuple[np.ndarray, np.ndarray]:
    """The pairs (k, 2) that are alike, and their scores (k,)."""
    triples = triples[np.argsort(triples[:, 0], kind="stable")]
    pairs, scores = [triples[:0, :2]], [np.empty(0)]
    if not len(triples):
        return pairs[0], scores[0]
    wanted, places = np.unique(triples[:, 1], return_inverse=True)
    others = method.variants(part_of(of, second.again(wanted)))
    for block in first.blocks():
        stop = block.start + count(block.examples)
        low, high = np.searchsorted(triples[:, 0], (block.start, stop))
        if low == high:
            continue
        met, at = np.unique(triples[low:high, 0], return_inverse=True)
        here = method.one(rows(part_of(of, block.examples), met - block.start))
        for start in range(low, high, JUDGED):
            piece = slice(start, min(high, start + JUDGED))
            score, alike = method.alike(
                here[at[piece.start - low : piece.stop - low]],
                others[places[piece], triples[piece, 2]],
            )
            pairs.append(triples[piece, :2][alike])
            scores.append(score[alike])
    return np.concatenate(pairs), np.concatenate(scores)


def of_equal_keys(first: np.ndarray, second: np.ndarray) -> Iterator[np.ndarray]:
    """Candidates (k, 3) that have an equal key in any column, each pair once.

    Args:
      first: (n, columns) uint64.
      second: (m, columns) uint64.
    """
    tables = [Buckets(column) for column in first.T]
    for start in range(0, len(second), LOOKED_UP):
        keys = second[start : start + LOOKED_UP]
        found = [np.empty(0, np.int64)]
        for table, column in zip(tables, keys.T, strict=True):
            found += [distinct(at * len(first) + one) for at, one in table.pairs(column)]
        at, one = np.divmod(distinct(np.concatenate(found)), len(first))
        yield np.stack([one, start + at, np.zeros_like(at)], axis=1)
