"""Scale searches: against a loop over stored scales, per block, and on bad data."""

from functools import partial

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.formats.cuts import cut, in_blocks
from jaxcompress.quantize import fake_quantize, int4, quantize
from jaxcompress.quantize.formats import mxfp4, nf4, nvfp4
from jaxcompress.quantize.ranges import min_max
from jaxcompress.quantize.ranges.grids import found_grid
from jaxcompress.quantize.rounding import nearest
from jaxcompress.quantize.rounding.matrices import MATRIX, decoded, encoded, grid_of
from jaxcompress.quantize.scales import (
    best_exponent,
    four_over_six,
    rounded_exponent,
    sweep,
    weighted_sweep,
)
from tests.inputs import on_device

SEARCHES = {
    "four_over_six": (four_over_six, nvfp4()),
    "sweep": (sweep, nvfp4()),
    "rounded_exponent": (rounded_exponent, mxfp4()),
    "best_exponent": (best_exponent, mxfp4()),
}
every_search = pytest.mark.parametrize(("search", "spec"), SEARCHES.values(), ids=SEARCHES)
EPSILON = float(np.finfo(np.float32).eps)
E4M3 = np.arange(1, 127, dtype=np.uint8).view(ml_dtypes.float8_e4m3fn).astype(np.float64)


@partial(jax.jit, static_argnums=(1, 2))
def rounded(weight, spec, ranges, second_moment=None):
    on = grid_of(weight, spec, ranges, second_moment)
    return decoded(encoded(weight, on, spec), on, spec), on


def errors(weight, spec, ranges, size, second_moment=None):
    """The squared error of each block, (outputs, groups) float64."""
    values, on = rounded(weight, spec, ranges, second_moment)
    error = np.asarray(values, np.float64) - np.asarray(weight, np.float64)
    blocks = error.reshape(len(error), -1, size)
    own = np.broadcast_to(np.eye(size), (blocks.shape[1], size, size))
    if second_moment is not None:
        square = np.asarray(second_moment, np.float64).reshape(-1, size, blocks.shape[1], size)
        own = np.stack([square[group, :, group] for group in range(blocks.shape[1])])
    return np.einsum("ogi,gij,ogj->og", blocks, own, blocks), on


def normal(*shape, seed=0):
    return on_device(np.random.default_rng(seed).normal(size=shape))


def error_by_hand(block, scale):
    """With the scale of a block, by the type of another package."""
    steps = np.clip(block / scale, -6, 6).astype(ml_dtypes.float4_e2m1fn).astype(np.float64)
    return np.sum((steps * scale - block) ** 2)


@pytest.mark.parametrize("name", ["four_over_six", "sweep"])
def test_against_a_loop_over_stored_scales(name):
    weight = normal(6, 96)
    found, on = errors(weight, nvfp4(), SEARCHES[name][0](), 16)
    second = float(np.ravel(on.second_scale)[0])
    np.testing.assert_allclose(second, np.abs(weight).max() / (6 * 256), rtol=EPSILON)
    for row, blocks in enumerate(np.asarray(weight, np.float64).reshape(6, 6, 16)):
        for group, block in enumerate(blocks):
            whole = np.abs(block).max() / 6 / second
            tried = [factor * whole for factor in (1.0, 1.5)]
            stored = np.asarray(tried).astype(ml_dtypes.float8_e4m3fn).astype(np.float64)
            if name == "sweep":
                stored = E4M3[np.abs(E4M3 / whole - 1.25) <= 0.95]  # from 0.3 to 2.2
            least = min(error_by_hand(block, scale * second) for scale in stored)
            np.testing.assert_allclose(found[row, group], least, rtol=64 * EPSILON)


def test_each_search_errs_no_more_than_the_coarser_one():
    weight, more = normal(6, 96), 1 + 64 * EPSILON
    four, on = errors(weight, nvfp4(), four_over_six(), 16)
    swept, same = errors(weight, nvfp4(), sweep(), 16)
    np.testing.assert_array_equal(on.second_scale, same.second_scale)

    @jax.jit
    def at_the_largest(weight):
        blocks = jnp.abs(weight.reshape(6, 6, 16))
        scale = nvfp4().scales.under(jnp.max(blocks, axis=-1) / 6, on.second_scale)
        alone = on._replace(scale=scale)
        return decoded(encoded(weight, alone, nvfp4()), alone, nvfp4())

    values = at_the_largest(weight)
    whole = np.square(np.asarray(values - weight, np.float64)).reshape(6, 6, 16).sum(-1)
    assert np.all(four <= whole * more)
    assert np.all(swept <= four * more)
    assert np.sum(swept) < np.sum(four) < np.sum(whole)
    best, rule, exact = (
        errors(weight, mxfp4(), ranges, 32)[0]
        for ranges in (best_exponent(), rounded_exponent(), min_max)
    )
    assert np.all(best <= np.minimum(rule, exact) * more)


def test_input_energy_decides_where_it_is_known():
    weight = normal(6, 96)
    mixed = np.asarray(normal(96, 96, seed=1)) * np.linspace(0.1, 3.0, 96)[:, None]
    second_moment = jnp.asarray(mixed @ mixed.T, jnp.float32)
    weighted, swept = (
        errors(weight, nvfp4(), search(), 16, second_moment)[0]
        for search in (weighted_sweep, sweep)
    )
    # Sums of 256 products, whose terms are of both signs.
    assert np.all(weighted <= swept * 1.001)
    assert np.sum(weighted) < np.sum(swept)
    identity = rounded(weight, nvfp4(), weighted_sweep(), jnp.eye(96))[1]
    np.testing.assert_array_equal(identity.scale, rounded(weight, nvfp4(), sweep())[1].scale)
    narrow, moment = weight[:, :16], second_moment[:16, :16]
    block = errors(narrow, nvfp4(), weighted_sweep(), 16, moment)[0]
    assert np.all(block <= 1.001 * errors(narrow, nvfp4(), sweep(), 16, moment)[0])


FIGURES = {
    "normal": {
        "min_max": 0.0090,
        "four_over_six": 0.0075,
        "sweep": 0.0066,
        "best_exponent": 0.0126,
    },
    "laplace": {
        "min_max": 0.0086,
        "four_over_six": 0.0075,
        "sweep": 0.0067,
        "best_exponent": 0.0153,
    },
}


@pytest.mark.parametrize("name", FIGURES)
def test_relative_errors_are_those_that_are_known(name):
    weight = jnp.asarray(getattr(np.random.default_rng(0), name)(size=(64, 2048)), jnp.float32)
    power = np.sum(np.square(weight, dtype=np.float64))
    for which, figure in FIGURES[name].items():
        search, spec = SEARCHES.get(which, (lambda: min_max, nvfp4()))
        found = np.sum(errors(weight, spec, search(), 16)[0]) / power
        # Two digits are told, and the second scale follows the largest of the sample.
        np.testing.assert_allclose(found, figure, rtol=0.03)


@every_search
def test_bad_blocks(search, spec):
    """Zeros, flushed, huge and such as are not finite, which spoil no other block."""
    weight = normal(6, 96).at[0].set(0.0).at[1].set(1e-40).at[2, 3].set(jnp.nan)
    weight = weight.at[3, 5].set(jnp.inf)
    values, on = rounded(weight, spec, search())
    finite = np.all(np.isfinite(values), axis=1)
    np.testing.assert_array_equal(finite, [True, True, False, False, True, True])
    np.testing.assert_array_equal(values[:2], 0.0)
    assert np.all(np.abs(values[4:] - weight[4:]) <= jnp.max(jnp.abs(weight[4:])) / 4)
    if spec == nvfp4():
        stored = np.asarray(on.scale)[[0, 1, 4, 5]]
        assert np.all((stored >= 1) & (stored <= 126))
    huge, _ = rounded(3e38 * jnp.sign(normal(6, 96)), spec, search())
    assert np.all(np.isfinite(huge))
    assert np.all(jnp.abs(huge) > 1e38)


@pytest.mark.parametrize("name", ["sweep", "rounded_exponent"])
def test_view_and_codes_agree_in_layers_of_a_stack(name):
    search, spec = SEARCHES[name]
    stack = normal(2, 64, 3) * jnp.array([1.0, 100.0])[:, None, None]
    axes = {"w": LeafAxes(contracting=(1,), output=(2,), batch=(0,))}

    @jax.jit
    def both(params):
        leaves, _ = quantize(params, spec, axes=axes, rounding=nearest(search()))
        view = fake_quantize(spec, axes=axes, ranges=search())(params)
        return leaves["w"].materialize(), view["w"]

    codes, view = both({"w": stack})
    np.testing.assert_array_equal(codes, view)
    second, _ = rounded(stack[1].T, spec, search())
    np.testing.assert_array_equal(codes[1], second.T)
    shapes, _ = quantize(
        {"w": jax.ShapeDtypeStruct((2, 64, 3), jnp.float32)},
        *(spec,),
        axes=axes,
        rounding=nearest(search()),
    )
    assert shapes["w"].shape == (2, 64, 3)


@pytest.mark.parametrize("name", ["sweep", "best_exponent"])
def test_sharded_weights_have_the_scales_of_one_device(name, mesh):
    search, spec = SEARCHES[name]
    devices = mesh(rows=2, columns=4, axis_type=AxisType.Explicit)
    weight = normal(8, 128)
    parts = cut(weight.shape, spec.sharing, MATRIX)
    scales = jax.jit(lambda x: found_grid(search(), in_blocks(x, parts), parts, spec).scale)
    spread = jax.device_put(weight, NamedSharding(devices, P("rows", "columns")))
    np.testing.assert_array_equal(scales(spread), scales(weight))


def test_gradients_pass_inside_the_clipped_range():
    params = {"w": jnp.zeros((32, 1)).at[0].set(7.0).at[1].set(1.0)}
    view = fake_quantize(mxfp4(), ranges=rounded_exponent())
    grads = jax.jit(jax.grad(lambda params: jnp.sum(view(params)["w"])))(params)["w"]
    np.testing.assert_array_equal(grads[:3, 0], [0.0, 1.0, 1.0])


@pytest.mark.parametrize(
    ("search", "spec", "message"),
    [
        (four_over_six, int4(scales="e4m3"), "four_over_six: int4"),
        (four_over_six, mxfp4(), "four_over_six: fp4.* has no E4M3 scales"),
        (sweep, mxfp4(), "sweep: fp4.* has no E4M3 scales"),
        (weighted_sweep, int4(), "weighted_sweep: int4.* has no E4M3 scales"),
        (rounded_exponent, nf4(scales="power_of_two"), "rounded_exponent: nf4"),
        (best_exponent, nvfp4(), "best_exponent: fp4.* has no PowerOfTwo scales"),
    ],
)
def test_a_format_without_such_scales_is_refused(search, spec, message):
    with pytest.raises(ValueError, match=message):
        quantize({"w": jnp.ones((32, 2))}, spec, rounding=nearest(search()))
