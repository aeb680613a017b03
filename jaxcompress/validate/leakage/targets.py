"""Features that give the target away, each alone, and the order of the rows."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxcompress.core.checks import check_inside
from jaxcompress.core.kinds import check_function
from jaxcompress.core.types import PyTree
from jaxcompress.validate.leakage.blocks import Block
from jaxcompress.validate.leakage.buckets import mixed
from jaxcompress.validate.leakage.check import Check, Pairs, Reading
from jaxcompress.validate.leakage.parts import PART, Part, part_of
from jaxcompress.validate.leakage.reports import LeakingFeature, Note
from jaxcompress.validate.leakage.samples import Sample, sampled
from jaxcompress.validate.leakage.single import (
    Binned,
    Score,
    binned,
    columns_of,
    variance_explained,
)

SAMPLED = 4096
"""Rows of a set that are looked at, half to fit and half to score."""
FEWEST = 20
"""Rows without which no score says anything."""
SHUFFLES = 199
"""Of the target, from which chance is known to 1 in 200."""
CHANCE = 0.01
"""Probability above which a score is chance."""
ROW_ORDER = "row order"


def features(
    of: Part, target: Part, *, score: Score = variance_explained, least: float = 0.8
) -> Check:
    """Looks for features that alone predict the target too well, and rows in its order.

    Not for: features that leak together only; look for them by training a model on a
    few at a time.

        p = (1 + shuffles whose best feature scores as high) / (1 + shuffles)
        leaks: score >= least and p <= 0.01

    Half of a sample of 4,096 rows fits the bins of each feature, the other half scores
    them; the target is shuffled 199 times, and the best of all features each time is
    what a score must beat, so p is corrected for their number. The index of a row is
    looked at as a feature. Constants and columns that name the row are noted.

    What is too well is yours to say: a feature may rightly know much. A feature that
    leaks together with another only is not seen.

    Args:
      of: `of(examples)`, the features: numbers (n, d), or a dict or tuple of columns,
        numbers or texts. NaN is a value of its own, since that it is missing may leak.
      target: `target(examples)`, (n,): floating numbers, or classes of another dtype.
      score: `variance_explained` (R², of classes the Brier skill score), `separation`
        (2 · AUC - 1), `information` (share of the target's entropy) or a function like
        these.
      least: score of a leak, in (0, 1).

    Returns:
      A check for `leakage.check`, which looks at each set by itself.

    Raises:
      TypeError: `of`, `target` or `score` is no function.
      ValueError: `least` is out of range.

    Example:
      >>> leakage = jc.validate.leakage
      >>> rng = np.random.default_rng(0)
      >>> x, y = rng.normal(size=(200, 3)), rng.integers(0, 2, 200)
      >>> x[:, 1] = y + 0.01 * x[:, 1]
      >>> looked_for = leakage.features(lambda e: e[0], lambda e: e[1])
      >>> report = leakage.check({"train": (x, y)}, [looked_for])
      >>> [(leak.name, round(leak.score, 1)) for leak in report.features]
      [('1', 1.0)]

    Also known as: target leakage, giveaway features, label leakage.

    Source: Kaufman et al. 2012, "Leakage in data mining", for the term; Westfall and
    Young 1993 for the correction by the best of all.
    """
    check_function("features", "of", of, PART)
    check_function("features", "target", target, "It takes the examples and gives the targets.")
    check_function("features", "score", score, "For example leakage.separation.")
    check_inside("features", "least", least, 0, 1)

    def update(block: Block, kept: Sample | None) -> Sample:
        part = {"of": part_of(of, block.examples), "target": part_of(target, block.examples)}
        return sampled(part, block.start, kept, SAMPLED)

    def find(readings: Sequence[Reading], pairs: Pairs) -> list[LeakingFeature | Note]:
        return [found for each in readings for found in _leaks(each, score, least)]

    name = getattr(score, "__name__", "a function")
    return Check(
        f"target: single features by {name} of {least:g}", lambda: None, update, find, rereads=False
    )


def _leaks(reading: Reading, score: Score, least: float) -> list[LeakingFeature | Note]:
    sample: Sample = reading.kept
    n = len(sample.indices)
    if n < FEWEST:
        raise ValueError(
            f"features(of, target): {reading.name!r} has {n} examples; at least {FEWEST} are"
            " needed to tell a leak from chance."
        )
    columns = _named(sample.rows["of"])
    targets = columns_of("features", sample.rows["target"])
    if (targets == targets[:1]).all():
        raise ValueError(
            f"features(of, target): all {n} examples of {reading.name!r} have one target, which"
            " every feature gives away and none does. Look at how it was read."
        )
    order = np.argsort(mixed(sample.indices + (1 << 62)), kind="stable")
    fit, held = order[: n // 2], order[n // 2 :]
    every = {**columns, ROW_ORDER: sample.indices.astype(np.float64)}
    bins = {name: binned(column[fit], column[held]) for name, column in every.items()}
    shuffled = _shuffled(targets[held])
    best = np.full(SHUFFLES, -np.inf)
    scores: dict[str, float] = {}
    for name, each in bins.items():
        found = _scores(score, each, targets[fit], shuffled)
        scores[name], best = float(found[0]), np.maximum(best, found[1:])
    leaks: list[LeakingFeature | Note] = []
    for at, (name, value) in enumerate(scores.items()):
        p = float((1 + np.sum(best >= value)) / (1 + SHUFFLES))
        if value >= least and p <= CHANCE:
            leaks.append(
                LeakingFeature(reading.name, -1 if name == ROW_ORDER else at, name, value, p)
            )
    return leaks + _notes(reading.name, columns)


def _scores(score: Score, bins: Binned, fitted: np.ndarray, scored: np.ndarray) -> np.ndarray:
    found = np.asarray(score(bins, fitted, scored), np.float64)
    if found.shape != (len(scored),) or not np.isfinite(found).all():
        raise ValueError(
            f"features(score) gives shape {found.shape}; it needs ({len(scored)},), one finite"
            " score for each of the targets."
        )
    return found


def _shuffled(targets: np.ndarray) -> np.ndarray:
    """The targets as they are, and shuffled: (1 + shuffles, m, columns)."""
    rng = np.random.default_rng(0)
    orders = [np.arange(len(targets)), *(rng.permutation(len(targets)) for _ in range(SHUFFLES))]
    return np.stack([targets[order] for order in orders])


def _named(part: PyTree) -> dict[str, np.ndarray]:
    """The columns by name: indices of a table, names of the leaves of a tree."""
    found: dict[str, np.ndarray] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(part):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if leaf.ndim > 2 or leaf.dtype.kind in "cMm":
            raise ValueError(
                f"features(of) gives {leaf.dtype}{list(leaf.shape)}; features are numbers or texts,"
                " (n,) or (n, d). Of dates take numbers."
            )
        columns = leaf.reshape(len(leaf), -1).T
        names = (
            [name]
            if leaf.ndim == 1 and name
            else [f"{name}/{at}" if name else f"{at}" for at in range(len(columns))]
        )
        found |= dict(zip(names, map(_column, columns), strict=True))
    return found


def _column(column: np.ndarray) -> np.ndarray:
    # Infinities would make NaN of the means between quantiles.
    return column if column.dtype.hasobject else np.clip(column.astype(np.float64), -1e300, 1e300)


def _notes(name: str, columns: dict[str, Any]) -> list[Note]:
    notes = []
    for feature, column in columns.items():
        values = column.astype(str) if column.dtype.hasobject else column
        different = np.unique(values).size
        whole = column.dtype.hasobject or np.all(column == np.rint(column))
        if different == 1:
            notes.append(Note(f"{name}: feature {feature} is constant"))
        elif different == len(column) and whole:
            notes.append(
                Note(f"{name}: feature {feature} is another in every row, as an identifier is")
            )
    return notes
