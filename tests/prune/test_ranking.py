"""The lowest entries by counting: exact counts, ties by index, every kind of float."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcompress.prune.ranking import cut, lowest, order_keys

TINY = float(np.finfo(np.float32).smallest_subnormal)
VALUES = [0.0, -0.0, TINY, -TINY, 1.5, 1.5, -1.5, 3e38, np.inf, -np.inf, np.nan]
DTYPES = [jnp.float32, jnp.bfloat16, jnp.float16]


def lowest_by_sorting(x: np.ndarray, count: int) -> np.ndarray:
    """The plainest form: a stable sort, NaN first, in exact double precision."""
    wide = x.astype(np.float64).ravel()
    order = sorted(
        range(x.size), key=lambda i: (not np.isnan(wide[i]), np.nan_to_num(wide[i], posinf=1e300))
    )
    marked = np.zeros(x.size, bool)
    marked[order[:count]] = True
    return marked.reshape(x.shape)


@pytest.mark.parametrize("dtype", DTYPES)
@given(values=st.lists(st.sampled_from(VALUES), min_size=12, max_size=12), count=st.integers(0, 12))
def test_lowest_equals_a_stable_sort(dtype, values, count):
    x = jnp.array(np.array(values, np.float32).reshape(3, 4)).astype(dtype)
    expected = lowest_by_sorting(np.asarray(x).astype(np.float32), count)
    np.testing.assert_array_equal(lowest(x, count, axis=(0, 1)), expected)


@pytest.mark.parametrize("axis", [(), (0,), (1,), (2,), (0, 2), (1, 2), (0, 1, 2)])
def test_every_slice_is_a_group(axis):
    x = np.random.default_rng(0).integers(0, 4, (3, 4, 5)).astype(np.float32)
    inside = [x.shape[i] for i in axis]
    count = int(np.prod(inside, dtype=int)) // 2
    groups = np.moveaxis(x, axis, range(3 - len(axis), 3)).reshape(-1, *inside)
    expected = np.stack([lowest_by_sorting(group, count) for group in groups])
    marked = np.moveaxis(np.asarray(lowest(x, count, axis=axis)), axis, range(3 - len(axis), 3))
    np.testing.assert_array_equal(marked.reshape(groups.shape), expected)


def test_each_group_has_its_own_count():
    marked = lowest(jnp.zeros((3, 4)), jnp.array([[0], [2], [4]]), axis=(1,))
    np.testing.assert_array_equal(marked, [[False] * 4, [True, True, False, False], [True] * 4])


def test_keys_are_in_the_order_of_the_floats():
    x = np.array([-np.inf, -3e38, -1.0, -TINY, 0.0, TINY, 1e-38, 1.0, 3e38, np.inf], np.float32)
    keys = np.asarray(order_keys(x)).astype(np.int64)
    assert (np.diff(keys) > 0).all()
    assert order_keys(jnp.float32(-0.0)) == order_keys(jnp.float32(0.0))
    np.testing.assert_array_equal(order_keys(np.array([np.nan, -np.nan], np.float32)), [0, 0])


@pytest.mark.parametrize("bits", [3, 4])
@given(keys=st.lists(st.integers(0, 15), min_size=1, max_size=8), count=st.integers(0, 8))
def test_cut_is_the_largest_bound(bits, keys, count):
    def below(bounds):
        return [jnp.sum(jnp.array(keys) < bound) for bound in bounds]

    found = int(cut(below, count, bits=bits))
    assert found == max(
        bound for bound in range(2**bits) if sum(key < bound for key in keys) <= count
    )


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("spec", [P("rows", "columns"), P(("rows", "columns")), P(None, "columns")])
def test_sharded_arrays_stay_sharded_and_give_the_same(mesh, axis_type, spec):
    x = np.random.default_rng(1).integers(0, 5, (8, 8)).astype(np.float32)
    devices = mesh(rows=2, columns=4, axis_type=axis_type)
    sharding = NamedSharding(devices, spec)
    with jax.set_mesh(devices):
        marked = lowest(jax.device_put(x, sharding), 30, axis=(0, 1))
    assert marked.sharding.is_equivalent_to(sharding, 2)
    np.testing.assert_array_equal(marked, lowest_by_sorting(x, 30))


def test_a_large_count_is_exact():
    x = jnp.arange(2**20, dtype=jnp.float32) % 1000
    assert int(jnp.sum(lowest(x, 700_001, axis=(0,)))) == 700_001
