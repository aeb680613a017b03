"""Weights that an explicit mesh shards give the codes of one device, in any context."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcompress import Step
from jaxcompress.graph import calibrate
from jaxcompress.optimizers import bfloat16, quantize_state
from jaxcompress.quantize import (
    companions,
    diagnose,
    fake_quantize,
    formats,
    int4,
    int8,
    quantize,
    ranges,
    reconstruct,
    reconstruct_blocks,
    rounding,
    sharing,
)

SPECS = [
    *(int8(), int4(group_size=4), formats.nf4(group_size=4), formats.codebook(3)),
    # Two groups along axes that the mesh cuts in four.
    formats.uint4(group_size=8),
]
PLACES = {
    "contracting": P("rows"),
    "outputs": P(None, "columns"),
    "both": P("columns", "rows"),
}


@pytest.fixture
def devices(mesh):
    return mesh(rows=2, columns=4, axis_type=AxisType.Explicit)


def sharded(weights, devices):
    return {
        name: jax.device_put(w, NamedSharding(devices, PLACES[name])) for name, w in weights.items()
    }


def normal(rows, columns):
    draws = np.random.default_rng(0).normal(size=(len(PLACES), rows, columns))
    return dict(zip(PLACES, draws.astype(np.float32), strict=True))


def dense(params, x):
    return x @ params["kernel"]


# Sums of small whole numbers are exact in any order, and halves of them too.
WHOLE = np.random.default_rng(1).integers(-3, 4, (16, 16)).astype(np.float32)
KERNEL = {"kernel": normal(16, 8)["outputs"]}


PLAIN = rounding.gptq(sweeps=0)
WHOLLY = rounding.rotated(rounding.gptq(ranges=ranges.mean_squared_error), block=4)
"""In fitted ranges, of a rotated weight."""


@functools.cache
def of_one_device(solver):
    return solved(KERNEL, WHOLE, solver)


def solved(params, x, solver):
    return reconstruct(dense, params, [x], int4(), solver)[0]


def placed(x, devices, *place):
    return jax.device_put(x, NamedSharding(devices, P(*place)))


def equal(found, expected):
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize(
    ("spec", "in_context"), [*((spec, False) for spec in SPECS), (int4(), True)], ids=str
)
def test_codes_views_and_arrays_are_those_of_one_device(devices, spec, in_context):
    def both_ways(params):
        leaves, _ = quantize(params, spec)
        arrays = {name: leaf.materialize() for name, leaf in leaves.items()}
        return leaves, arrays, fake_quantize(spec)(params)

    weights = normal(16, 8)
    with jax.set_mesh(devices) if in_context else contextlib.nullcontext():
        found = jax.jit(both_ways)(sharded(weights, devices))
    equal(found, jax.jit(both_ways)(weights))
    view = found[2]
    for name, place in PLACES.items():
        assert view[name].sharding.is_equivalent_to(NamedSharding(devices, place), 2)


def test_operation_by_operation(devices):
    weights, spec = {"both": normal(16, 8)["both"]}, int4()
    leaves, _ = quantize(sharded(weights, devices), spec)
    equal(leaves, jax.jit(lambda params: quantize(params, spec)[0])(weights))
    np.testing.assert_array_equal(
        leaves["both"].materialize(), jax.jit(fake_quantize(spec))(weights)["both"]
    )


def test_packed_codes_stay_sharded_along_the_contracting_axis(devices):
    weights = sharded(normal(16, 8), devices)
    leaves = jax.jit(lambda params: quantize(params, int4())[0])(weights)
    assert leaves["contracting"].codes.shape == (8, 8)
    assert leaves["contracting"].codes.sharding.spec == P(None, "rows")


def by_vectors(params):
    return sharing.product(params, sharing.Vectors(4, 8), jax.random.key(0))[0]


def by_hash(params):
    return sharing.hash_weights(params, 1 / 4)[0]


def by_random_codes(params):
    technique, step = companions.random_codes(0.5, bits=4), Step(key=jax.random.key(0))
    beside = technique.init(params)
    return technique.view(params, beside, step), technique.freeze(params, beside, step)


@pytest.mark.parametrize("verb", [by_vectors, by_hash, by_random_codes])
def test_leaves_without_a_code_for_each_weight(devices, verb):
    weights = {"both": normal(16, 8)["both"]}
    equal(verb(sharded(weights, devices)), verb(weights))


@pytest.mark.parametrize("in_context", [False, True])
def test_states_of_sharded_params(devices, in_context):
    optimizer = quantize_state(optax.adam(1e-3), bfloat16())

    def two_steps(params):
        state = optimizer.init(params)
        _, state = optimizer.update(params, state, params)
        return optimizer.update(params, state, params)

    weights = {"both": normal(64, 64)["both"]}
    expected = jax.jit(two_steps)(weights)
    with jax.set_mesh(devices) if in_context else contextlib.nullcontext():
        found = jax.jit(two_steps)(sharded(weights, devices))
    equal(found, expected)
    assert jnp.any(expected[0]["both"] != 0)


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=str)
@pytest.mark.parametrize(
    ("count", "solver"),
    [(1, PLAIN), (2, PLAIN), (4, PLAIN), (8, WHOLLY)],
    ids=["1", "2", "4", "8, in fitted ranges and rotated"],
)
def test_codes_solved_on_sharded_data(mesh, count, solver, axis_type):
    devices = mesh(rows=count, axis_type=axis_type)
    params = {"kernel": placed(KERNEL["kernel"], devices)}
    equal(solved(params, placed(WHOLE, devices, "rows"), solver), of_one_device(solver))


def test_what_is_read_of_sharded_data(devices):
    def read(params, x):
        readings = calibrate(dense, params, [x], ranges.entropy(int4()))
        quantized, _ = quantize(params, int4())
        return readings, diagnose(dense, params, quantized, [x])

    whole, alone = read(KERNEL, WHOLE)
    params = {"kernel": placed(KERNEL["kernel"], devices, None, "columns")}
    found, sharded = read(params, placed(WHOLE, devices, "rows"))
    equal(found, whole)
    assert sharded.leaves == alone.leaves
    for name in ("weights", "outputs", "largest"):
        one, other = (getattr(each.sites[0], name) for each in (sharded, alone))
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_blocks_tuned_in_the_context_of_a_mesh(devices):
    def tuned(params, x):
        tuning = rounding.block_tuning(jax.random.key(0), steps=1)
        return reconstruct_blocks(dense, params, [x], int4(), tuning)[0]

    params = {"kernel": placed(KERNEL["kernel"], devices)}
    with jax.set_mesh(devices):
        found = tuned(params, placed(WHOLE, devices, "rows"))
    equal(found, tuned(KERNEL, WHOLE))
