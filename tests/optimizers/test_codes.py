"""Low-bit codes: the nearest entry of each map, its error, and rounding in the mean."""

import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcompress.optimizers import (
    BlockFormat,
    bfloat16,
    dynamic8,
    fp8,
    linear4,
    linear8,
    rounded_to_bfloat16,
)
from jaxcompress.optimizers.memory.rounding import random_words
from tests.inputs import ARRAYS

BLOCK = 64
EPS = float(np.finfo(np.float32).eps)
TINY = float(np.finfo(np.float32).tiny)
KEYS = 4096


def dynamic_map(bits: int) -> list[float]:
    """Magnitudes by the paper's bits: e zeros, a one, the rest a fraction."""
    entries = [0.0]
    for code in range(1, 2**bits):
        text = f"{code:0{bits}b}"
        zeros = text.index("1")
        rest = text[zeros + 1 :]
        steps = int(rest or "0", 2) + 1
        entries.append(10.0**-zeros * (0.1 + 0.9 * steps / 2 ** len(rest)))
    return entries


def linear_map(highest: int) -> list[float]:
    return [code / highest for code in range(highest + 1)]


def e4m3_map() -> list[float]:
    """Every magnitude of the float8 type itself."""
    floats = np.arange(127, dtype=np.uint8).view(jnp.float8_e4m3fn).astype(np.float64)
    return list(floats / 448)


class Case(NamedTuple):
    """A format and the magnitudes of its map, by an oracle of its own."""

    name: str
    format: BlockFormat
    magnitudes: list[float]
    signed: bool = True
    """whether blocks hold numbers below 0"""


CASES = [
    Case("dynamic8", dynamic8(BLOCK), dynamic_map(7)),
    Case("dynamic8, unsigned", dynamic8(BLOCK), dynamic_map(8), signed=False),
    Case("linear8", linear8(BLOCK), linear_map(127)),
    Case("linear8, unsigned", linear8(BLOCK), linear_map(255), signed=False),
    Case("linear4", linear4(BLOCK), linear_map(7)),
    Case("linear4, unsigned", linear4(BLOCK), linear_map(15), signed=False),
    Case("fp8", fp8(BLOCK), e4m3_map()),
    Case("fp8, unsigned", fp8(BLOCK), e4m3_map(), signed=False),
]
cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
signed = pytest.mark.parametrize("case", CASES[::2], ids=lambda case: case.name)
unsigned = pytest.mark.parametrize("case", CASES[1::2], ids=lambda case: case.name)


@functools.partial(jax.jit, static_argnums=1)
def round_trip(x, form, key=None):
    return form.decode(form.encode(x, key))


encoded = jax.jit(lambda x, form: form.encode(x), static_argnums=1)
decoded_again = jax.jit(lambda stored: stored.format.decode(stored))


def of_its_sign(case, x):
    return x if case.signed else np.abs(x)


def spread_out(*shape, seed=0):
    """Numbers over eight decades, of both signs."""
    random = np.random.default_rng(seed)
    return (random.choice([-1, 1], shape) * 10 ** random.uniform(-8, 0, shape)).astype(np.float32)


def nearest(case, x, scale):
    """Per entry: the smallest distance to any entry of the map, by a plain loop."""
    entries = np.array(case.magnitudes)
    entries = np.concatenate([-entries, entries]) if case.signed else entries
    return np.array([np.min(np.abs(entries * scale - float(number))) for number in x.flat])


@cases
def test_the_map_is_the_definition(case):
    highest = len(case.magnitudes) - 1
    assert highest == (case.format.levels.signed if case.signed else case.format.levels.unsigned)
    assert highest <= (127 if case.signed else 255)
    # One block per entry: the entry beside the block's largest.
    x = np.zeros((highest + 1, BLOCK), np.float32)
    x[:, 0], x[:, 1], x[:, 2] = 1.0, case.magnitudes, -1.0 if case.signed else 0.0
    stored = encoded(x, case.format)
    decoded = decoded_again(stored)
    assert (stored.codes.dtype, stored.scales.dtype) == (jnp.uint8, jnp.float32)
    # A line through the largest entry of its decade: a rounding of a few units of that.
    np.testing.assert_allclose(decoded[:, 1], np.array(case.magnitudes), rtol=16 * EPS, atol=0)
    assert len(np.unique(decoded[:, 1])) == highest + 1


@cases
def test_every_number_goes_to_the_nearest_entry(case):
    x = of_its_sign(case, 3.0 * spread_out(37, BLOCK))
    decoded = np.asarray(round_trip(x, case.format))
    for block, found in zip(x, decoded, strict=True):
        scale = float(np.max(np.abs(block)))
        kept = np.abs(found.astype(np.float64) - block)
        best = nearest(case, block, scale)
        # What would round to 0 in an unsigned map goes to the least entry above it.
        raised = (not case.signed) & (block > 0) & (block < case.magnitudes[1] * scale)
        allowed = np.where(raised, case.magnitudes[1] * scale, best)
        assert np.all(kept <= allowed + 16 * EPS * np.abs(block) + 4 * EPS * scale * 1e-6)


@pytest.mark.parametrize("case", [CASES[0], CASES[5]], ids=lambda case: case.name)
@pytest.mark.parametrize("name", ARRAYS)
def test_awkward_arrays_keep_their_shape_and_half_a_gap(case, name):
    x = jnp.abs(jnp.asarray(ARRAYS[name])) if not case.signed else jnp.asarray(ARRAYS[name])
    decoded = round_trip(x, case.format)
    assert (decoded.shape, decoded.dtype) == (x.shape, x.dtype)
    wide = np.asarray(x, np.float64)
    scale = np.max(np.abs(wide), initial=0.0)
    gap = max(after - before for before, after in itertools.pairwise(case.magnitudes))
    bound = gap * scale / 2 if scale >= TINY else TINY
    least = 0.0 if case.signed else case.magnitudes[1] * scale
    unit = float(jnp.finfo(x.dtype).eps)
    error = np.abs(np.asarray(decoded, np.float64) - wide)
    assert np.all(error <= max(bound, least) + 2 * unit * scale)


@cases
def test_zeros_stay_zeros_and_the_largest_stays_itself(case):
    x = of_its_sign(case, spread_out(9, BLOCK)) * np.float32(1e-3)
    x[:, 5:20] = 0.0
    x[3] = 0.0
    decoded = np.asarray(round_trip(x, case.format))
    assert np.all(decoded[:, 5:20] == 0.0)
    assert np.all(decoded[3] == 0.0)
    largest = np.argmax(np.abs(x), axis=1)[:, None]
    np.testing.assert_array_equal(
        np.take_along_axis(decoded, largest, 1), np.take_along_axis(x, largest, 1)
    )


@signed
def test_signed_codes_are_odd(case, key):
    x = spread_out(11, BLOCK)
    for rounding_key in (None, key):
        np.testing.assert_array_equal(
            round_trip(-x, case.format, rounding_key), -round_trip(x, case.format, rounding_key)
        )


@unsigned
def test_what_is_positive_stays_positive(case, key):
    x = np.abs(spread_out(11, BLOCK)) * np.float32(1e-9)
    x[:, 0] = 1.0
    for rounding_key in (None, key):
        assert np.all(np.asarray(round_trip(x, case.format, rounding_key)) > 0)


@cases
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_block_that_is_not_finite_becomes_nan_and_no_other(case, bad):
    x = of_its_sign(case, spread_out(3, BLOCK))
    x[1, 7] = bad
    decoded = np.asarray(round_trip(x, case.format))
    assert np.all(np.isnan(decoded[1]))
    assert np.all(np.isfinite(decoded[[0, 2]]))


@signed
def test_each_block_tells_anew_whether_it_holds_numbers_below_0(case):
    """One number below 0 costs its own block half the codes, and no other block any."""
    x = np.abs(spread_out(3, BLOCK))
    above = encoded(x, case.format)
    # A new array: the first encoding may still be reading the old one.
    x = np.where(np.arange(3 * BLOCK).reshape(3, BLOCK) == BLOCK + 7, -x, x)
    mixed = encoded(x, case.format)
    np.testing.assert_array_equal(mixed.codes.reshape(3, -1)[::2], above.codes.reshape(3, -1)[::2])
    np.testing.assert_array_equal(mixed.scales, above.scales * np.asarray([1, -1, 1], np.float32))
    decoded = np.asarray(decoded_again(mixed))
    assert np.all(decoded[[0, 2]] > 0)
    error = np.abs(decoded[1] - x[1])
    assert np.all(error <= nearest(case, x[1], np.max(np.abs(x[1]))) + 16 * EPS * np.abs(x[1]))


@cases
def test_scales_at_both_ends_of_float32(case):
    for scale in (3e38, 2 * TINY):
        decoded = round_trip(jnp.full(BLOCK, scale), case.format)
        np.testing.assert_array_equal(decoded, np.full(BLOCK, scale, np.float32))
    np.testing.assert_array_equal(round_trip(jnp.full(BLOCK, TINY / 4), case.format), 0.0)


@cases
def test_encoding_again_changes_no_code(case):
    stored = encoded(of_its_sign(case, spread_out(50, BLOCK)), case.format)
    again = encoded(decoded_again(stored), case.format)
    np.testing.assert_array_equal(again.codes, stored.codes)
    np.testing.assert_array_equal(again.scales, stored.scales)


@cases
def test_stochastic_rounding_is_right_in_the_mean(case, key):
    x = of_its_sign(case, np.array([1.0, 0.77, -0.31, 0.052, -0.013, 0.5], np.float32))
    # Above the least entry, where an unsigned map is as unbiased as a signed one.
    x = np.where(np.abs(x) < case.magnitudes[1], np.float32(0.5), x)
    drawn = np.asarray(
        jax.jit(jax.vmap(lambda key: case.format.decode(case.format.encode(x, key))))(
            jax.random.split(key, KEYS)
        ),
        np.float64,
    )
    entries = np.array(case.magnitudes)
    above = np.minimum(np.searchsorted(entries, np.abs(x)), len(entries) - 1)
    gaps = entries[above] - entries[np.maximum(above - 1, 0)]
    # Two values a gap apart: a standard error of at most gap / 2 / sqrt(keys); and the
    # 16 bits of the dither are off by half of the last.
    tolerance = 5 * gaps / 2 / np.sqrt(KEYS) + gaps * 2**-16 + 16 * EPS
    assert np.all(np.abs(drawn.mean(0) - x) <= tolerance)
    assert np.all(np.abs(drawn - x) <= gaps + 16 * EPS)


BFLOAT16 = bfloat16()


def test_bfloat16_is_one_of_two_neighbours_and_right_in_the_mean(key):
    x = jnp.array([1.001, -1.001, 3e-5, -7e20, 1.0, 0.0], jnp.float32)
    drawn = np.asarray(
        jax.jit(jax.vmap(lambda key: rounded_to_bfloat16(x, key).astype(jnp.float32)))(
            jax.random.split(key, KEYS)
        ),
        np.float64,
    )
    low = (np.asarray(x).view(np.uint32) & 0xFFFF0000).view(np.float32).astype(np.float64)
    gap = np.abs(x) * 2**-7
    assert np.all(np.abs(drawn - np.asarray(x, np.float64)) <= gap)
    assert all(len(np.unique(drawn[:, i])) == (1 if i > 3 else 2) for i in range(6))
    assert np.all(np.min(np.abs(drawn), axis=0) == np.abs(low))
    assert np.all(np.abs(drawn.mean(0) - x) <= 5 * gap / 2 / np.sqrt(KEYS))


def test_bfloat16_keeps_what_it_holds_and_what_is_not_finite(key):
    finite = np.arange(2**16, dtype=np.uint16).view(jnp.bfloat16).astype(np.float32)
    found = rounded_to_bfloat16(jnp.asarray(finite), key)
    # The processor may take subnormal numbers for 0.
    normal = ~np.isfinite(finite) | (np.abs(finite) >= TINY) | (finite == 0)
    np.testing.assert_array_equal(np.asarray(found.astype(jnp.float32))[normal], finite[normal])
    largest = jnp.full(100, np.finfo(np.float32).max)
    assert bool(jnp.all(rounded_to_bfloat16(largest, key) == jnp.finfo(jnp.bfloat16).max))


def test_bfloat16_without_a_key_rounds_to_nearest():
    stored = BFLOAT16.encode(jnp.float32([1.001, 1.005]))
    assert (stored.codes.dtype, stored.scales) == (jnp.bfloat16, None)
    assert BFLOAT16.decode(stored).tolist() == [1.0, 1.0078125]
    assert BFLOAT16.decode(stored).dtype == jnp.float32


def test_random_words_are_uniform_over_keys_and_over_entries(key):
    words = np.asarray(jax.vmap(lambda key: random_words(key, (4, 8)))(jax.random.split(key, KEYS)))
    shares = words.reshape(KEYS, -1) / 2.0**32
    deviation = np.sqrt(1 / 12)
    assert np.all(np.abs(shares.mean(0) - 0.5) < 5 * deviation / np.sqrt(KEYS))
    assert abs(shares.mean() - 0.5) < 5 * deviation / np.sqrt(shares.size)
    # Entries of one key are uncorrelated: 1 / sqrt(keys) is the standard error of that.
    correlation = np.corrcoef(shares.T) - np.eye(32)
    assert np.max(np.abs(correlation)) < 5 / np.sqrt(KEYS)


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("form", [dynamic8(BLOCK), linear4(BLOCK), BFLOAT16], ids=str)
def test_eight_devices_give_the_codes_of_one(mesh, axis_type, form, key):
    x = spread_out(16, 96)
    x[:8] = np.abs(x[:8])
    encode = jax.jit(lambda x, key: form.encode(x, key))
    decode = jax.jit(lambda stored: form.decode(stored))
    devices = mesh(rows=2, columns=4, axis_type=axis_type)
    with jax.set_mesh(devices):
        sharded = jax.device_put(x, NamedSharding(devices, P("rows", "columns")))
        many = encode(sharded, key)
        decoded = decode(many)
    one = encode(x, key)
    jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(many), jax.tree.leaves(one))
    np.testing.assert_array_equal(decoded, decode(one))


def test_a_mesh_need_not_divide_the_blocks(mesh):
    x, form = np.abs(spread_out(8, 20)), linear8(128)  # two blocks, the second not full
    devices = mesh(rows=8, axis_type=AxisType.Explicit)
    with jax.set_mesh(devices):
        sharded = jax.device_put(x, NamedSharding(devices, P("rows")))
        many = form.encode(sharded)
        decoded = form.decode(many)
    one = form.encode(jnp.asarray(x))
    np.testing.assert_array_equal(many.codes, one.codes)
    np.testing.assert_array_equal(decoded, form.decode(one))


@pytest.mark.parametrize("make", [dynamic8, linear8, linear4, fp8])
@pytest.mark.parametrize("size", [0, 1, 96, -2, 64.0, float("nan"), float("inf")])
def test_a_block_size_that_is_no_power_of_two_is_refused(make, size):
    with pytest.raises(ValueError, match=rf"{make.__name__}\(block_size={size}\) must be "):
        make(block_size=size)
