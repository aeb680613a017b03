"""How much each leaf gives, for every allocation against NumPy, and exact totals."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcompress import prune
from jaxcompress.prune.allocations import globally, uniform
from jaxcompress.prune.patterns import unstructured
from tests.prune.families.allocations import (
    ALLOCATIONS,
    AXES,
    MEASURED,
    SHAPES,
    drop_lowest_of_all,
    slices,
    split,
)


@pytest.mark.parametrize("name", ALLOCATIONS)
def test_shares_equal_the_oracle(name):
    case = ALLOCATIONS[name]
    allocation = case.make(tuple(SHAPES))
    random = np.random.default_rng(0)
    scores = split(np.where(random.random(31) < 0.1, 0, random.exponential(size=31)))
    sizes = {name: scores[name].size / len(layers) for name, layers in slices(scores).items()}

    @jax.jit
    def allocate(arrays, sparsity):  # jit would sort a dict
        return allocation(dict(zip(SHAPES, arrays, strict=True)), AXES, sparsity)

    for sparsity in (0.0, 0.02, 0.3, 0.8, 0.97, 1.0):
        shares = allocate(list(scores.values()), sparsity)
        total = 0.0
        for name, expected in case.oracle(scores, sparsity).items():
            share = np.ravel(shares[name])
            assert np.ndim(shares[name]) in (0, scores[name].ndim)
            # A few roundings of numbers up to 31, relative to them.
            np.testing.assert_allclose(share, np.resize(expected, share.shape), atol=2**-20)
            assert np.all((share >= 0) & (share <= 1))
            total += np.sum(np.resize(share, scores[name].size // int(sizes[name]))) * sizes[name]
        if case.total:
            # Half a weight is lost where the total is a whole number of weights.
            assert abs(total - sparsity * 31) <= 0.5 + 1e-4


@pytest.mark.parametrize(("least", "kept"), [(1, [1, 2, 1]), (0.3, [4, 4, 3]), (50, [12, 12, 7])])
def test_a_floor_keeps_weights_or_a_share(least, kept):
    scores = {name: jnp.array(score) for name, score in split(range(31)).items()}
    shares = prune.allocations.floored(uniform, least)(scores, AXES, 1.0)
    left = [(1 - float(np.ravel(shares[name])[0])) * scores[name].size for name in AXES]
    np.testing.assert_allclose(left, kept, atol=2**-18)


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


def test_shares_by_sensitivity_never_fall_and_the_total_is_exact():
    allocate = prune.allocations.by_sensitivity(
        prune.allocations.Sensitivity(**json.loads(json.dumps(MEASURED._asdict())))
    )
    scores = {name: jnp.array(score) for name, score in split(range(31)).items()}
    sparsities = np.linspace(0, 1, 129, dtype=np.float32)
    shares = jax.jit(jax.vmap(lambda sparsity: allocate(scores, AXES, sparsity)))(sparsities)
    assert all(np.all(np.diff(share) >= -(2.0**-23)) for share in shares.values())
    total = sum(shares[name] * score.size for name, score in scores.items())
    # Three products and their sum, of numbers up to 31.
    np.testing.assert_allclose(total, sparsities * 31, rtol=0, atol=31 * 4 * 2**-24)
    assert [float(share[0]) for share in shares.values()] == [0.0] * 3
    assert [float(share[-1]) for share in shares.values()] == [1.0] * 3


def test_globally_gives_every_slice_its_share():
    arrays = {name: jnp.array(score) for name, score in split(range(31)).items()}
    shares = jax.jit(lambda arrays: globally(arrays, AXES, 15 / 31))(arrays)
    expected = {"first": [[1.0]], "layers": [[[0.5]], [[0.0]]], "last": [0.0]}
    for name, share in shares.items():
        assert share.dtype == jnp.float32
        np.testing.assert_array_equal(share, expected[name])


@pytest.mark.parametrize(
    ("axis_type", "allocate"),
    [
        (AxisType.Auto, globally),
        (AxisType.Explicit, globally),
        (AxisType.Explicit, prune.allocations.lamp),
    ],
)
def test_shares_are_the_same_on_eight_devices(mesh, axis_type, allocate):
    random = np.random.default_rng(0)
    scores = {name: random.integers(0, 9, (8, 4, 4)).astype("f4") for name in ("first", "last")}
    axes = dict.fromkeys(scores, AXES["layers"])
    devices = mesh(layers=2, rows=4, axis_type=axis_type)
    sharding = NamedSharding(devices, P("layers", "rows"))
    jitted = jax.jit(lambda scores: allocate(scores, axes, 0.6))
    expected = jitted(scores)
    with jax.set_mesh(devices):
        shares = jitted(jax.device_put(scores, sharding))
    jax.tree.map(np.testing.assert_array_equal, shares, expected)


REFUSED = {
    "threshold": (
        lambda: prune.allocations.below(float("nan")),
        "below(threshold=nan) must be a finite",
    ),
    "deviations": (
        lambda: prune.allocations.below_deviations(0),
        "below_deviations(deviations=0) must be",
    ),
    "multiple": (
        lambda: prune.allocations.outliers(multiple=0),
        "outliers(multiple=0) must be above 0",
    ),
    "spread": (
        lambda: prune.allocations.outliers(spread=-1),
        "outliers(spread=-1) must be above 0",
    ),
    "nothing": (
        lambda: prune.allocations.floored(uniform, 0),
        "floored(least=0) must be above 0",
    ),
    "no end": (
        lambda: prune.allocations.by_sensitivity(
            prune.allocations.Sensitivity((0.5,), {"first": (1.0,)})
        ),
        "by_sensitivity(sensitivity): sparsities (0.5,) must rise from above 0 to 1.",
    ),
    "rises": (
        lambda: prune.allocations.by_sensitivity(
            prune.allocations.Sensitivity((1.0,), {"first": (float("nan"),)})
        ),
        "by_sensitivity(sensitivity): leaf 'first' has rises (nan,). Give a finite number",
    ),
    "unmeasured": (
        lambda: prune.allocations.by_sensitivity(MEASURED)({"head": jnp.ones(2)}, {}, 0.5),
        "by_sensitivity(sensitivity): leaf 'head' was not measured. Leaves are: first, layers",
    ),
    "a half": (
        lambda: prune.allocations.floored(uniform, 1.5),
        "floored(least=1.5) must be a share",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_numbers_are_refused(name):
    call, message = REFUSED[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_too_many_weights_are_refused():
    large = jax.ShapeDtypeStruct((2**16, 2**15), jnp.float32)
    with pytest.raises(ValueError, match=r"globally\(scores\) counts fewer than 2\*\*31"):
        globally({"first": large}, AXES, 0.5)  # pyright: ignore[reportArgumentType]


def test_uniform_gives_all_the_same():
    assert uniform(split(range(31)), AXES, 0.25) == dict.fromkeys(SHAPES, 0.25)  # pyright: ignore[reportArgumentType]
