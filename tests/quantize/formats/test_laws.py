"""Laws that every format keeps: zero, oddness, nearest levels, training as shipped."""

import functools
import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress import storage
from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.formats.coding import decode, encode
from jaxcompress.core.formats.cuts import cut
from jaxcompress.core.formats.grids import LARGEST_END, Grid, covered, grid
from jaxcompress.core.formats.scales import SMALLEST_SCALE
from jaxcompress.core.observers import Range
from jaxcompress.core.spec import QuantSpec
from jaxcompress.quantize import fake_quantize, formats, quantize
from jaxcompress.quantize.ranges import min_max
from jaxcompress.quantize.ranges.estimator import estimate
from tests.quantize.formats.family import FORMATS, every_format

EPS = float(np.finfo(np.float32).eps)
DENSE = LeafAxes((0,), (1,))


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


class Trip(NamedTuple):
    """An array on the way to codes and back, and once more on the same grid."""

    blocks: jax.Array
    codes: jax.Array
    grid: Grid
    values: jax.Array
    again: jax.Array


@functools.partial(jax.jit, static_argnums=1)
def round_trip(x, spec) -> Trip:
    """Of (16, 64), so that each format is compiled once; the last axis shares."""
    parts = cut(x.shape, spec.sharing, LeafAxes((1,), (0,)))
    blocks = x.reshape(parts.shape)
    on = grid(covered(estimate(min_max, blocks, parts.shared, spec), spec), spec, parts)
    codes = encode(blocks, on, spec)
    values = decode(codes, on, spec)
    return Trip(blocks, codes, on, values, encode(values, on, spec))


AWKWARD = {
    "ordinary": normal(64),
    "all zero": np.zeros(64),
    "constant": np.full(64, 0.7),
    "negative": np.full(64, -3.0),
    "one outlier": np.where(np.arange(64) == 9, 1e6, 1e-3 * normal(64)),
    "subnormal": 1e-40 * normal(64),
    "smallest normal": 1.2e-38 * np.sign(normal(64)),
    "huge": 1e38 * np.sign(normal(64)),
    "largest": np.full(64, 3.4e38),
    "largest of both signs": 3.4e38 * np.sign(normal(64)),
}
ARRAYS = np.resize(np.asarray(list(AWKWARD.values()), np.float32), (16, 64))


@every_format
def test_awkward_blocks_stay_finite_and_on_the_codes(case):
    spec = case.build()
    trip = jax.tree.map(np.asarray, round_trip(ARRAYS, spec))
    assert np.all(np.isfinite(trip.values))
    assert np.all((trip.codes >= spec.lowest) & (trip.codes <= spec.highest))
    np.testing.assert_array_equal(trip.codes, np.round(trip.codes))
    # The same grid again changes no code, but where steps are subnormal, as here zero.
    ordinary = np.abs(trip.values) > 1e-30
    np.testing.assert_array_equal(trip.again[ordinary], trip.codes[ordinary])
    if case.name != "fixed_point":  # all else follows the largest, as far as steps do
        assert np.all(np.abs(trip.values[trip.blocks == np.float32(3.4e38)]) > LARGEST_END / 4)


@every_format
def test_tiny_blocks_lose_no_more_than_half_of_the_smallest_step(case):
    """A scale that XLA would flush to zero is raised, so that large codes go."""
    spec, x = case.build(), normal(16, 64)
    if case.name == "fixed_point":
        return  # its step is the same for all
    ordinary = jax.tree.map(np.asarray, round_trip(x, spec))
    lost = np.max(np.abs(ordinary.values - ordinary.blocks))
    for size in (2.0**-100, 2.0**-117, 2.0**-120, 2.0**-123):
        trip = jax.tree.map(np.asarray, round_trip(np.float32(size) * x, spec))
        error = np.max(np.abs(trip.values.astype(np.float64) - trip.blocks))
        assert error <= 1.5 * lost * size + SMALLEST_SCALE


@every_format
def test_zero_and_minus(case):
    spec = case.build()
    x = normal(16, 64) * np.geomspace(1e-3, 1e3, 16, dtype=np.float32)[:, None]
    x[:, ::3] = 0
    trip = jax.tree.map(np.asarray, round_trip(x, spec))
    if case.zero:
        assert not np.any(trip.values[trip.blocks == 0])
    if case.zero and spec.symmetric:
        assert not np.any(trip.codes[trip.blocks == 0])
    if case.odd:
        np.testing.assert_array_equal(round_trip(-x, spec).values, -trip.values)


@every_format
def test_a_leaf_of_zeros_stays_as_small_as_scales_get(case):
    values = np.asarray(round_trip(np.zeros((16, 64), np.float32), case.build()).values)
    assert np.all(np.abs(values) <= (0.0 if case.zero else SMALLEST_SCALE))


@every_format
def test_the_nearest_level_wins(case):
    """Against every level in turn, in float64, at the scale that was stored."""
    spec = case.build()
    trip = jax.tree.map(np.asarray, round_trip(normal(16, 64), spec))
    scale = np.asarray(trip.grid.steps(spec), np.float64)
    levels = np.asarray(case.levels, np.float64)
    if trip.grid.zero_point is not None:
        levels = levels - trip.grid.zero_point[..., None]
    blocks = trip.blocks.astype(np.float64)
    distance = np.abs(levels * scale[..., None] - blocks[..., None])
    # An oracle of four digits is as far off as its last one.
    rounding = 4 * EPS * np.abs(trip.values) + (5e-5 * scale if case.name == "nf4" else 0)
    assert np.all(np.abs(trip.values - blocks) <= distance.min(-1) + rounding)


VARIED = [
    *(case.build() for case in FORMATS),
    formats.int4(group_size=2, scales="bfloat16"),
    formats.int4(block=(2, 4)),
    formats.uint3(block=(3, 2), scales="codes"),
    formats.int8(per="row", scales="power_of_two"),
    formats.nf4(group_size=2, scales="codes"),
    formats.fp4(group_size=4, scales="e4m3"),
    formats.fp8_e4m3(per="tensor"),
    formats.codebook(4, group_size=2, scales="e4m3"),
    formats.codebook(2, block=(2, 2)),
    formats.power_of_two(4, per="row"),
]
AXES = {
    "conv": LeafAxes((0, 1, 2), (3,)),
    "dense": DENSE,
    "stacked": LeafAxes((1,), (2,), (0,)),
}
SHAPES = {"conv": (2, 1, 32, 6), "dense": (32, 6), "stacked": (2, 32, 6)}


def params():
    leaves = {name: jnp.asarray(normal(*shape, seed=1)) for name, shape in SHAPES.items()}
    return leaves | {"dense": leaves["dense"].astype(jnp.bfloat16)}


@pytest.mark.parametrize("spec", VARIED, ids=str)
def test_training_sees_what_is_shipped(spec):
    @jax.jit
    def both(params):
        stored, _ = quantize(params, spec, axes=AXES)
        return stored, jc.materialize(stored), fake_quantize(spec, axes=AXES)(params)

    given = params()
    stored, shown, seen = both(given)
    for name, leaf in given.items():
        assert (seen[name].shape, seen[name].dtype) == (leaf.shape, leaf.dtype)
        np.testing.assert_array_equal(seen[name], shown[name])
        # Outside of jit too, where a pair of casts cannot be dropped.
        np.testing.assert_array_equal(stored[name].materialize(), shown[name])


@pytest.mark.parametrize("spec", VARIED, ids=str)
def test_layers_of_a_stack_share_nothing(spec):
    stack = params()["stacked"] * jnp.asarray([1.0, 100.0])[:, None, None]
    leaf = quantize({"w": stack}, spec, axes={"w": AXES["stacked"]})[0]["w"]
    alone = [quantize({"w": each}, spec, axes={"w": DENSE})[0]["w"] for each in stack]
    dense = np.stack([each.materialize() for each in alone])
    np.testing.assert_array_equal(leaf.materialize(), dense)
    assert leaf.stacked
    _, scanned = jax.lax.scan(lambda carry, w: (carry, w.materialize()), 0, leaf)
    np.testing.assert_array_equal(scanned, dense)
    np.testing.assert_array_equal(jax.vmap(lambda w: w.materialize())(leaf), dense)
    together = jax.tree.map(lambda *arrays: jnp.stack(arrays), *alone)
    np.testing.assert_array_equal(together.materialize(), dense)
    shapes = jax.eval_shape(lambda: quantize({"w": stack}, spec, axes={"w": AXES["stacked"]})[0])
    assert jax.tree.structure(shapes["w"]) == jax.tree.structure(leaf)
    assert shapes["w"].shape == stack.shape


def half(spec: QuantSpec, axis):
    """Ranges from -0.5 to 0.5, whatever the data."""
    observer = min_max(spec, axis)

    def read(state):
        ones = jnp.ones_like(observer.read(state).low)
        return Range(-0.5 * ones, 0.5 * ones)

    return observer._replace(read=read)


@every_format
def test_the_gradient_is_one_inside_the_range_and_zero_outside(case):
    spec = case.build()

    @jax.jit
    def gradients(x):
        def total(x, ranges):
            return fake_quantize(spec, ranges=ranges)({"w": x})["w"].sum()

        return [jax.grad(functools.partial(total, ranges=ranges))(x) for ranges in (min_max, half)]

    x = normal(64, 6)
    whole, cut_off = gradients(x)
    steps = case.name == "fixed_point"  # whose range is its own, whatever was found
    np.testing.assert_array_equal(whole, np.abs(x) <= 7 / 4 if steps else 1)
    np.testing.assert_array_equal(cut_off, np.abs(x) <= (7 / 4 if steps else 0.5))


@pytest.mark.parametrize("spec", VARIED, ids=str)
def test_a_number_that_is_not_finite_spoils_its_own_block(spec):
    """As the scale says, since no code can; the other blocks stay as they are."""
    seen = jax.jit(lambda x: fake_quantize(spec)({"w": x})["w"])
    good = normal(32, 6)
    bad = good.copy()
    bad[5, 2], bad[30, 5] = np.nan, -np.inf
    spoilt = np.zeros((32, 6), bool)
    rows, columns = spec.sharing.sizes(spoilt.shape, DENSE)
    for row, column in ((5, 2), (30, 5)):
        top, left = row - row % rows, column - column % columns
        spoilt[top : top + rows, left : left + columns] = True
    found = np.asarray(seen(bad))
    np.testing.assert_array_equal(np.isnan(found), spoilt)
    if not spec.scales.two_levels:  # else the others may share a second scale with it
        np.testing.assert_array_equal(found[~spoilt], np.asarray(seen(good))[~spoilt])


@every_format
def test_pruned_weights_need_a_zero(case):
    x = normal(64, 4)
    keep = np.abs(x) > 0.5
    tree, masks = {"w": jnp.asarray(np.where(keep, x, 0))}, {"w": jnp.asarray(keep)}
    if case.zero:
        leaf = quantize(tree, case.build(), masks=masks)[0]["w"]
        assert not np.any(np.asarray(leaf.materialize())[~keep])
    else:
        with pytest.raises(ValueError, match=r"'w' has pruned weights, and binary per channel has"):
            quantize(tree, case.build(), masks=masks)
        with pytest.raises(ValueError, match="has no exact zero for them"):
            jax.jit(lambda m: quantize(tree, case.build(), masks=m)[0])(masks)
        quantize(tree, case.build(), masks={"w": jnp.array(True)})


@every_format
def test_codes_are_packed(case):
    spec = case.build()
    leaf = quantize({"w": jnp.asarray(normal(64, 4))}, spec)[0]["w"]
    width = next(width for width in (1, 2, 4, 8) if width >= case.bits)
    assert leaf.codes.nbytes == 64 * 4 * width // 8
    codes = np.asarray(leaf.unpacked_codes).astype(int)
    assert spec.lowest <= codes.min() <= codes.max() <= spec.highest


class Refused(NamedTuple):
    name: str
    spec: QuantSpec
    shape: tuple[int, ...]
    axes: LeafAxes | None
    message: str


REFUSED = [
    Refused("rows", formats.int4(block=(4, 2)), (8, 6), DENSE, "its 6 weights along output"),
    Refused("columns", formats.int4(block=(2, 3)), (8, 6), DENSE, "its 8 weights along contr"),
    Refused("no outputs", formats.int4(block=(2, 2)), (8,), jc.core.axes.UNUSED, "no output axis"),
    Refused(
        "assumed", formats.nf4(per="row"), (2, 2, 8), None, "has assumed axes, and nf4 per row"
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_leaves_that_no_block_fits_are_refused(case):
    axes = None if case.axes is None else {"w": case.axes}
    with pytest.raises(ValueError, match=f"leaf 'w' .*{re.escape(case.message)}"):
        quantize({"w": jnp.ones(case.shape)}, case.spec, axes=axes, select=jc.everything())


def test_an_own_codebook_is_what_codes_stand_for():
    """As a method that learns levels puts them in."""
    spec = formats.codebook(2)
    book = jnp.asarray([0.0, 3.0, -1.0, 0.25])
    x = jnp.asarray([[0.1, -0.6, 1.7, 9.0]])
    on = Grid(jnp.ones((1, 1)), codebook=book.reshape(1, 1, 4))
    codes = encode(x, on, spec)
    leaf = jc.QTensor.from_codes(
        codes.astype(jnp.int32), on, spec=spec, dtype=jnp.float32, axes=DENSE
    )
    np.testing.assert_array_equal(leaf.materialize()[:, 0], [0.0, -1.0, 3.0, 3.0])


@pytest.mark.parametrize("spec", [formats.int4(group_size=32), formats.nf4(block=(3, 32))], ids=str)
def test_groups_along_several_axes_are_those_of_the_axes_as_one(spec, tmp_path):
    """Heads of 16 in groups of 32, beside the matrix of 128 inputs."""
    x = jnp.asarray(np.random.default_rng(7).standard_normal((8, 16, 6)), jnp.float32)
    heads = LeafAxes(contracting=(0, 1), output=(2,))
    leaf = quantize({"w": x}, spec, axes={"w": heads})[0]["w"]
    flat = quantize({"w": x.reshape(128, 6)}, spec, axes={"w": DENSE})[0]["w"]
    np.testing.assert_array_equal(leaf.materialize().reshape(128, 6), flat.materialize())
    storage.save(tmp_path / "heads.safetensors", {"w": leaf})
    again = storage.load(tmp_path / "heads.safetensors")["w"]
    np.testing.assert_array_equal(again.codes, leaf.codes)
    np.testing.assert_array_equal(again.materialize(), leaf.materialize())
