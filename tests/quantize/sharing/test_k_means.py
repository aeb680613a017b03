"""Codebooks by k-means: zero stays, never above even steps, best of small cases."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.quantize import formats, quantize, rounding, sharing
from jaxcompress.quantize.sharing import starts
from jaxcompress.quantize.sharing.lloyd import lloyd
from jaxcompress.quantize.sharing.points import points

RANDOM = np.random.default_rng(0)
WEIGHT = np.where(RANDOM.random((48, 6)) < 0.3, 0, RANDOM.standard_t(4, (48, 6))).astype("f4")
FEW = np.float32([0, 0.1, -0.2, 0.7, 5])[RANDOM.integers(0, 5, WEIGHT.shape)]
CHANNEL, TENSOR = formats.codebook(3), formats.codebook(3, per="tensor")
K_MEANS = rounding.nearest(sharing.k_means())

STARTS = {
    "linear": K_MEANS,
    "density": rounding.nearest(sharing.k_means(starts.density())),
    "random": rounding.nearest(sharing.k_means(starts.random(jax.random.key(0)))),
    "k-means++": rounding.nearest(sharing.k_means(starts.k_means_plus_plus(jax.random.key(0)))),
    "optimal": rounding.nearest(sharing.k_means(starts.optimal())),
}


def clustered(weight, spec, way=K_MEANS, **options):
    """The leaf that a rounding gives one weight."""
    return quantize({"w": jnp.asarray(weight)}, spec, rounding=way, **options)[0]["w"]


def error(leaf, weight) -> float:
    return float(np.sum(np.square(np.float64(leaf.materialize()) - np.float64(weight))))


@pytest.mark.parametrize("start", STARTS)
def test_every_start(start):
    leaf = clustered(WEIGHT, CHANNEL, STARTS[start])
    check(leaf, 48)
    if start != "random":  # which may leave large weights far from any level
        assert error(leaf, WEIGHT) <= error(clustered(WEIGHT, CHANNEL, rounding.nearest()), WEIGHT)
    # Where every number has a level of its own, those left over repeat the outermost.
    few = clustered(FEW, CHANNEL, STARTS[start])
    np.testing.assert_array_equal(few.materialize(), FEW)
    assert set(np.asarray(few.codebook).ravel()) == set(np.unique(FEW))
    # So the levels stay when what they stand for is clustered again.
    again = clustered(leaf.materialize(), CHANNEL, STARTS[start])
    np.testing.assert_array_equal(again.materialize(), leaf.materialize())


@pytest.mark.parametrize(
    ("spec", "size"), [(TENSOR, 0), (formats.codebook(2, group_size=8), 8)], ids=str
)
def test_every_sharing(spec, size):
    check(clustered(WEIGHT, spec), size)


def check(leaf, size):
    """Zeros stay, and levels are the means of what they stand for."""
    values, codes = np.asarray(leaf.materialize()), np.asarray(leaf.unpacked_codes).T
    assert np.all(values[WEIGHT == 0] == 0)
    assert np.all(codes[WEIGHT == 0] == 0)
    assert np.all(leaf.codebook[..., 0] == 0)
    assert np.all(leaf.scale == 1)
    for own, weights in blocks(values, size):
        for level in np.unique(own[own != 0]):
            np.testing.assert_allclose(level, np.float64(weights[own == level]).mean(), rtol=2e-6)


def blocks(values, size):
    """What shares levels, of values and of the weights: runs of inputs, 0 for all."""
    if not size:
        return [(values, WEIGHT)]
    parts = [np.split(x.T, len(WEIGHT) // size, axis=1) for x in (values, WEIGHT)]
    own, weights = (np.concatenate(part) for part in parts)
    return list(zip(own, weights, strict=True))


def loop(values, weights, levels, iterations=100):
    """Lloyd's iteration on one block, plainly; levels hold a zero that stays."""
    levels = np.sort(np.append(np.float64(levels), 0))
    for _ in range(iterations):
        nearest = np.abs(values[:, None] - levels).argmin(1)
        for place, level in enumerate(levels):
            members = nearest == place
            if level != 0 and weights[members].sum() > 0:
                levels[place] = np.average(values[members], weights=weights[members])
    return levels[levels != 0]


@jax.jit
def moved(values, weights, begin, iterations):
    found = points(values[None], weights[None])
    return lloyd(found, begin[None] / found.unit, iterations)[0] * found.unit[0, 0]


def test_levels_are_those_of_a_plain_loop():
    values, weights = RANDOM.normal(size=200), np.exp(RANDOM.normal(size=200))
    begin = np.float32([-2, -1, -0.4, 0.3, 0.8, 1.5, 2.2])
    levels = moved(np.float32(values), np.float32(weights), begin, 100)
    np.testing.assert_allclose(levels, loop(values, weights, begin), rtol=1e-5)


def test_the_error_never_rises():
    values = RANDOM.standard_t(2, 200).astype(np.float32)
    begin = np.full(7, 0.01, np.float32)  # all but one without members

    def squared(iterations):
        levels = moved(values, np.ones_like(values), begin, iterations)
        return np.square(values[:, None] - np.append(np.float64(levels), 0)).min(1).sum()

    errors = np.array([squared(count) for count in range(1, 20)])
    assert np.all(np.diff(errors) <= 1e-6 * errors[0])
    assert errors[-1] < 0.3 * errors[0]


def test_sums_are_exact_at_any_length():
    """The means of short runs far down a long row."""
    x = np.sort(RANDOM.normal(size=200_000)).astype(np.float32)
    begin = np.int32([[0, 99_000, 199_990]])
    end = begin + np.int32([[2, 10, 10]])

    @jax.jit
    def sums(x):
        found = points(x[None], jnp.ones_like(x)[None])
        mass, moment = found.mass.between(begin, end), found.moment.between(begin, end)
        return mass, moment / mass * found.unit

    mass, found = sums(x)
    means = [np.float64(x[a:b]).mean() for a, b in zip(begin[0], end[0], strict=True)]
    np.testing.assert_array_equal(mass, end - begin)
    np.testing.assert_allclose(found[0], means, rtol=1e-6, atol=1e-8)


def best_error(values, weights, count):
    """The least error of all partitions into runs, one of which may go to zero."""
    order = np.argsort(values)
    values, weights = values[order], weights[order]
    least = np.inf
    for ends in itertools.combinations_with_replacement(range(len(values) + 1), count):
        runs = list(itertools.pairwise((0, *ends, len(values))))
        for zero in range(len(runs)):
            total = 0.0
            for place, (begin, end) in enumerate(runs):
                x, w = values[begin:end], weights[begin:end]
                if end > begin:
                    center = 0.0 if place == zero else np.average(x, weights=w)
                    total += np.sum(w * np.square(x - center))
            least = min(least, total)
    return least


@functools.partial(jax.jit, static_argnums=(2, 3))
def optimum(values, weights, cells, count):
    found = points(values[None], weights[None])
    return lloyd(found, starts.optimal(cells).levels(found, count), 50)[0] * found.unit[0, 0]


@pytest.mark.parametrize("shift", [0.0, 3.0, -3.0], ids=["both signs", "above", "below"])
def test_the_optimal_start_is_the_best_of_all_partitions(shift):
    values = np.float32(RANDOM.normal(size=9)) + np.float32(shift)
    weights = np.exp(RANDOM.normal(size=9)).astype(np.float32)
    levels = np.append(np.float64(optimum(values, weights, 9, 3)), 0)
    found = (weights * np.square(values[:, None] - levels).min(1)).sum()
    np.testing.assert_allclose(found, best_error(values, weights, 3), 1e-5)


def test_cells_of_neighbours_come_close_to_the_optimum():
    values, errors = RANDOM.standard_t(3, 500).astype(np.float32), []
    for cells in (500, 50):
        levels = np.append(np.float64(optimum(values, np.ones_like(values), cells, 7)), 0)
        errors.append(np.square(values[:, None] - levels).min(1).sum())
    assert errors[0] <= errors[1] * (1 + 1e-6)
    assert errors[1] <= 1.02 * errors[0]


AWKWARD = {
    "all zeros": np.zeros_like(WEIGHT),
    "all equal": np.full_like(WEIGHT, 0.3),
    "one huge outlier": np.where(np.arange(WEIGHT.size).reshape(WEIGHT.shape) == 5, 3e38, WEIGHT),
}


@pytest.mark.parametrize("weight", AWKWARD)
def test_awkward_leaves(weight):
    leaf = clustered(np.float32(AWKWARD[weight]), CHANNEL)
    levels = np.asarray(leaf.codebook)
    assert np.all(np.isfinite(levels))
    if weight == "one huge outlier":
        assert np.float32(3e38) in levels
    else:
        np.testing.assert_array_equal(leaf.materialize(), AWKWARD[weight])


def test_layers_of_a_scan_have_their_own_levels_under_jit():
    stack = np.stack([WEIGHT, 3 * WEIGHT[::-1]])
    axes = {"w": jc.LeafAxes(contracting=(1,), output=(2,), batch=(0,))}
    whole = jax.jit(functools.partial(clustered, spec=TENSOR, axes=axes))(stack)
    assert whole.codebook.shape == (2, 1, 1, 8)
    assert whole.stacked
    for layer, values in zip(stack, whole.materialize(), strict=True):
        np.testing.assert_allclose(values, clustered(layer, TENSOR).materialize(), rtol=1e-6)


def test_scales_that_are_codes_leave_levels_in_their_unit():
    leaf = clustered(WEIGHT, formats.codebook(3, scales="e4m3"))
    plain = clustered(WEIGHT, CHANNEL)
    np.testing.assert_allclose(leaf.materialize(), plain.materialize(), rtol=1e-5)


def test_an_importance_draws_levels_to_weights_that_count():
    fisher = np.exp(2 * RANDOM.normal(size=WEIGHT.shape)).astype(np.float32)
    params, tree = {"w": jnp.asarray(WEIGHT), "b": jnp.ones(3)}, {"w": fisher, "b": jnp.ones(3)}
    found, report = sharing.share(params, TENSOR, tree)
    one = rounding.nearest(sharing.k_means(importance=fisher))
    by_leaf = clustered(WEIGHT, TENSOR, one)
    np.testing.assert_allclose(found["w"].materialize(), by_leaf.materialize(), rtol=1e-6)

    def counted(leaf):
        return np.sum(fisher * np.square(np.float64(leaf.materialize()) - WEIGHT))

    assert counted(found["w"]) < 0.8 * counted(clustered(WEIGHT, TENSOR))
    assert [row.action for row in report.leaves] == ["kept", str(TENSOR)]
    shapes = jax.eval_shape(lambda tree: tree, params)
    assert sharing.share(shapes, TENSOR, tree)[1].bytes_after == report.bytes_after


@pytest.mark.parametrize(
    ("importance", "levels"), [([1, 1, 1, 0, 1], [-4, 0, 3, 10]), ([0] * 5, [-4, 0, 3, 10.5])]
)
def test_what_has_no_importance_moves_no_level(importance, levels):
    params, counts = {"w": jnp.float32([[1, 3, 10, 11, -4]])}, {"w": np.float32([importance])}
    spec = formats.codebook(2, per="tensor")
    found, _ = sharing.share(params, spec, counts, search=SEARCH)
    np.testing.assert_array_equal(np.sort(found["w"].codebook.ravel()), levels)


SEARCH = functools.partial(sharing.k_means, starts.optimal())


def test_it_goes_where_ranges_go(tmp_path):
    """Files, execution, training views and GPTQ take it as any other search."""
    search, params = sharing.k_means(), {"w": jnp.asarray(WEIGHT)}
    x = jnp.asarray(RANDOM.normal(size=(60, 48)), jnp.float32)

    def model(params, x):
        return x @ params["w"]

    small = {"w": clustered(WEIGHT, TENSOR)}
    jc.storage.save(tmp_path / "small.safetensors", small)
    loaded = jc.storage.load(tmp_path / "small.safetensors")
    np.testing.assert_array_equal(loaded["w"].materialize(), small["w"].materialize())

    plan = jc.quantize.plan_execution(model, small, x, probe=lambda calls: dict.fromkeys(calls, 1))
    outputs = jc.quantize.run(model, plan)(plan.hold(small), x)
    np.testing.assert_allclose(outputs, x @ small["w"].materialize(), rtol=1e-5, atol=1e-5)

    view = jax.jit(jc.quantize.fake_quantize(TENSOR, ranges=search))
    passed = jax.grad(lambda p: jnp.sum(view(p)["w"] * x[:48, :6]))(params)
    np.testing.assert_array_equal(view(params)["w"], jax.jit(jc.materialize)(small)["w"])
    inside = (small["w"].codebook.min() <= WEIGHT) & (small["w"].codebook.max() >= WEIGHT)
    np.testing.assert_array_equal(np.asarray(passed["w"]) != 0, inside)

    errors = []
    for way in (K_MEANS, rounding.gptq(ranges=search)):
        solved, _ = jc.quantize.reconstruct(model, params, [x], TENSOR, way)
        errors.append(float(jnp.sum(jnp.square(model(jc.materialize(solved), x) - x @ WEIGHT))))
    assert errors[1] <= errors[0]


def test_gptq_refuses_codebooks_of_channels():
    params, x = {"w": jnp.asarray(WEIGHT)}, jnp.ones((4, 48))
    way = rounding.gptq(ranges=sharing.k_means())
    with pytest.raises(ValueError, match="needs one codebook for each matrix, and this has 6"):
        jc.quantize.reconstruct(lambda params, x: x @ params["w"], params, [x], CHANNEL, way)


THIRDS = sharing.k_means(importance=np.ones((3, 3)))
PARAMS = {"w": jnp.asarray(WEIGHT)}
NOT_FINITE = {"w": jnp.asarray(WEIGHT).at[2, 3].set(jnp.nan)}
REFUSED = [
    (lambda: sharing.k_means(starts.linear), TypeError, "k_means(start=linear) must be of type"),
    (lambda: sharing.k_means(iterations=0), ValueError, "k_means(iterations=0) must be at least"),
    (lambda: starts.random(0), TypeError, "random(key=0) must be one random key"),
    (lambda: starts.k_means_plus_plus(None), TypeError, "k_means_plus_plus(key=None) must be"),
    (lambda: starts.optimal(1), ValueError, "optimal(cells=1) must be at least 2"),
    (lambda: formats.codebook(9), ValueError, "codebook(bits=9) must be from 2 to 8"),
    (
        lambda: sharing.k_means(importance=-np.ones(3)),
        ValueError,
        "k_means(importance=float64[3]) must be finite and at least 0",
    ),
    (
        lambda: clustered(
            WEIGHT, TENSOR, rounding.nearest(sharing.k_means(importance=np.ones((3, 3))))
        ),
        ValueError,
        "k_means(importance=...) has shape (3, 3)",
    ),
    (
        lambda: clustered(WEIGHT, formats.int4()),
        ValueError,
        "k_means: int4 per channel stores no levels of its own. Give it",
    ),
    (
        lambda: sharing.share(PARAMS, TENSOR, {"w": np.full_like(WEIGHT, np.nan)}),
        ValueError,
        "share: leaf 'w'(importance=float32[48, 6]) must be finite",
    ),
    (
        lambda: sharing.share(PARAMS, TENSOR, {"w": np.ones(6)}),
        ValueError,
        "share(importance=...): leaf 'w' has shape (48, 6), its importance (6,).",
    ),
    (
        lambda: sharing.share(PARAMS, TENSOR, {"v": WEIGHT}),
        ValueError,
        "share(importance=...) has no leaf 'w'",
    ),
    (
        lambda: sharing.share(NOT_FINITE, TENSOR, {"w": np.ones_like(WEIGHT)}),
        ValueError,
        "share: leaf 'w' holds 1 values that are not finite, the first at (2, 3).",
    ),
    (
        lambda: clustered(WEIGHT, formats.codebook(3, group_size=5)),
        ValueError,
        "does not divide its 48 weights",
    ),
]


@pytest.mark.parametrize(("call", "kind", "message"), REFUSED, ids=[row[2] for row in REFUSED])
def test_refusals_say_what_and_why(call, kind, message):
    with pytest.raises(kind) as caught:
        call()
    assert message in str(caught.value)
