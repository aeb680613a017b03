"""What codes stand for: floats against hardware types, tables and codebooks."""

import json
import re
import statistics
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from jaxcompress.core.formats.choices import from_json, to_json
from jaxcompress.core.formats.codebooks import Codebook
from jaxcompress.core.formats.floats import FP4, FP8_E4M3, FP8_E5M2, Floats
from jaxcompress.core.formats.integers import Integers
from jaxcompress.core.formats.tables import BINARY, NF4, Table
from jaxcompress.core.spec import LEVELS


class Type(NamedTuple):
    """A format and the type of ml_dtypes that it must agree with."""

    levels: Floats
    dtype: type


TYPES = [
    Type(FP4, ml_dtypes.float4_e2m1fn),
    Type(FP8_E4M3, ml_dtypes.float8_e4m3fn),
    Type(FP8_E5M2, ml_dtypes.float8_e5m2),
    Type(Floats(2, 3, 31), ml_dtypes.float6_e2m3fn),
    Type(Floats(3, 2, 31), ml_dtypes.float6_e3m2fn),
]
every_type = pytest.mark.parametrize("case", TYPES, ids=lambda case: case.levels.name)


def finite_magnitudes(dtype) -> np.ndarray:
    """Every finite magnitude of the type, ascending, by its bits."""
    bits = ml_dtypes.finfo(dtype).bits
    numbers = np.arange(2 ** (bits - 1), dtype=np.uint8).view(dtype).astype(np.float32)
    return numbers[np.isfinite(numbers)]


@every_type
def test_codes_count_the_floats_of_the_type(case):
    levels, magnitudes = case.levels, finite_magnitudes(case.dtype)
    assert levels.highest == len(magnitudes) - 1
    assert levels.ends == (-magnitudes[-1], magnitudes[-1])
    codes = np.arange(levels.lowest, levels.highest + 1)
    expected = np.where(codes < 0, -magnitudes[abs(codes)], magnitudes[abs(codes)])
    np.testing.assert_array_equal(jax.jit(levels.value)(codes), expected)
    np.testing.assert_array_equal(jax.jit(levels.nearest)(expected), codes)


@every_type
def test_the_nearest_float_is_that_of_a_cast(case):
    """Ties, their neighbours and numbers over many binades round as hardware does."""
    levels, magnitudes = case.levels, finite_magnitudes(case.dtype)
    middles = (magnitudes[1:] + magnitudes[:-1]) / 2
    random = np.random.default_rng(0)
    wide = random.normal(size=2000) * 10 ** random.uniform(-7, 3, 2000)
    near = [np.nextafter(middles, np.float32(end)) for end in (-np.inf, np.inf)]
    x = np.concatenate([middles, *near, np.clip(wide, *levels.ends), [0.0]]).astype(np.float32)
    x = np.concatenate([x, -x])
    found = jax.jit(lambda x: levels.value(levels.nearest(x)))(x)
    np.testing.assert_array_equal(found, x.astype(case.dtype).astype(np.float32))


FIFTHS = Table("fifths", (-1.0, -0.2, 0.0, 0.2, 1.0))
LOPSIDED = Table("lopsided", (-3.0, 0.0, 0.5, 1.0))
NO_ZERO = Table("no zero", (-2.0, -0.5, 0.5, 2.0))
WIDE = Table("wide", tuple(np.linspace(-1, 2.03, 256).tolist()))
TABLES = [
    (NF4, 4, (-7, 8), False, True),
    (BINARY, 1, (0, 1), False, False),
    (FIFTHS, 3, (-2, 2), True, True),
    (LOPSIDED, 2, (-1, 2), False, True),
    (NO_ZERO, 2, (0, 3), False, False),
    (WIDE, 8, (0, 255), False, False),
]
every_table = pytest.mark.parametrize(
    ("table", "bits", "codes", "odd", "zero"), TABLES, ids=[row[0].name for row in TABLES]
)


@every_table
def test_tables(table, bits, codes, odd, zero):
    assert (table.bits, table.odd, table.has_zero) == (bits, odd, zero)
    assert (table.lowest, table.highest) == codes
    every = np.arange(codes[0], codes[1] + 1)
    np.testing.assert_array_equal(table.value(every), np.float32(table.values))
    np.testing.assert_array_equal(table.nearest(np.float32(table.values)), every)
    if zero:
        assert table.value(np.int32(0)) == 0


@every_table
def test_the_nearest_level_of_a_table_against_a_loop(table, bits, codes, odd, zero):
    levels = np.float32(table.values)
    middles = (levels[1:].astype(np.float64) + levels[:-1]) / 2
    middles = middles[middles == np.float32(middles)].astype(np.float32)  # exact, so ties
    random = np.random.default_rng(0).uniform(-3.5, 3.5, 500).astype(np.float32)
    x = np.concatenate([random, middles, np.float32([np.inf, -np.inf, 1e30])])
    expected = []
    for number in x:
        distance = abs(np.clip(number, levels[0], levels[-1]).astype(np.float64) - levels)
        tied = np.flatnonzero(distance == distance.min()) + table.lowest
        expected.append(next((code for code in tied if code % 2 == 0), tied[0]))
    np.testing.assert_array_equal(jax.jit(table.nearest)(x), expected)


def test_nf4_is_the_quantiles_of_a_normal_distribution():
    """Evenly by probability on each side, from zero to the largest, scaled to 1."""
    normal, offset = statistics.NormalDist(), 0.9677083
    above = [normal.inv_cdf(p) for p in np.linspace(offset, 0.5, 9)[:-1]]
    below = [-normal.inv_cdf(p) for p in np.linspace(offset, 0.5, 8)[:-1]]
    expected = np.sort([*below, 0.0, *above]) / max(above)
    np.testing.assert_allclose(NF4.values, expected, atol=2e-7)


CODEBOOK = np.float32([0.0, 3.0, -1.0, 0.25])


def test_a_codebook_may_have_any_order():
    x = np.float32([0.1, -0.4, -0.6, 1.6, 1.7, 99.0, -99.0, 0.125, 1.625, -0.5])
    codes = jax.jit(Codebook(2).nearest)(x, CODEBOOK[None])
    # The last three are ties, which go to the lower level.
    np.testing.assert_array_equal(codes, [0, 0, 2, 3, 1, 1, 2, 0, 3, 2])
    np.testing.assert_array_equal(
        Codebook(2).value(codes, CODEBOOK[None]), CODEBOOK[codes.astype(int)]
    )


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("blocks", [(1, 1), (6, 1), (1, 2), (3, 4)])
def test_each_block_has_its_own_codebook(bits, blocks):
    random = np.random.default_rng(0)
    books = random.normal(size=(*blocks, 2**bits)).astype(np.float32)
    books[..., 0] = 0
    x = random.normal(size=(6, 4)).astype(np.float32)
    levels = Codebook(bits)
    codes = np.asarray(jax.jit(levels.nearest)(x, books)).astype(int)
    values = jax.jit(levels.value)(codes, books)
    for i, j in np.ndindex(x.shape):
        book = books[i * blocks[0] // 6, j * blocks[1] // 4]
        assert abs(book[codes[i, j]] - x[i, j]) == min(abs(book - x[i, j]))
        assert values[i, j] == book[codes[i, j]]


@pytest.mark.parametrize("bits", range(2, 9))
def test_a_codebook_starts_with_zero_and_even_steps(bits):
    start = Codebook(bits).start
    assert (start.size, start[0], start.min(), start.max()) == (2**bits, 0, -1, 1)
    assert len(np.unique(start)) == 2**bits


EVERY = [*(case.levels for case in TYPES), *(row[0] for row in TABLES), Codebook(3)]


@pytest.mark.parametrize("levels", EVERY, ids=lambda levels: levels.name)
def test_json_gives_the_levels_back(levels):
    again = from_json("levels", json.loads(json.dumps(to_json(levels))), LEVELS)
    assert again == levels
    assert hash(again) == hash(levels)


REFUSED = [
    (lambda: Floats(1, 1, 1), "Floats(exponent_bits=1, fraction_bits=1) must have 2 to 5 bits"),
    (lambda: Floats(6, 1, 1), "must have 2 to 5 bits of exponent"),
    (lambda: Floats(4, 4, 1), "must have 2 to 5 bits of exponent"),
    (lambda: Floats(2, 1, 8), "highest=8) must be a count of floats above zero that 3 bits can"),
    (lambda: Floats(2, 1, 0), "highest=0) must be a count"),
    (lambda: Floats(2.0, 1, 7), "Floats(exponent_bits=2.0) must be an int"),
    (lambda: Table("", (-1, 1)), "Table(name='') must be a text"),
    (lambda: Table("x", (1,)), "Table(values=(1,)) must be 2 to 256 numbers"),
    (lambda: Table("x", 3), "Table(values=3) must be 2 to 256 numbers"),
    (lambda: Table("x", ("a", "b")), "must be 2 to 256 numbers"),
    (lambda: Table("x", None), "must be 2 to 256 numbers"),
    (lambda: Table("x", (-1, 1, 1)), "must be finite and ascend"),
    (lambda: Table("x", (-1, 1, 1 + 1e-12)), "must be finite and ascend, in float32"),
    (lambda: Table("x", (-1, np.nan)), "must be finite and ascend"),
    (lambda: Table("x", (-1, np.inf)), "must be finite and ascend"),
    (lambda: Table("x", (0, 1)), "must have levels on both sides of zero"),
    (lambda: Table("x", (-1, *range(200))), "has 199 levels above zero; a byte holds 127"),
    (lambda: Codebook(1), "Codebook(bits=1) must be from 2 to 8"),
    (lambda: Codebook(9), "Codebook(bits=9) must be from 2 to 8"),
    (lambda: Codebook(3.0), "Codebook(bits=3.0) must be an int"),
]


@pytest.mark.parametrize(("build", "message"), REFUSED)
def test_refusals(build, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build()


def test_integers_are_their_own_values():
    levels = Integers(3, -3, 3, symmetric=True)
    np.testing.assert_array_equal(levels.nearest(jnp.array([0.5, 1.5, -2.5])), [0, 2, -2])
    assert levels.ends == (-3, 3)
