"""Pruning at once: any container, exact zeros, and clear errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.prune import Target, masks, one_shot, sparsity_of
from jaxcompress.prune.allocations import globally
from jaxcompress.prune.criteria import magnitude
from jaxcompress.prune.criterion import Criterion
from tests.inputs import QTENSORS, TREES

KERNEL = jnp.array([[0.1, -2.0], [3.0, -0.4]])
PARAMS = {"dense": {"bias": jnp.ones(2), "kernel": KERNEL}, "head": {"kernel": 2 * KERNEL}}


@pytest.mark.parametrize("name", TREES)
def test_every_container_is_pruned_alike(name):
    params = TREES[name]()
    pruned, report = one_shot(params, magnitude(), 0.5)
    assert jax.tree.structure(pruned) == jax.tree.structure(params)
    matrices = [leaf for leaf in jax.tree.leaves(pruned) if leaf.ndim == 2]
    assert sorted(int(jnp.sum(leaf == 0)) for leaf in matrices) == [3, 6]
    assert all(jnp.all(leaf != 0) for leaf in jax.tree.leaves(pruned) if leaf.ndim == 1)
    assert [leaf.name for leaf in report.leaves] == list(jc.named_leaves(params))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_masks_are_those_that_one_shot_applies(dtype):
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), PARAMS)
    found = masks(params, magnitude(), 0.25)
    pruned, _ = one_shot(params, magnitude(), 0.25)
    jax.tree.map(np.testing.assert_array_equal, jc.prune.apply(found, params), pruned)
    np.testing.assert_array_equal(found["dense"]["kernel"], [[False, True], [True, True]])
    assert found["dense"]["bias"].shape == ()
    assert pruned["dense"]["kernel"].dtype == dtype


def test_a_rule_per_leaf():
    sparsity = jc.Rules({"head/*": 0.75, "dense/kernel": 0.25})
    found = masks(PARAMS, magnitude(), sparsity)  # pyright: ignore[reportArgumentType]
    assert sparsity_of(found, PARAMS) == (
        0.4,
        {"dense/bias": 0.0, "dense/kernel": 0.25, "head/kernel": 0.75},
    )


def test_a_leaf_without_a_rule_stays():
    pruned, report = one_shot(PARAMS, magnitude(), jc.Rules({"head/*": 0.5}))
    np.testing.assert_array_equal(pruned["dense"]["kernel"], KERNEL)
    assert [leaf.name for leaf in report.kept] == ["dense/bias", "dense/kernel"]


def test_globally_compares_leaves():
    params = {"dense": {"kernel": KERNEL}, "head": {"kernel": 10 * KERNEL}}
    found = masks(params, magnitude(), Target(0.5, allocate=globally))
    np.testing.assert_array_equal(found["dense"]["kernel"], [[False, False], [True, False]])
    np.testing.assert_array_equal(found["head"]["kernel"], [[False, True], [True, True]])


def test_each_rule_has_its_own_threshold():
    sparsity = jc.Rules({"dense/*": 0.75, "*": 0.25})
    found = masks(PARAMS, magnitude(), Target(sparsity, allocate=globally))  # pyright: ignore[reportArgumentType]
    assert [int(jnp.sum(~found[layer]["kernel"])) for layer in ("dense", "head")] == [3, 1]


def test_layers_of_a_scan_are_pruned_one_by_one():
    stacked = {"layers": jnp.stack([KERNEL, 100 * KERNEL])}
    axes = {"layers": jc.LeafAxes((1,), (2,), (0,))}
    found = masks(stacked, magnitude(), Target(0.5, axes=axes))
    np.testing.assert_array_equal(found["layers"][0], found["layers"][1])
    _, report = one_shot(stacked, magnitude(), Target(0.5, axes=axes))
    assert report.leaves[0].reason == "axes from the program"


def test_the_report_says_what_was_done():
    _, report = one_shot(PARAMS, magnitude(), 0.5)
    assert [(leaf.action, leaf.reason) for leaf in report.leaves] == [
        ("kept", "not selected: rank 1"),
        ("50.0 % removed", "axes assumed"),
        ("50.0 % removed", "axes assumed"),
    ]
    assert jc.Report.from_json(report.to_json()) == report


def test_complex_weights_are_pruned_when_asked_for():
    size = jnp.array([[1.0, 4.0], [3.0, 2.0]])
    params = {"w": size * jnp.exp(1j * KERNEL[:2, :2])}
    pruned, report = one_shot(params, magnitude(), Target(0.5, select=jc.matching("w")))
    np.testing.assert_array_equal(pruned["w"], jnp.where(size > 2.5, params["w"], 0))
    assert report.leaves[0].action == "50.0 % removed"
    halves = {"re": params["w"].real, "im": params["w"].imag, "out": KERNEL}
    axes = jc.graph.axes(lambda p, x: abs(x @ (p["re"] + 1j * p["im"])), halves, jnp.ones((1, 2)))
    _, report = one_shot(halves, magnitude(), Target(0.5, select=jc.matching("re"), axes=axes))
    assert [row.name for row in report.leaves if row.changed] == ["re"]
    with pytest.raises(ValueError, match="selects no leaf"):
        one_shot(halves, magnitude(), Target(0.5, axes=axes))


def test_nothing_goes_at_zero():
    pruned, report = one_shot(PARAMS, magnitude(), 0)
    jax.tree.map(np.testing.assert_array_equal, pruned, PARAMS)
    assert report.kept == report.leaves


NAN_SCORES = Criterion(
    lambda params: (),
    lambda grads, state, params: state,
    lambda state, params: jax.tree.map(lambda leaf: leaf * jnp.nan, params),
)

REFUSED = {
    "sparsity above": (PARAMS, {"sparsity": 1.0}, ValueError, r"Target\(sparsity=1.0\)"),
    "sparsity below": (PARAMS, {"sparsity": -1}, ValueError, r"Target\(sparsity=-1\)"),
    "sparsity in a rule": (
        PARAMS,
        {"sparsity": jc.Rules({"*": 1.5})},
        ValueError,
        r"Target\(sparsity=1.5\)",
    ),
    "schedule": (
        PARAMS,
        {"sparsity": jc.schedules.cubic(0, 0.5, begin=0, end=1)},
        TypeError,
        "is a schedule",
    ),
    "unused rule": (PARAMS, {"sparsity": jc.Rules({"tail/*": 0.5})}, ValueError, "'tail/\\*'"),
    "unused pattern": (PARAMS, {"select": jc.matching("tail/*")}, ValueError, "'tail/\\*'"),
    "nothing selected": (
        {"bias": jnp.ones(2)},
        {},
        ValueError,
        r"one_shot: Target\(select=...\) selects no leaf. Leaves are: bias",
    ),
    "integer": (
        {"codes": jnp.ones((2, 2), jnp.int8)},
        {"select": jc.everything()},
        TypeError,
        "'codes' was asked for by name, but it has dtype int8",
    ),
    "complex": ({"w": jnp.ones((2, 2), jnp.complex64)}, {}, ValueError, "selects no leaf"),
    "empty": (
        {"w": jnp.ones((0, 2))},
        {"select": jc.everything()},
        ValueError,
        r"'w' was asked for by name, but it has shape \(0, 2\)",
    ),
    "nan": ({"w": KERNEL.at[1, 0].set(jnp.nan)}, {}, ValueError, r"'w' holds 1 .* at \(1, 0\)"),
    "quantized": (
        {"w": QTENSORS["int8 per channel"]()},
        {},
        TypeError,
        r"no leaf is left .* 'w': it is already QTensor\(.* Prune first",
    ),
    "other axes": (PARAMS, {"axes": {"w": jc.LeafAxes((0,), (1,))}}, ValueError, "axes= has no"),
    "nan scores": (PARAMS, {"criterion": NAN_SCORES}, ValueError, "scores weights of leaf 'dense"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_pruned_is_refused(name):
    params, options, error, message = REFUSED[name]
    options = {"criterion": magnitude(), "sparsity": 0.5} | options
    with pytest.raises(error, match=message):
        one_shot(params, options.pop("criterion"), Target(**options))
