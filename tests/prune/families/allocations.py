"""Every allocation: one row with its plain loop, which all tables share."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from jaxcompress import prune
from jaxcompress.core.axes import LeafAxes
from jaxcompress.prune.allocations import Allocation, globally, uniform

AXES = {
    "first": LeafAxes((0,), (1,)),
    "layers": LeafAxes((1,), (2,), (0,)),
    "last": LeafAxes((0,), ()),
}
SHAPES = {"first": (3, 4), "layers": (2, 2, 3), "last": (7,)}


def split(values) -> dict[str, np.ndarray]:
    ends = np.cumsum([int(np.prod(shape)) for shape in SHAPES.values()])[:-1]
    parts = np.split(np.array(values, np.float32), ends)
    return {name: part.reshape(SHAPES[name]) for name, part in zip(SHAPES, parts, strict=True)}


def drop_lowest_of_all(scores: dict[str, np.ndarray], sparsity: float) -> dict[str, np.ndarray]:
    """One stable sort over everything laid end to end."""
    everything = np.concatenate([score.ravel() for score in scores.values()])
    keep = np.ones(everything.size, bool)
    count = round(Fraction(float(np.float32(sparsity))) * everything.size)
    keep[np.argsort(everything, kind="stable")[:count]] = False
    return {name: part.astype(bool) for name, part in split(keep).items()}


def slices(scores: dict[str, np.ndarray]) -> dict[str, list[np.ndarray]]:
    """The layers of each leaf, flat, float64."""
    batch = {name: scores[name].shape[i] for name, axes in AXES.items() for i in axes.batch}
    return {
        name: list(score.astype(np.float64).reshape(batch.get(name, 1), -1))
        for name, score in scores.items()
    }


def by_slice(oracle: Callable[[np.ndarray, float], float]) -> Callable:
    """The oracle of one slice's scores and the sparsity for each slice of a leaf."""
    return lambda scores, sparsity: {
        name: [oracle(each, sparsity) for each in layers] for name, layers in slices(scores).items()
    }


def shares_of(masks: dict[str, np.ndarray]) -> dict[str, list[float]]:
    return {name: [np.mean(each == 0) for each in layers] for name, layers in slices(masks).items()}


def by_one_sort(scores: dict[str, np.ndarray], sparsity: float) -> dict[str, list[float]]:
    return shares_of(drop_lowest_of_all(scores, sparsity))


def by_one_sort_of_normalized(scores: dict[str, np.ndarray], sparsity: float):
    normalized = {}
    for name, layers in slices(scores).items():
        sizes = [np.max(np.abs(each)) or 1.0 for each in layers]
        scaled = [each / size for each, size in zip(layers, sizes, strict=True)]
        parts = [each / (np.sqrt(np.sum(each**2)) or 1.0) for each in scaled]
        normalized[name] = np.concatenate(parts).astype(np.float32).reshape(scores[name].shape)
    return by_one_sort(normalized, sparsity)


def keep_one(scores, sparsity):
    return {
        name: [min(share, 1 - 1 / scores[name].size * len(shares)) for share in shares]
        for name, shares in by_one_sort(scores, sparsity).items()
    }


def by_shapes(scores: dict[str, np.ndarray], sparsity: float) -> dict[str, list[float]]:
    """The factor by bisection."""
    rates = {"first": 7 / 12, "layers": 5 / 6, "last": 7 / 7}
    low, high = 0.0, 2.0
    for _ in range(60):
        factor = (low + high) / 2
        density = {name: min(1.0, factor * rate) for name, rate in rates.items()}
        total = sum(density[name] * scores[name].size for name in rates)
        low, high = (factor, high) if total < (1 - sparsity) * 31 else (low, factor)
    return {name: [1 - density[name]] for name in rates}


def relative(scores: dict[str, np.ndarray], sparsity: float) -> dict[str, list[float]]:
    """Relative scores one by one, then one sort."""
    rated = {name: np.zeros(score.size) for name, score in scores.items()}
    for name, layers in slices(scores).items():
        for number, layer in enumerate(layers):
            order = np.argsort(layer, kind="stable")
            for place, index in enumerate(order):
                rest = np.sum(layer[order[place:]] ** 2)
                rated[name][number * layer.size + index] = layer[index] ** 2 / rest
    rated = {name: rated[name].reshape(score.shape) for name, score in scores.items()}
    return by_one_sort(rated, sparsity)


def by_outliers(scores: dict[str, np.ndarray], sparsity: float) -> dict[str, list[float]]:
    layers = [(name, layer) for name, parts in slices(scores).items() for layer in parts]
    found = [np.mean(layer > 2 * layer.mean()) for _, layer in layers]
    ranks = [(each - min(found)) / (max(found) - min(found)) for each in found]
    mean = sum(rank * layer.size for rank, (_, layer) in zip(ranks, layers, strict=True)) / 31
    reach = min(0.2, (1 - sparsity) / mean, sparsity / (1 - mean))
    shares = {name: [] for name in scores}
    for (name, _), rank in zip(layers, ranks, strict=True):
        shares[name].append(sparsity - reach * (rank - mean))
    return shares


def measured(names: Sequence[str]) -> prune.allocations.Sensitivity:
    """Curves of up to three leaves: two cost nothing at first, one falls again."""
    rises = (0.0, 0.1, 0.05, 2.0), (-0.01, 0.0, 0.0, 0.5), (0.02, 0.3, 1.0, 1e4)
    return prune.allocations.Sensitivity(
        (0.25, 0.5, 0.75, 1.0), dict(zip(names, rises, strict=False))
    )


MEASURED = measured(tuple(SHAPES))


def by_one_rise(scores: dict[str, np.ndarray], sparsity: float) -> dict[str, list[float]]:
    """The rise by bisection, then the same part of what lies below and above it."""
    knots = [0.0, *MEASURED.sparsities]

    def furthest(name: str, rise: float) -> float:
        tops = [max(0.0, *MEASURED.rises[name][:k]) if k else 0.0 for k in range(len(knots))]
        k = max(i for i, top in enumerate(tops) if top <= rise)
        if k == len(knots) - 1:
            return 1.0
        return knots[k] + (rise - tops[k]) / (tops[k + 1] - tops[k]) * (knots[k + 1] - knots[k])

    def total(shares: dict[str, float]) -> float:
        return sum(share * scores[name].size for name, share in shares.items())

    target, low, high = sparsity * 31, -1e-9, 1e5
    for _ in range(100):
        middle = (low + high) / 2
        within = middle >= 0 and total({n: furthest(n, middle) for n in scores}) <= target
        low, high = (middle, high) if within or middle < 0 else (low, middle)
    below = {name: furthest(name, low) if low >= 0 else 0.0 for name in scores}
    above = {name: furthest(name, max(high, 0.0)) for name in scores}
    room = total(above) - total(below)
    part = min((target - total(below)) / room, 1.0) if room > 0 else 0.0
    return {n: [below[n] + part * (above[n] - below[n])] for n in scores}


class Row(NamedTuple):
    """An allocation.

    Attributes:
      make: names of the leaves -> allocation.
      oracle: (scores, sparsity) -> the shares of every slice of `SHAPES`, in NumPy.
      total: whether all that is asked for goes.
    """

    make: Callable[[Sequence[str]], Allocation]
    oracle: Callable[[dict[str, np.ndarray], float], dict[str, list[float]]]
    total: bool = True


ALLOCATIONS = {
    "uniform": Row(lambda _: uniform, by_slice(lambda scores, sparsity: sparsity)),
    "globally": Row(lambda _: globally, by_one_sort),
    "globally_normalized": Row(
        lambda _: prune.allocations.globally_normalized, by_one_sort_of_normalized
    ),
    "erk": Row(lambda _: prune.allocations.erk, by_shapes),
    "lamp": Row(lambda _: prune.allocations.lamp, relative),
    "outliers": Row(lambda _: prune.allocations.outliers(2.0, 0.1), by_outliers),
    "below": Row(
        lambda _: prune.allocations.below(0.5),
        by_slice(lambda scores, sparsity: min(np.mean(scores < 0.5), sparsity)),
        total=False,
    ),
    "below_deviations": Row(
        lambda _: prune.allocations.below_deviations(0.7),
        by_slice(
            lambda scores, sparsity: min(
                np.mean(scores < 0.7 * np.sqrt(np.mean(scores[scores != 0] ** 2))), sparsity
            )
        ),
        total=False,
    ),
    "by_sensitivity": Row(
        lambda names: prune.allocations.by_sensitivity(measured(names)), by_one_rise
    ),
    "floored": Row(lambda _: prune.allocations.floored(globally, 1), keep_one, total=False),
}
