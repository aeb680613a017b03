"""How much each leaf gives, for every allocation against NumPy, and exact totals."""

import json
import re
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcompress import prune
from jaxcompress.core.axes import LeafAxes
from jaxcompress.prune.allocations import Allocation, globally, uniform
from jaxcompress.prune.patterns import unstructured

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


# Below the first knot two leaves cost nothing, and one curve falls again.
MEASURED = prune.allocations.Sensitivity(
    (0.25, 0.5, 0.75, 1.0),
    {
        "first": (0.0, 0.1, 0.05, 2.0),
        "layers": (-0.01, 0.0, 0.0, 0.5),
        "last": (0.02, 0.3, 1.0, 1e4),
    },
)


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


class Case(NamedTuple):
    """An allocation, the shares of every slice by NumPy, and whether totals match."""

    name: str
    allocate: Allocation
    oracle: Callable[[dict[str, np.ndarray], float], dict[str, list[float]]]
    total: bool = True


ALLOCATIONS = [
    Case("uniform", uniform, oracle=by_slice(lambda scores, sparsity: sparsity)),
    Case("globally", globally, oracle=by_one_sort),
    Case("by shapes", prune.allocations.erk, oracle=by_shapes),
    Case("relative", prune.allocations.lamp, oracle=relative),
    Case("by outliers", prune.allocations.outliers(2.0, 0.1), oracle=by_outliers),
    Case(
        "below",
        prune.allocations.below(0.5),
        oracle=by_slice(lambda scores, sparsity: min(np.mean(scores < 0.5), sparsity)),
        total=False,
    ),
    Case(
        "below deviations",
        prune.allocations.below_deviations(0.7),
        oracle=by_slice(
            lambda scores, sparsity: min(
                np.mean(scores < 0.7 * np.sqrt(np.mean(scores[scores != 0] ** 2))), sparsity
            )
        ),
        total=False,
    ),
    Case("by sensitivity", prune.allocations.by_sensitivity(MEASURED), oracle=by_one_rise),
    Case("floored", prune.allocations.floored(globally, 1), oracle=keep_one, total=False),
]


@pytest.mark.parametrize("case", ALLOCATIONS, ids=lambda case: case.name)
def test_shares_equal_the_oracle(case):
    random = np.random.default_rng(0)
    scores = split(np.where(random.random(31) < 0.1, 0, random.exponential(size=31)))
    sizes = {name: scores[name].size / len(layers) for name, layers in slices(scores).items()}

    @jax.jit
    def allocate(arrays, sparsity):  # jit would sort a dict
        return case.allocate(dict(zip(SHAPES, arrays, strict=True)), AXES, sparsity)

    for sparsity in (0.0, 0.02, 0.3, 0.8, 0.97, 1.0):
        shares = allocate(list(scores.values()), sparsity)
        total = 0.0
        for name, expected in case.oracle(scores, sparsity).items():
            share = np.ravel(shares[name])
            assert np.ndim(shares[name]) in (0, scores[name].ndim)
            # A few roundings of numbers up to 31, relative to them.
            np.testing.assert_allclose(share, np.resize(expected, share.shape), atol=2**-20)
            assert np.all((share >= 0) & (share <= 1))
            total += np.sum(np.resize(share, scores[name].size // int(sizes[name]))) * sizes[name]
        if case.total:
            # Half a weight is lost where the total is a whole number of weights.
            assert abs(total - sparsity * 31) <= 0.5 + 1e-4


@pytest.mark.parametrize(("least", "kept"), [(1, [1, 2, 1]), (0.3, [4, 4, 3]), (50, [12, 12, 7])])
def test_a_floor_keeps_weights_or_a_share(least, kept):
    scores = {name: jnp.array(score) for name, score in split(range(31)).items()}
    shares = prune.allocations.floored(uniform, least)(scores, AXES, 1.0)
    left = [(1 - float(shares[name].ravel()[0])) * scores[name].size for name in AXES]
    np.testing.assert_allclose(left, kept, atol=2**-18)


@jax.jit
def masks_under_one_threshold(scores: list, sparsity) -> list:
    arrays = dict(zip(SHAPES, scores, strict=True))
    shares = globally(arrays, AXES, sparsity)
    return [unstructured(arrays[name], shares[name], AXES[name]) for name in SHAPES]


@given(st.lists(st.integers(0, 6), min_size=31, max_size=31), st.floats(0, 1, width=32))
def test_globally_equals_one_sort_over_all_leaves(values, sparsity):
    scores = split(values)
    masks = masks_under_one_threshold(list(scores.values()), jnp.float32(sparsity))
    for mask, expected in zip(masks, drop_lowest_of_all(scores, sparsity).values(), strict=True):
        np.testing.assert_array_equal(mask, expected)


def test_shares_by_sensitivity_never_fall_and_the_total_is_exact():
    allocate = prune.allocations.by_sensitivity(
        prune.allocations.Sensitivity(**json.loads(json.dumps(MEASURED._asdict())))
    )
    scores = {name: jnp.array(score) for name, score in split(range(31)).items()}
    sparsities = np.linspace(0, 1, 129, dtype=np.float32)
    shares = jax.jit(jax.vmap(lambda sparsity: allocate(scores, AXES, sparsity)))(sparsities)
    assert all(np.all(np.diff(share) >= -(2.0**-23)) for share in shares.values())
    total = sum(shares[name] * score.size for name, score in scores.items())
    # Three products and their sum, of numbers up to 31.
    np.testing.assert_allclose(total, sparsities * 31, rtol=0, atol=31 * 4 * 2**-24)
    assert [float(share[0]) for share in shares.values()] == [0.0] * 3
    assert [float(share[-1]) for share in shares.values()] == [1.0] * 3


def test_globally_gives_every_slice_its_share():
    arrays = {name: jnp.array(score) for name, score in split(range(31)).items()}
    shares = jax.jit(lambda arrays: globally(arrays, AXES, 15 / 31))(arrays)
    expected = {"first": [[1.0]], "layers": [[[0.5]], [[0.0]]], "last": [0.0]}
    for name, share in shares.items():
        assert share.dtype == jnp.float32
        np.testing.assert_array_equal(share, expected[name])


@pytest.mark.parametrize(
    ("axis_type", "allocate"),
    [
        (AxisType.Auto, globally),
        (AxisType.Explicit, globally),
        (AxisType.Explicit, prune.allocations.lamp),
    ],
)
def test_shares_are_the_same_on_eight_devices(mesh, axis_type, allocate):
    random = np.random.default_rng(0)
    scores = {name: random.integers(0, 9, (8, 4, 4)).astype("f4") for name in ("first", "last")}
    axes = dict.fromkeys(scores, AXES["layers"])
    devices = mesh(layers=2, rows=4, axis_type=axis_type)
    sharding = NamedSharding(devices, P("layers", "rows"))
    jitted = jax.jit(lambda scores: allocate(scores, axes, 0.6))
    expected = jitted(scores)
    with jax.set_mesh(devices):
        shares = jitted(jax.device_put(scores, sharding))
    jax.tree.map(np.testing.assert_array_equal, shares, expected)


REFUSED = {
    "threshold": (
        lambda: prune.allocations.below(float("nan")),
        "below(threshold=nan) must be a finite",
    ),
    "deviations": (
        lambda: prune.allocations.below_deviations(0),
        "below_deviations(deviations=0) must be",
    ),
    "multiple": (
        lambda: prune.allocations.outliers(multiple=0),
        "outliers(multiple=0) must be above 0",
    ),
    "spread": (
        lambda: prune.allocations.outliers(spread=-1),
        "outliers(spread=-1) must be above 0",
    ),
    "nothing": (
        lambda: prune.allocations.floored(uniform, 0),
        "floored(least=0) must be a share in (0, 1)",
    ),
    "no end": (
        lambda: prune.allocations.by_sensitivity(
            prune.allocations.Sensitivity((0.5,), {"first": (1.0,)})
        ),
        "by_sensitivity(sensitivity): sparsities (0.5,) must rise from above 0 to 1.",
    ),
    "rises": (
        lambda: prune.allocations.by_sensitivity(
            prune.allocations.Sensitivity((1.0,), {"first": (float("nan"),)})
        ),
        "by_sensitivity(sensitivity): leaf 'first' has rises (nan,). Give a finite number",
    ),
    "unmeasured": (
        lambda: prune.allocations.by_sensitivity(MEASURED)({"head": jnp.ones(2)}, {}, 0.5),
        "by_sensitivity(sensitivity): leaf 'head' was not measured. Leaves are: first, layers",
    ),
    "a half": (
        lambda: prune.allocations.floored(uniform, 1.5),
        "floored(least=1.5) must be a share",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_numbers_are_refused(name):
    call, message = REFUSED[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_too_many_weights_are_refused():
    large = jax.ShapeDtypeStruct((2**16, 2**15), jnp.float32)
    with pytest.raises(ValueError, match=r"globally\(scores\) counts fewer than 2\*\*31"):
        globally({"first": large}, AXES, 0.5)


def test_uniform_gives_all_the_same():
    assert uniform(split(range(31)), AXES, 0.25) == dict.fromkeys(SHAPES, 0.25)
