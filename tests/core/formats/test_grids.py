"""Grids and codes on awkward blocks, against plain NumPy, for every format."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.core.formats.coding import decode, encode
from jaxcompress.core.formats.grids import LARGEST_END, covered, grid
from jaxcompress.core.formats.integers import Integers
from jaxcompress.core.formats.scales import SMALLEST_SCALE
from jaxcompress.core.observers import Range
from jaxcompress.core.spec import QuantSpec
from jaxcompress.quantize import int4, int8
from jaxcompress.quantize.formats import uint4, uint8
from jaxcompress.quantize.ranges import min_max
from jaxcompress.quantize.ranges.estimator import estimate

EPS = float(np.finfo(np.float32).eps)
LARGEST = float(np.finfo(np.float32).max)
LOPSIDED = QuantSpec(Integers(4, -8, 7, symmetric=True))
SPECS = [int8(), int4(), uint8(), uint4(), LOPSIDED]
every_spec = pytest.mark.parametrize("spec", SPECS, ids=lambda s: f"{s.name}{s.lowest}")

BLOCKS = {
    "ordinary": [0.3, -1.7, 0.0, 2.5, -0.01],
    "all zero": [0.0, 0.0, 0.0],
    "constant": [0.7, 0.7],
    "constant negative": [-3.0, -3.0],
    "one entry": [5.0],
    "positive": [1.0, 9.0, 4.0],
    "outlier": [1e-3, -2e-3, 1e6],
    "tiny": [1e-36, -7e-37, 0.0],
    "subnormal": [1e-39, -3e-40, 1e-38],
    "smallest normal": [1.2e-38, -1.2e-38],
    "huge": [3e38, -3e38, 1e38],
    "largest": [LARGEST, -LARGEST],
    "largest one side": [LARGEST, 0.0],
}


def round_trip(x, spec):
    cover = covered(estimate(min_max, x, (-1,), spec), spec)
    on = grid(cover, spec)
    codes = encode(x, on, spec)
    return codes, on, decode(codes, on, spec)


jitted = jax.jit(round_trip, static_argnums=1)


def allowed(x, on):
    """Half a step, what float32 rounds in two operations, and the cut at the end."""
    size = np.abs(x.astype(np.float64))
    return np.asarray(on.scale) * 0.5 + size * 4 * EPS + np.maximum(size - LARGEST_END, 0)


@every_spec
@pytest.mark.parametrize("block", BLOCKS)
def test_awkward_blocks(block, spec):
    x = np.asarray(BLOCKS[block], np.float32)
    codes, on, values = map_numpy(jitted(jnp.asarray(x), spec))
    assert np.all(np.isfinite(values))
    assert np.all(on.scale >= SMALLEST_SCALE)
    if np.any(np.abs(x) > SMALLEST_SCALE):  # smaller blocks are read as zeros, at any scale
        most = 2 * np.max(np.abs(x.astype(np.float64))) / (spec.highest - spec.lowest - 1)
        assert np.all(on.scale <= np.maximum(most * (1 + 4 * EPS), SMALLEST_SCALE))
    assert np.all((codes >= spec.lowest) & (codes <= spec.highest))
    np.testing.assert_array_equal(codes, np.round(codes))
    assert np.all(np.abs(values.astype(np.float64) - x.astype(np.float64)) <= allowed(x, on))


@every_spec
@pytest.mark.parametrize("block", BLOCKS)
def test_jit_changes_no_bit(block, spec):
    x = jnp.asarray(BLOCKS[block], jnp.float32)
    for plain, compiled in zip(
        jax.tree.leaves(round_trip(x, spec)), jax.tree.leaves(jitted(x, spec)), strict=True
    ):
        np.testing.assert_array_equal(plain, compiled)


def test_an_all_zero_block_has_scale_one():
    _, on, values = round_trip(jnp.zeros(4), int8())
    assert on.scale == 1.0
    assert not values.any()


@every_spec
@hypothesis.given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=4, max_size=4)
)
def test_laws(spec, numbers):
    x = jnp.asarray(numbers, jnp.float32)
    codes, on, values = map_numpy(jitted(x, spec))
    assert np.all(
        np.abs(values.astype(np.float64) - np.asarray(x, np.float64)) <= allowed(np.asarray(x), on)
    )
    # Zero is exact.
    zero = encode(jnp.zeros(1), on, spec)
    assert decode(zero, on, spec) == 0
    # Quantizing what the codes stand for changes no code.
    again = encode(jnp.asarray(values), on, spec)
    np.testing.assert_array_equal(again, codes)
    if spec.odd:
        mirrored, _, _ = jitted(-x, spec)
        np.testing.assert_array_equal(mirrored, -codes)


@every_spec
def test_codes_against_numpy(spec):
    """The formula in float64, on values that are no ties."""
    x = np.linspace(-2.2, 3.1, 23)
    low, high = x.min(), x.max()
    if spec.symmetric:
        step = max(high / spec.highest, low / spec.lowest)
        zero = 0
    else:
        step = (high - low) / (spec.highest - spec.lowest)
        zero = spec.lowest - np.round(low / step)
    expected = np.clip(np.round(x / step) + zero, spec.lowest, spec.highest)
    codes, _, _ = round_trip(jnp.asarray(x, jnp.float32), spec)
    ties = np.abs(np.abs(x / step - np.trunc(x / step)) - 0.5) < 1e-4
    np.testing.assert_array_equal(np.asarray(codes)[~ties], expected[~ties])


@every_spec
def test_a_range_is_covered(spec):
    found = Range(jnp.float32(-1.0), jnp.float32(4.0))
    cover = covered(found, spec)
    assert cover.low <= found.low
    assert cover.high >= found.high
    inside_out = covered(Range(jnp.float32(2.0), jnp.float32(4.0)), spec)
    assert inside_out.low <= 0


def map_numpy(tree):
    return jax.tree.map(np.asarray, tree)
