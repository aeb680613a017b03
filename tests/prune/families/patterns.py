"""Every pattern: one row with its plain loop, which all tables share."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from jaxcompress import prune
from jaxcompress.prune.patterns import Pattern


class Row(NamedTuple):
    """A pattern.

    Attributes:
      pattern: under test.
      oracle: (scores (inputs, outputs), sparsity) -> mask, in NumPy; None for a pattern
        that looks at the axes of a leaf.
      pieces: (outputs…, inputs) -> of how many pieces slices of a leaf share the total;
        0 where each output or run has its own count.
      removed: (outputs…, inputs, sparsity) -> how many weights go of a matrix; by
        default as many as the oracle drops.
    """

    pattern: Pattern
    oracle: Callable[[np.ndarray, float], np.ndarray] | None
    pieces: Callable[[tuple[int, ...], int], int] = lambda outputs, inputs: 0
    removed: Callable[[tuple[int, ...], int, float], int] | None = None

    def dropped(self, outputs: tuple[int, ...], inputs: int, sparsity: float) -> int:
        """How many weights of one matrix go, whatever its scores."""
        if self.removed is not None:
            return self.removed(outputs, inputs, sparsity)
        return int(np.sum(~self.oracle(np.ones((inputs, math.prod(outputs))), sparsity)))


def exact_count(sparsity: float, size: int) -> int:
    """Halves to even, in rational numbers; the sparsity is a float32."""
    return round(Fraction(float(np.float32(sparsity))) * size)


def keep_highest(scores: np.ndarray, dropped: int) -> np.ndarray:
    """One group, by a stable sort in which a NaN comes first."""
    keep = np.ones(scores.size, bool)
    keep[np.lexsort((scores.ravel(), ~np.isnan(scores.ravel())))[:dropped]] = False
    return keep.reshape(scores.shape)


def drop_lowest(scores: np.ndarray, sparsity: float) -> np.ndarray:
    return keep_highest(scores, exact_count(sparsity, scores.size))


def by_output(oracle: Callable) -> Callable:
    """The oracle of one output's inputs for each column of a matrix."""
    return lambda scores, sparsity: np.stack([oracle(each, sparsity) for each in scores.T], axis=1)


def by_runs(size: int, most: int) -> Callable:
    """Every `size` inputs drop their share, at most `most`; missing ones go first."""

    def of_run(run, sparsity):
        dropped = min(exact_count(sparsity, size), most)
        return keep_highest(run, max(0, dropped - (size - run.size)))

    def of_output(column, sparsity):
        runs = [column[i : i + size] for i in range(0, column.size, size)]
        return np.concatenate([of_run(run, sparsity) for run in runs])

    return by_output(of_output)


def by_blocks(height: int | None, width: int | None) -> Callable:
    """Blocks of (outputs, inputs), by a loop; None is all of them."""

    def of_matrix(scores, sparsity):
        inputs, outputs = scores.shape
        tops = range(0, outputs, height or outputs)
        lefts = range(0, inputs, width or inputs)
        cells = [
            (slice(left, left + (width or inputs)), slice(top, top + (height or outputs)))
            for top in tops
            for left in lefts
        ]
        means = [np.mean(scores[cell], dtype=np.float64) for cell in cells]
        keep = np.ones(scores.shape, bool)
        for cell, kept in zip(cells, drop_lowest(np.array(means), sparsity), strict=True):
            keep[cell] = kept
        return keep

    return of_matrix


def along(axis: int) -> Callable:
    """Whole indices of one of the output axes."""
    return lambda outputs, inputs, sparsity: (
        exact_count(sparsity, outputs[axis]) * inputs * math.prod(outputs) // outputs[axis]
    )


def heads_if_any(scores, sparsity, leaf_axes):
    pattern = prune.patterns.heads if len(leaf_axes.output) > 1 else prune.patterns.outputs
    return pattern(scores, sparsity, leaf_axes)


PATTERNS = {
    "unstructured": Row(
        prune.patterns.unstructured, drop_lowest, lambda outputs, i: math.prod(outputs) * i
    ),
    "within outputs": Row(prune.patterns.within_outputs, by_output(drop_lowest)),
    "pairs": Row(prune.patterns.within_groups(2), by_runs(2, 2)),
    "2:4": Row(prune.patterns.n_of_m(2, 4), by_runs(4, 2)),
    "padded 1:3": Row(prune.patterns.padded(prune.patterns.n_of_m(1, 3), 3), by_runs(3, 2)),
    "outputs": Row(
        prune.patterns.outputs, by_blocks(1, None), lambda outputs, i: math.prod(outputs)
    ),
    "inputs": Row(prune.patterns.inputs, by_blocks(None, 1), lambda outputs, i: i),
    "blocks": Row(
        prune.patterns.blocks((4, 2)),
        by_blocks(4, 2),
        lambda outputs, i: -(-math.prod(outputs) // 4) * -(-i // 2),
    ),
    "heads": Row(heads_if_any, None, lambda outputs, i: outputs[0], along(0)),
    "slices": Row(prune.patterns.slices(-1), None, lambda outputs, i: outputs[-1], along(-1)),
}
