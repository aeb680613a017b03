"""How much each leaf gives: uniform shares, or one threshold with an exact total."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcompress.core.axes import LeafAxes
from jaxcompress.prune import globally, uniform, unstructured

AXES = {
    "first": LeafAxes((0,), (1,)),
    "layers": LeafAxes((1,), (2,), (0,)),
    "last": LeafAxes((0,), ()),
}
SHAPES = {"first": (3, 4), "layers": (2, 2, 3), "last": (7,)}


def split(values) -> dict[str, np.ndarray]:
    ends = np.cumsum([int(np.prod(shape)) for shape in SHAPES.values()])[:-1]
    parts = np.split(np.array(values, np.float32), ends)
    return {name: part.reshape(SHAPES[name]) for name, part in zip(SHAPES, parts, strict=True)}


def drop_lowest_of_all(scores: dict[str, np.ndarray], sparsity: float) -> dict[str, np.ndarray]:
    """One stable sort over everything laid end to end."""
    everything = np.concatenate([score.ravel() for score in scores.values()])
    keep = np.ones(everything.size, bool)
    count = round(Fraction(float(np.float32(sparsity))) * everything.size)
    keep[np.argsort(everything, kind="stable")[:count]] = False
    return {name: part.astype(bool) for name, part in split(keep).items()}


@jax.jit
def masks_under_one_threshold(scores: list, sparsity) -> list:
    arrays = dict(zip(SHAPES, scores, strict=True))
    shares = globally(arrays, AXES, sparsity)
    return [unstructured(arrays[name], shares[name], AXES[name]) for name in SHAPES]


@given(st.lists(st.integers(0, 6), min_size=31, max_size=31), st.floats(0, 1, width=32))
def test_globally_equals_one_sort_over_all_leaves(values, sparsity):
    scores = split(values)
    masks = masks_under_one_threshold(list(scores.values()), jnp.float32(sparsity))
    for mask, expected in zip(masks, drop_lowest_of_all(scores, sparsity).values(), strict=True):
        np.testing.assert_array_equal(mask, expected)


def test_globally_gives_every_slice_its_share():
    arrays = {name: jnp.array(score) for name, score in split(range(31)).items()}
    shares = jax.jit(lambda arrays: globally(arrays, AXES, 15 / 31))(arrays)
    expected = {"first": [[1.0]], "layers": [[[0.5]], [[0.0]]], "last": [0.0]}
    for name, share in shares.items():
        assert share.dtype == jnp.float32
        np.testing.assert_array_equal(share, expected[name])


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_globally_is_the_same_on_eight_devices(mesh, axis_type):
    random = np.random.default_rng(0)
    scores = {name: random.integers(0, 9, (8, 4, 4)).astype("f4") for name in ("first", "last")}
    axes = dict.fromkeys(scores, AXES["layers"])
    devices = mesh(layers=2, rows=4, axis_type=axis_type)
    sharding = NamedSharding(devices, P("layers", "rows"))
    expected = globally(jax.tree.map(jnp.array, scores), axes, 0.6)
    with jax.set_mesh(devices):
        shares = globally(jax.device_put(scores, sharding), axes, 0.6)
    jax.tree.map(np.testing.assert_array_equal, shares, expected)


def test_too_many_weights_are_refused():
    large = jax.ShapeDtypeStruct((2**16, 2**15), jnp.float32)
    with pytest.raises(ValueError, match=r"globally\(scores\) counts fewer than 2\*\*31"):
        globally({"first": large}, AXES, 0.5)


def test_uniform_gives_all_the_same():
    assert uniform(split(range(31)), AXES, 0.25) == dict.fromkeys(SHAPES, 0.25)
