"""Weights that an explicit mesh shards give the codes of one device, in any context."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcompress.optimizers import bfloat16, quantize_state
from jaxcompress.quantize import fake_quantize, formats, int4, int8, quantize

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
