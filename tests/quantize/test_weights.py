"""Quantization of trees: what is chosen, stored, reported and refused."""

import re
from typing import NamedTuple

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.report import KEPT
from jaxcompress.quantize import explain, int4, int8, quantize
from jaxcompress.quantize.formats import uint4, uint8
from tests.inputs import COMPOSED

SPECS = [
    int8(),
    int8(per="tensor"),
    int8(group_size=2),
    int4(),
    int4(per="tensor"),
    int4(group_size=2),
    uint8(),
    uint8(group_size=4),
    uint4(),
    uint4(per="tensor"),
    uint4(group_size=4),
]
every_spec = pytest.mark.parametrize("spec", SPECS, ids=str)


class Leaf(NamedTuple):
    """A kind of weight: its shape and what its axes do."""

    name: str
    shape: tuple[int, ...]
    axes: LeafAxes


LEAVES = [
    Leaf("dense", (8, 5), LeafAxes((0,), (1,))),
    Leaf("dense transposed", (5, 8), LeafAxes((1,), (0,))),
    Leaf("conv", (3, 3, 4, 6), LeafAxes((0, 1, 2), (3,))),
    Leaf("attention in", (8, 2, 3), LeafAxes((0,), (1, 2))),
    Leaf("attention out", (2, 4, 6), LeafAxes((0, 1), (2,))),
    Leaf("stacked", (3, 8, 5), LeafAxes((1,), (2,), (0,))),
    Leaf("embedding", (7, 4), LeafAxes((1,), (0,), primitive="gather")),
]


def normal(shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def by_loop(x, spec, axes):
    """Round trip of every block by itself, in float64, and each entry's scale."""
    order = axes.order
    canonical = np.transpose(x, order).astype(np.float64)
    batch, output = len(axes.batch), len(axes.output)
    lead = {"tensor": batch, "channel": batch + output}.get(spec.sharing.kind, canonical.ndim - 1)
    values, scales = np.empty_like(canonical), np.empty_like(canonical)
    for index in np.ndindex(*canonical.shape[:lead]):
        size = spec.sharing.size if spec.sharing.kind == "group" else canonical[index].size
        flat = canonical[index].reshape(-1)
        shown, steps = np.empty_like(flat), np.empty_like(flat)
        for begin in range(0, flat.size, size):
            block = flat[begin : begin + size]
            low, high = min(block.min(), 0), max(block.max(), 0)
            if spec.symmetric:
                step, zero = max(high / spec.highest, low / spec.lowest), 0
            else:
                step = (high - low) / (spec.highest - spec.lowest)
                zero = spec.lowest - np.round(low / step)
            codes = np.clip(np.round(block / step) + zero, spec.lowest, spec.highest)
            shown[begin : begin + size] = (codes - zero) * step
            steps[begin : begin + size] = step
        values[index] = shown.reshape(canonical[index].shape)
        scales[index] = steps.reshape(canonical[index].shape)
    inverse = np.argsort(order)
    return np.transpose(values, inverse), np.transpose(scales, inverse)


@every_spec
def test_against_a_loop_over_blocks(spec):
    arrays = {leaf.name: normal(leaf.shape) for leaf in LEAVES}
    axes = {leaf.name: leaf.axes for leaf in LEAVES}

    @jax.jit
    def quantized(params):
        stored, _ = quantize(params, spec, axes=axes)
        return stored, jc.materialize(stored)

    stored, shown = quantized(arrays)
    for name, x in arrays.items():
        expected, scale = by_loop(x, spec, axes[name])
        found = np.asarray(shown[name], np.float64)
        assert stored[name].shape == x.shape
        # The same code, or its neighbour where float32 sees a tie.
        assert np.mean(np.abs(found - expected) > np.abs(expected) * 1e-6 + 1e-9) <= 0.02
        assert np.all(np.abs(found - x) <= scale * 0.5 * (1 + 1e-5))


def test_bytes_are_those_of_the_arrays():
    for spec in (int8(), int4(group_size=2), uint8()):
        params, report = quantize({"w": jnp.ones((8, 5))}, spec)
        (row,) = report.leaves
        children = jax.tree.leaves(params)
        assert row.bytes_before == 8 * 5 * 4
        assert row.bytes_after == sum(child.nbytes for child in children)
    assert row.action == "uint8 per channel"
    assert row.bytes_after == 8 * 5 + 5 * (4 + 4)


@every_spec
def test_half_precision_is_computed_in_float32(spec):
    params = {str(dtype): jnp.asarray(normal((8, 3)), dtype) for dtype in ("float16", "bfloat16")}

    @jax.jit
    def both(params):
        half, _ = quantize(params, spec)
        full, _ = quantize(jax.tree.map(lambda x: x.astype(jnp.float32), params), spec)
        return half, full, jc.materialize(half), jc.materialize(full)

    half, full, shown, exact = both(params)
    for name, x in params.items():
        assert half[name].dtype == x.dtype
        assert half[name].scale.dtype == jnp.float32
        np.testing.assert_array_equal(half[name].codes, full[name].codes)
        np.testing.assert_array_equal(shown[name], exact[name].astype(x.dtype))


@pytest.mark.parametrize("spec", [s for s in SPECS if s.odd], ids=str)
def test_odd_formats_are_odd(spec):
    x = jnp.asarray(normal((8, 3)))
    plus = quantize({"w": x}, spec)[0]["w"].materialize()
    minus = quantize({"w": -x}, spec)[0]["w"].materialize()
    np.testing.assert_array_equal(minus, -plus)


@pytest.mark.parametrize(
    "spec", [int8(), int4(group_size=2), uint8(per="tensor"), uint4()], ids=str
)
@hypothesis.settings(max_examples=10)
@hypothesis.given(
    hnp.arrays(np.float32, (4, 3), elements=st.floats(-(2**20), 2**20, width=32)),
    hnp.arrays(bool, (4, 3)),
)
def test_pruned_weights_stay_zero(spec, x, mask):
    params = {"w": jnp.asarray(np.where(mask, x, 0))}
    stored, _ = quantize(params, spec, masks={"w": jnp.asarray(mask)})
    assert not np.any(np.asarray(stored["w"].materialize())[~mask])


@every_spec
def test_quantizing_the_result_again_changes_no_value(spec):
    """With zero and both ends on the grid, the scales come out the same."""
    x = jnp.asarray(normal((8, 3)))
    once = quantize({"w": x}, spec)[0]["w"]
    twice = quantize({"w": once.materialize()}, spec)[0]["w"]
    np.testing.assert_allclose(
        twice.materialize(), once.materialize(), rtol=0, atol=float(once.scale.max()) * 1e-4
    )


PARAMS = {
    "dense": {"kernel": normal((8, 4)), "bias": normal(4)},
    "norm": {"scale": normal(8)},
    "steps": np.zeros((2, 2), np.int32),
    "none": np.zeros((0, 4), np.float32),
}


def test_every_leaf_is_reported_with_its_reason():
    params = jax.tree.map(jnp.asarray, PARAMS)
    stored, report = quantize(params, int8())
    assert {leaf.name: (leaf.action, leaf.reason) for leaf in report.leaves} == {
        "dense/kernel": ("int8 per channel", "axes assumed"),
        "dense/bias": (KEPT, "not selected: rank 1"),
        "norm/scale": (KEPT, "not selected: rank 1"),
        "steps": (KEPT, "not selected: int32"),
        "none": (KEPT, "not selected: empty"),
    }
    assert stored["dense"]["bias"] is params["dense"]["bias"]
    assert report.bytes_after == 8 * 4 + 4 * 4 + sum(
        leaf.bytes_before for leaf in report.leaves if not leaf.changed
    )


def test_axes_that_meet_no_data_are_a_reason():
    axes = {"w": LeafAxes((0,), (1,)), "unused": jc.core.axes.UNUSED}
    params = {"w": jnp.ones((2, 2)), "unused": jnp.ones((2, 2))}
    _, report = quantize(params, int8(), axes=axes)
    assert [leaf.reason for leaf in report.leaves] == [
        "not selected: meets no data",
        "axes from the program",
    ]


def test_rules_give_each_leaf_its_spec():
    params = {name: {"kernel": jnp.ones((4, 4))} for name in ("head", "body", "tail")}
    rules = jc.Rules({"head/*": int8(), "body/*": int4(group_size=2)})
    stored, report = quantize(params, rules)
    assert stored["head"]["kernel"].spec == int8()
    assert stored["body"]["kernel"].spec == int4(group_size=2)
    assert [(leaf.name, leaf.reason) for leaf in report.kept] == [("tail/kernel", "no rule")]


def test_select_adds_and_leaves_out():
    params = {"kernel": jnp.ones((4, 4)), "bias": jnp.asarray([1.0, -3.0])}
    stored, report = quantize(params, int8(), select=jc.matching("bias"))
    assert report.kept[0].reason == "not selected"
    # A leaf that meets no data has one scale for all of it.
    assert stored["bias"].scale.shape == (1,)
    np.testing.assert_allclose(stored["bias"].materialize(), params["bias"], atol=3 / 254)


def test_shapes_are_enough_for_the_report():
    shapes = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, PARAMS))
    stored, report = quantize(shapes, int8())
    assert report == quantize(jax.tree.map(jnp.asarray, PARAMS), int8())[1]
    assert stored["dense"]["kernel"].shape == (8, 4)
    assert explain(stored).bytes_after == report.bytes_after


def test_explain_tells_what_is_stored():
    stored, report = quantize(jax.tree.map(jnp.asarray, PARAMS), int4())
    told = explain(stored)
    assert [leaf.action for leaf in told.leaves] == [leaf.action for leaf in report.leaves]
    assert (told.bytes_before, told.bytes_after) == (report.bytes_before, report.bytes_after)


def test_explain_tells_of_leaves_in_leaves():
    told = {row.name: row.action for row in explain({n: COMPOSED[n]() for n in COMPOSED}).leaves}
    assert told["corrected"] == "uint4 in groups of 4 + rank 2"
    assert told["rotated correction"] == "int4 in groups of 4 + rank 2, rotated in blocks of 8"
    assert told["rotated array"] == told["rotated factors"] == "kept"


@pytest.mark.parametrize(
    "wrap",
    [
        lambda w: {"params": {"w": w}},
        lambda w: (w, w),
        lambda w: [{"w": w}, (w,)],
        lambda w: w,
    ],
    ids=["params", "tuple", "nested", "bare"],
)
def test_any_tree(wrap):
    x = jnp.asarray(normal((4, 4)))
    stored, _ = quantize(wrap(x), int8())
    expected = quantize({"w": x}, int8())[0]["w"].materialize()
    for leaf in jax.tree.leaves(jc.materialize(stored)):
        np.testing.assert_array_equal(leaf, expected)


class Refusal(NamedTuple):
    name: str
    call: object
    error: type
    message: str


def refuse(
    name, params, message, error: type[Exception] = ValueError, spec=None, **options
) -> Refusal:
    return Refusal(name, lambda: quantize(params, spec or int8(), **options), error, message)


EVERYTHING = jc.everything()
REFUSALS = [
    refuse("nan", {"w": jnp.full((2, 2), jnp.nan)}, "leaf 'w' holds 4 values that are not finite"),
    refuse("inf", {"w": jnp.asarray([[1.0, jnp.inf]])}, r"the first at \(0, 1\)"),
    refuse("integer", {"w": jnp.ones((2, 2), int)}, "dtype int32", TypeError, select=EVERYTHING),
    refuse(
        "complex",
        {"w": jnp.ones((2, 2), complex)},
        "dtype complex64",
        TypeError,
        select=EVERYTHING,
    ),
    refuse("empty", {"w": jnp.ones((0, 2))}, "no entry", select=EVERYTHING),
    refuse("scalar", {"w": jnp.float32(1)}, "single number", select=EVERYTHING),
    refuse(
        "group",
        {"w": jnp.ones((12, 3))},
        r"'w': int4 in groups of 5 does not divide its 12 weights .* Sizes that do: 2, 3, 4, 6",
        spec=int4(group_size=5),
    ),
    refuse(
        "assumed rank 3",
        {"w": jnp.ones((2, 2, 2))},
        r"'w' of shape \(2, 2, 2\) has assumed axes.*graph.axes\(fn, params, \*inputs\)",
        spec=int4(group_size=2),
    ),
    refuse(
        "unused rule", {"w": jnp.ones((2, 2))}, "'x' matches nothing", spec=jc.Rules({"x": int8()})
    ),
    refuse("nothing selected", {"w": jnp.ones(2)}, r"quantize\(select=...\) selects no leaf"),
    refuse("selector", {"w": jnp.ones((2, 2))}, "selects no leaf", select=jc.matching("x")),
    refuse(
        "quantized already",
        quantize({"w": jnp.ones((2, 2))}, int8())[0],
        r"'w': it is already QTensor\(int8 per channel",
        TypeError,
    ),
    refuse(
        "weights outside the mask",
        {"w": jnp.ones((2, 2))},
        "'w' holds 2 weights outside its mask",
        masks={"w": jnp.asarray([[True], [False]])},
    ),
    refuse(
        "other structure",
        {"w": jnp.ones((2, 2))},
        r"quantize\(masks=...\) has a mask for what is no leaf, 'v'",
        masks={"v": jnp.ones((2, 2), bool)},
    ),
    refuse(
        "a format that was not called",
        {"w": jnp.ones((2, 2))},
        r"quantize\(spec=int8\) must be of type QuantSpec, not function. Call a format",
        TypeError,
        spec=int8,
    ),
    refuse(
        "a rule of no format",
        {"w": jnp.ones((2, 2))},
        r"must be of type QuantSpec, not str",
        TypeError,
        spec=jc.Rules({"w": "int8"}),
    ),
    refuse("other axes", {"w": jnp.ones((2, 2))}, "axes= has no leaf 'w'", axes={}),
]


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.name)
def test_refusals(case):
    with pytest.raises(case.error, match=re.compile(case.message, re.DOTALL)):
        case.call()


def test_works_under_jit():
    x = jnp.asarray(normal((8, 4)))
    stored = jax.jit(lambda p: quantize(p, int4())[0])({"w": x})["w"]
    np.testing.assert_array_equal(stored.codes, quantize({"w": x}, int4())[0]["w"].codes)
