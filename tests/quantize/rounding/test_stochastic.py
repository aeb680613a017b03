"""Rounding at random: right in the mean, to a neighbour, the same for one key."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.quantize import formats, quantize
from jaxcompress.quantize.rounding import nearest, stochastic

RANDOM = np.random.default_rng(0)
DRAWS = 400
FORMATS = [
    formats.int8(),
    formats.uint4(group_size=8),
    formats.int2(per="tensor"),
    formats.nf4(),
    formats.fp8_e4m3(),
    formats.nvfp4(),
    formats.power_of_two(4),
    formats.binary(),
    formats.codebook(3, group_size=8),
]


@pytest.mark.parametrize("spec", FORMATS, ids=str)
def test_the_mean_over_keys_is_the_weight(spec):
    weight = RANDOM.normal(size=(3, 16)).astype(np.float32)

    def drawn(key):
        solver = stochastic(key).solver(spec)
        return solver.weight(solver.solve(weight, jnp.eye(16)))

    keys = jax.random.split(jax.random.key(1), DRAWS)
    draws = np.float64(jax.jit(jax.vmap(drawn))(keys))
    low, high = draws.min(axis=0), draws.max(axis=0)
    # A zero point may move the range by half a step, and what lies beyond is clipped.
    inside = (low <= weight) & (weight <= high)
    assert inside.mean() > 0.7
    assert np.all((draws == low) | (draws == high))
    deviation = (high - low) / 2 / np.sqrt(DRAWS)
    assert np.all(np.abs(draws.mean(axis=0) - weight)[inside] <= (5 * deviation + 1e-6)[inside])


@pytest.mark.parametrize("spec", [formats.int4(), formats.codebook(3)], ids=str)
def test_levels_stay_as_they_are(spec):
    params = {"w": jnp.asarray(RANDOM.normal(size=(8, 4)), jnp.float32)}
    found, _ = quantize(params, spec, rounding=nearest())
    levels = {"w": found["w"].materialize()}
    again, _ = quantize(levels, spec, rounding=stochastic(jax.random.key(0)))
    np.testing.assert_array_equal(again["w"].unpacked_codes, found["w"].unpacked_codes)


def test_one_key_gives_the_same_codes_and_each_matrix_its_own_bits():
    layer = RANDOM.normal(size=(16, 16)).astype(np.float32)
    stack = {"layers": jnp.stack([layer, 2 * layer, layer])}
    axes = {"layers": jc.LeafAxes(contracting=(1,), output=(2,), batch=(0,))}

    def codes(seed):
        rounding = stochastic(jax.random.key(seed))
        return quantize(stack, formats.int4(), axes=axes, rounding=rounding)[0][
            "layers"
        ].unpacked_codes

    first = codes(0)
    np.testing.assert_array_equal(first, codes(0))
    assert np.any(first != codes(1))
    # Twice a layer lies at the same places between its levels.
    assert np.any(first[0] != first[1])
    np.testing.assert_array_equal(first[0], first[2])
