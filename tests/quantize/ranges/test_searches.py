"""Searched ranges: never worse than the whole range, also on bad data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.formats.coding import decode, encode
from jaxcompress.core.formats.cuts import cut, in_blocks
from jaxcompress.quantize import formats, int4, int8
from jaxcompress.quantize.ranges import (
    entropy,
    mean_squared_error,
    min_max,
    p_norm,
    percentile,
    signal_to_noise,
)
from jaxcompress.quantize.ranges.estimator import estimate
from jaxcompress.quantize.ranges.grids import found_grid

SEARCHES = [mean_squared_error, p_norm, signal_to_noise]
# One of each way to search: the three of SEARCHES differ in the loss alone.
NEW = [mean_squared_error, percentile, entropy]
every_new = pytest.mark.parametrize("ranges", NEW, ids=lambda ranges: ranges.__name__)
DENSE = LeafAxes(contracting=(0,), output=(1,))
SPECS = [
    *(int8(per="tensor"), int4(group_size=4), formats.uint3(), formats.fp4(block=(2, 4))),
    *(formats.nf4(), formats.codebook(3), formats.mxfp4(), formats.fixed_point(4, 2)),
    *(formats.binary(scales="bfloat16"), formats.power_of_two(3, scales="power_of_two")),
]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_no_block_errs_more_than_in_its_whole_range(spec):
    x = np.random.default_rng(0).standard_t(3, size=(32, 6)).astype(np.float32)
    parts = cut(x.shape, spec.sharing, DENSE)

    @jax.jit
    def errors(x):
        blocks = in_blocks(x, parts)
        grids = (found_grid(each, blocks, parts, spec) for each in (mean_squared_error, min_max))
        return [decode(encode(blocks, on, spec), on, spec) - blocks for on in grids]

    found, whole = (
        np.sum(np.square(error, dtype=np.float64), axis=parts.shared) for error in errors(x)
    )
    # Each float32 sum that was compared errs by at most n · eps of its terms.
    assert np.all(found <= whole * (1 + 2 * x.size * np.finfo(np.float32).eps))


@every_new
def test_blocks_that_tell_nothing(ranges):
    """Zeros, a constant, floats that are flushed, huge ones, and such as are none."""
    rows = [[0.0] * 4, [2.5] * 4, [1e-40] * 4, [3e38, -3e38, 1e38, 0.0]]
    rows += [[1.0, np.nan, 2.0, 0.5], [1.0, np.inf, 2.0, 0.5], [-1.0, 0.0, 0.0, 0.0]]
    x = jnp.asarray(rows, jnp.float32)
    found = jax.jit(lambda x: estimate(ranges, x, (1,), formats.uint4()))(x)
    whole = estimate(min_max, x, (1,), formats.uint4())
    low, high = (np.asarray(end)[:, 0] for end in found)
    least, most = (np.asarray(end)[:, 0] for end in whole)
    np.testing.assert_array_equal(np.isnan(low), np.isnan(least))
    np.testing.assert_array_equal(np.isnan(high), [False] * 4 + [True] * 2 + [False])
    real = ~np.isnan(low)
    assert np.all((np.minimum(least, 0) <= low)[real] & (high <= np.maximum(most, 0))[real])
    assert high[0] == low[0] == 0 < high[3]
    assert low[6] < 0


@every_new
def test_without_numbers_the_range_is_unknown(ranges):
    observer = ranges(int8(), (0,))
    struct = jax.ShapeDtypeStruct((0, 3), jnp.float32)
    empty, state = jnp.zeros(struct.shape), observer.init(struct)
    seen = jax.jit(lambda x: observer.read(observer.update(x, state)))(empty)
    for low, high in (seen, jax.jit(lambda x: observer.read(observer.alone(x)))(empty)):
        np.testing.assert_array_equal(low, np.full((1, 3), np.inf))
        np.testing.assert_array_equal(high, np.full((1, 3), -np.inf))


def test_a_complex_number_is_two():
    ranges = mean_squared_error
    parts = np.random.default_rng(1).normal(size=(2, 5, 4)).astype(np.float32)
    estimated = jax.jit(lambda x: estimate(ranges, x, (0,), int4()))
    found, expected = estimated(parts[0] + 1j * parts[1]), estimated(np.concatenate(parts))
    np.testing.assert_allclose(np.ravel(found), np.ravel(expected), rtol=1e-6)


@every_new
def test_sharded_blocks_have_the_ranges_of_one_device(ranges, mesh):
    devices = mesh(rows=2, columns=4, axis_type=AxisType.Explicit)
    x = np.random.default_rng(2).normal(size=(8, 16)).astype(np.float32)
    place = NamedSharding(devices, P("rows", "columns"))
    estimated = jax.jit(lambda x: estimate(ranges, x, (1,), int4()))
    for one, other in zip(estimated(jax.device_put(x, place)), estimated(x), strict=True):
        np.testing.assert_array_equal(one, other)


@every_new
@pytest.mark.parametrize("axis", [None, (0,)], ids=str)
def test_nothing_is_promoted_by_chance(ranges, axis):
    def reading(x):
        observer = ranges(formats.nf4(), axis)
        state = observer.update(x, observer.init(x))
        return observer.read(observer.merge(state, state)), observer.read(observer.alone(x))

    with (
        jax.numpy_dtype_promotion("strict"),
        jax.numpy_rank_promotion("raise"),
        jax.enable_x64(True),
    ):
        found = jax.eval_shape(reading, jax.ShapeDtypeStruct((8, 3), jnp.bfloat16))
    assert all(end.dtype == jnp.float32 for end in jax.tree.leaves(found))


@pytest.mark.parametrize("ranges", [*SEARCHES, entropy], ids=lambda ranges: ranges.__name__)
def test_a_search_needs_a_format(ranges):
    with pytest.raises(TypeError, match=rf"{ranges.__name__}\(spec=None\) must be of type Quant"):
        ranges(None)


def test_wrong_weights_are_refused():
    with pytest.raises(ValueError, match=r"p_norm\(power=0\)"):
        p_norm(int8(), power=0)
    with pytest.raises(ValueError, match=r"signal_to_noise\(clipping=-1\)"):
        signal_to_noise(int8(), clipping=-1)
    with pytest.raises(ValueError, match=r"percentile\(kept=1.5\)"):
        percentile(int8(), kept=1.5)
