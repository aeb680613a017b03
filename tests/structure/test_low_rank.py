"""Factoring a tree: every layout, with and without calibration, and its report."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import graph, structure
from jaxcompress.core.axes import LeafAxes, to_canonical
from jaxcompress.core.leaf import materialize
from jaxcompress.core.lowrank import LowRank
from jaxcompress.core.observers import covariance
from jaxcompress.core.report import Report
from jaxcompress.core.rules import Rules
from jaxcompress.core.selectors import everything, matching
from tests.inputs import INT8, on_device, qtensor

EPSILON = float(np.finfo(np.float32).eps)


def normal(*shape, seed=0):
    return on_device(np.random.default_rng(seed).standard_normal(shape))


class Case(NamedTuple):
    name: str
    shape: tuple[int, ...]
    axes: LeafAxes


CASES = [
    Case("dense", (12, 10), LeafAxes((0,), (1,))),
    Case("dense, outputs first", (10, 12), LeafAxes((1,), (0,))),
    Case("convolution", (3, 3, 4, 10), LeafAxes((0, 1, 2), (3,), primitive="conv_general_dilated")),
    Case("to heads", (10, 3, 4), LeafAxes((0,), (1, 2))),
    Case("layers", (3, 12, 10), LeafAxes((1,), (2,), (0,))),
    Case("experts inside", (12, 3, 10), LeafAxes((0,), (2,), (1,))),
    Case("table", (30, 8), LeafAxes((1,), (0,), primitive="gather")),
]
every_layout = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def matrices(x, axes: LeafAxes) -> np.ndarray:
    """(batch, outputs, contracting) float64."""
    canonical = np.asarray(to_canonical(x, axes), np.float64)
    batch = int(np.prod(canonical.shape[: len(axes.batch)]))
    outputs = int(np.prod([x.shape[axis] for axis in axes.output]))
    return canonical.reshape(batch, outputs, -1)


@every_layout
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=str)
def test_is_the_nearest_of_its_rank_in_every_layout(case, dtype):
    kernel = normal(*case.shape).astype(dtype)
    params, report = structure.factorize({"a": kernel}, rank=2, axes={"a": case.axes})
    leaf = params["a"]
    assert isinstance(leaf, LowRank)
    assert (leaf.shape, leaf.dtype, leaf.rank) == (case.shape, dtype, 2)
    assert leaf.left.dtype == leaf.right.dtype == dtype
    weights = matrices(kernel, case.axes)
    product = matrices(leaf.astype(jnp.float32).materialize(), case.axes)
    error = np.sum((weights - product) ** 2, axis=(1, 2))
    tail = np.sum(np.linalg.svd(weights, compute_uv=False)[:, 2:] ** 2, axis=1)
    # Rounding the factors moves the product by about the epsilon of the dtype.
    rounding = 16 * float(jnp.finfo(dtype).eps) * np.sum(weights**2, axis=(1, 2))
    assert np.all(tail * (1 - 1e-5) <= error)
    assert np.all(error <= tail + rounding)
    assert report.leaves[0].action == f"rank 2 of {min(weights.shape[1:])}"
    assert report.leaves[0].bytes_after == leaf.size_bytes < kernel.nbytes


def model(params, x):
    return jax.nn.relu(x @ params["first"]) @ params["second"] + params["bias"][None]


def dense_params():
    return {"first": normal(8, 24), "second": normal(24, 6, seed=1), "bias": jnp.ones(6)}


def batches(scale=None):
    scale = jnp.logspace(0, -2, 8) if scale is None else scale
    return [normal(32, 8, seed=seed) * scale[None] for seed in range(4)]


def test_weighted_by_the_inputs_each_layer_is_best_on_its_own_data():
    params, data = dense_params(), batches()
    covariances = graph.calibrate(model, params, data, covariance())
    x = jnp.concatenate(data)
    np.testing.assert_allclose(covariances["first"].value, x.T @ x / len(x), rtol=1e-4, atol=1e-5)
    axes = graph.axes(model, params, data[0])

    def output_error(covariances):
        kept, report = structure.factorize(
            params, rank=2, axes=axes, covariances=covariances, damping=0.0
        )
        return float(jnp.sum((x @ params["first"] - x @ kept["first"].materialize()) ** 2)), report

    plain, _ = output_error(None)
    weighted, report = output_error(covariances)
    outputs = np.asarray(x @ params["first"], np.float64)
    values = np.linalg.svd(outputs, compute_uv=False)
    np.testing.assert_allclose(weighted, np.sum(values[2:] ** 2), rtol=1e-3)
    assert weighted < 0.5 * plain
    assert report.leaves[1].name == "first"
    assert "axes from the program; weighted by the inputs" in report.leaves[1].reason


def scanned(params, x):
    return jax.lax.scan(lambda x, kernel: (jnp.tanh(x @ kernel), None), x, params["layers"])[0]


def test_scanned_layers_have_a_covariance_each():
    params = {"layers": normal(3, 8, 8)}
    data = batches()
    covariances = graph.calibrate(scanned, params, data, covariance())
    assert covariances["layers"].value.shape == (3, 8, 8)
    x = jnp.concatenate(data)
    for i in range(3):
        found = covariances["layers"].value[i]
        np.testing.assert_allclose(found, x.T @ x / len(x), rtol=1e-4, atol=1e-5)
        x = jnp.tanh(x @ params["layers"][i])
    axes = graph.axes(scanned, params, data[0])
    together, _ = structure.factorize(params, rank=2, axes=axes, covariances=covariances)
    for i in range(3):
        alone, _ = structure.factorize(
            {"layers": params["layers"][i]},
            rank=2,
            covariances={"layers": covariances["layers"].value[i]},
        )
        np.testing.assert_allclose(
            together["layers"].materialize()[i], alone["layers"].materialize(), rtol=0, atol=1e-4
        )


def convolve(x, kernel, **options):
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), **options
    )


def test_a_convolution_counts_its_features_at_every_tap():
    def fn(params, x):
        return convolve(x, params["kernel"])

    params, x = {"kernel": normal(3, 3, 4, 12)}, normal(2, 6, 6, 4)
    x = x * jnp.logspace(0, -2, 4).reshape(1, 1, 1, 4)
    covariances = graph.calibrate(fn, params, [x], covariance())
    axes = graph.axes(fn, params, x)
    exact = fn(params, x)

    def output_error(covariances):
        kept, report = structure.factorize(params, rank=3, axes=axes, covariances=covariances)
        return float(jnp.sum((fn(materialize(kept), x) - exact) ** 2)), report.leaves[0].reason

    plain, _ = output_error(None)
    weighted, reason = output_error(covariances)
    assert weighted < plain
    assert "weighted by the inputs" in reason
    square = {"kernel": normal(3, 3, 3, 12)}
    x = normal(2, 6, 6, 3)
    _, report = structure.factorize(
        square, rank=3, axes=axes, covariances=graph.calibrate(fn, square, [x], covariance())
    )
    assert "unweighted: features not told apart" in report.leaves[0].reason


def test_tied_sites_count_alike():
    def fn(params, x, y):
        return x @ params["a"], y @ params["a"]

    params, (x, y) = {"a": normal(8, 10)}, batches()[:2]
    covariances = graph.calibrate(fn, params, [(x, y)], covariance())
    assert list(covariances) == ["a", "a#2"]
    both = (covariances["a"].value + covariances["a#2"].value) / 2
    first, _ = structure.factorize(params, rank=2, covariances=covariances)
    second, _ = structure.factorize(params, rank=2, covariances={"a": both})
    np.testing.assert_array_equal(first["a"].materialize(), second["a"].materialize())


def test_what_would_not_become_smaller_stays():
    params = dense_params()
    kept, report = structure.factorize(params, rank=6)
    assert kept["first"] is params["first"]
    assert kept["bias"] is params["bias"]
    reasons = {leaf.name: leaf.reason for leaf in report.kept}
    assert reasons == {
        "bias": "not selected: rank 1",
        "first": "the factors of rank 6 would hold 192 parameters, the weight 192",
        "second": "the factors of rank 6 would hold 180 parameters, the weight 144",
    }
    assert Report.from_json(report.to_json()) == report


def test_rules_choose_ranks_by_name_and_share_a_budget():
    params = dense_params()
    rank = Rules({"first": structure.ranks.at_most(2), "*": 1})
    kept, report = structure.factorize(params, rank=rank)
    assert [kept["first"].rank, kept["second"].rank] == [2, 1]
    kept, report = structure.factorize(params, rank=Rules({"second": 3}))
    assert kept["first"] is params["first"]
    assert {leaf.name: leaf.reason for leaf in report.kept}["first"] == "no rule"
    kept, _ = structure.factorize(params, rank=structure.ranks.budget(200))
    held = sum(x.size for name in ("first", "second") for x in jax.tree.leaves(kept[name]))
    assert 200 - 32 < held <= 200


def test_without_axes_the_report_says_assumed():
    _, report = structure.factorize({"a": normal(8, 10)}, rank=2)
    assert report.leaves[0].reason.endswith("axes assumed")
    assert "energy" in str(report)


def test_any_container_of_parameters():
    tree = [normal(8, 10), (normal(8, 10, seed=1), jnp.ones(3))]
    kept, _ = structure.factorize(tree, rank=2)
    assert isinstance(kept[1][0], LowRank)
    assert kept[1][1] is tree[1][1]
    assert structure.factorize({}, rank=2)[0] == {}


WEIGHT = normal(8, 10)


@pytest.mark.parametrize(
    ("params", "arguments", "error", "message"),
    [
        (WEIGHT, {"rank": 0}, ValueError, r"factorize\(rank=0\) must be at least 1"),
        (WEIGHT, {"rank": 1, "damping": -1.0}, ValueError, r"factorize\(damping=-1.0\) must be"),
        (
            WEIGHT.at[1, 2].set(jnp.nan),
            {"rank": 1},
            ValueError,
            r"leaf 'a' holds 1 values .* \(1, 2\)",
        ),
        (
            jnp.ones((3, 3), int),
            {"rank": 1, "select": everything()},
            TypeError,
            "'a' was asked for by name, but it has dtype int32",
        ),
        (jnp.ones(3), {"rank": 1, "select": everything()}, ValueError, "'a' .* is no matrix"),
        (jnp.ones(3), {"rank": 1}, ValueError, r"factorize\(select=...\) selects no leaf"),
        (
            jnp.ones((0, 3)),
            {"rank": 1, "select": everything()},
            ValueError,
            r"'a' was asked for by name, but it has shape \(0, 3\)",
        ),
        (
            WEIGHT,
            {"rank": 1, "select": matching("b")},
            ValueError,
            r"matching\('b'\) selects no leaf",
        ),
        (WEIGHT, {"rank": Rules({"b": 1})}, ValueError, "'b' matches nothing"),
        (
            WEIGHT,
            {"rank": structure.ranks.budget(17)},
            ValueError,
            "rank 1 in all 1 weights holds 18",
        ),
        (WEIGHT, {"rank": 1, "covariances": {"b": jnp.eye(8)}}, ValueError, "'b' is no site"),
        (WEIGHT, {"rank": 1, "covariances": {"a": jnp.eye(10)}}, ValueError, "'a' has 8 inputs"),
        (
            WEIGHT,
            {"rank": 1, "covariances": {"a": jnp.full((8, 8), jnp.nan)}},
            ValueError,
            "'a' holds 64 values that are not finite",
        ),
        (
            qtensor(INT8, (5, 8), (5, 1), LeafAxes((0,), (1,))),
            {"rank": 1},
            TypeError,
            "'a': it is already QTensor",
        ),
    ],
)
def test_what_cannot_be_factored_is_refused(params, arguments, error, message):
    with pytest.raises(error, match=message):
        structure.factorize({"a": params}, **arguments)
