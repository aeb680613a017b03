"""Block by block: where blocks end, that none gets worse, and what it is worth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.layerwise.blocks import blocks
from jaxcompress.quantize import formats, quantize, reconstruct_blocks
from jaxcompress.quantize.rounding import block_tuning

DATA = np.random.default_rng(0)


def normal(*shape):
    return (DATA.normal(size=shape) / np.sqrt(shape[-2])).astype(np.float32)


def residual(params, x):
    for name in ("first", "second"):
        inner = x - jnp.mean(x, axis=-1, keepdims=True)
        x = x + jnp.tanh(inner @ params[name]["up"]) @ params[name]["down"]
    return x @ params["out"]


def stacked(params, x):
    def layer(x, w):
        return x + jnp.tanh(x @ w["up"]) @ w["down"], None

    return jax.lax.scan(layer, x, params)[0]


BLOCK = {"up": normal(6, 8), "down": normal(8, 6)}
RESIDUAL = {"first": BLOCK, "second": jax.tree.map(np.flip, BLOCK), "out": normal(6, 3)}
STACKED = {"up": normal(2, 6, 8), "down": normal(2, 8, 6)}
BATCHES = [DATA.normal(size=(16, 6)).astype(np.float32) for _ in range(3)]
MODELS = {"residual": (residual, RESIDUAL), "scanned": (stacked, STACKED)}
TUNING = block_tuning(jax.random.key(0), steps=4)
FOUND = {
    "residual": [{"first/up", "first/down"}, {"second/up", "second/down"}, {"out"}],
    "scanned": [{"up", "down"}, {"up", "down"}],
}


@pytest.mark.parametrize("name", MODELS)
def test_a_block_is_residual_or_a_layer(name):
    fn, params = MODELS[name]
    names = set().union(*FOUND[name])
    inputs = [(x,) for x in BATCHES]
    found = [block for block, _ in blocks("mine", fn, params, inputs, names, 1)]
    assert [{leaf for leaf, _ in block.section.turns} for block in found] == FOUND[name]


@pytest.mark.parametrize(("name", "drop"), [("residual", 0.5), ("scanned", 0.0)])
def test_the_model_errs_less_than_rounded_to_nearest(name, drop):
    fn, params = MODELS[name]
    spec, tuning = formats.int3(), block_tuning(jax.random.key(0), steps=40, drop=drop)
    tuned, report = reconstruct_blocks(fn, params, BATCHES, spec, tuning)
    plain, _ = quantize(params, spec, axes=jc.graph.axes(fn, params, BATCHES[0]))
    x = jnp.concatenate(BATCHES)
    errors = [
        float(jnp.mean(jnp.square(fn(jc.materialize(each), x) - fn(params, x))))
        for each in (tuned, plain)
    ]
    assert errors[0] < errors[1]
    assert all(row.reason.startswith("tuned with its block") for row in report.leaves)


UNREACHED = {
    "up": "rounded without data: no data reached it; give batches that reach it",
    "down": "tuned with its block",
}


def test_a_leaf_that_no_data_reach_is_rounded_to_nearest_and_its_row_says_so():
    params, x = {"up": normal(6, 8), "down": normal(8, 6)}, jnp.zeros((4, 6))

    def fn(params, x):
        return x + jax.nn.sigmoid(x @ params["up"]) @ params["down"]

    found, report = reconstruct_blocks(fn, params, [x], formats.int4(), TUNING)
    assert all(row.reason.startswith(UNREACHED[row.name]) for row in report.leaves)
    plain, _ = quantize(params, formats.int4())
    np.testing.assert_array_equal(found["up"].materialize(), plain["up"].materialize())


def test_the_row_of_a_leaf_counts_the_experts_that_no_data_reach():
    def fn(params, x):
        met = jnp.stack([x, jnp.zeros_like(x)])  # (experts, rows, features)
        return x + jnp.einsum("eri,eio->ero", met, params["experts"]).sum(axis=0)

    params = {"experts": normal(2, 6, 6)}
    _, report = reconstruct_blocks(fn, params, BATCHES[:1], formats.int4(), TUNING)
    assert report.leaves[0].reason.endswith("nearest; no data reached 1 of its 2 matrices")


def test_batches_of_several_shapes_are_refused():
    batches = [BATCHES[0], BATCHES[0][:4]]
    with pytest.raises(ValueError, match=r"reconstruct_blocks\(batches=.* are of 2 shapes"):
        reconstruct_blocks(residual, RESIDUAL, batches, formats.int4(), TUNING)


def test_a_block_that_gives_no_numbers_is_named():
    with pytest.raises(ValueError, match=r"batches=...\): what the block of 'first/up', .* finite"):
        reconstruct_blocks(residual, RESIDUAL, [BATCHES[0] * jnp.nan], formats.int4(), TUNING)
