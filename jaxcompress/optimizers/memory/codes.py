"""Low-bit codes for arrays that change a little at each step: one array in, one out.

A format is the largest magnitude of a block as its scale, and a map from [0, 1] to
code numbers. Where the map is piecewise linear and concave, the position of a number
among the codes is the least of a few straight lines, the value of a code the greatest
of their inverses; where codes are small floats, both are read off the bits of a large
one. No table, no search, no gather.
"""

import dataclasses
import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from jaxcompress.core.packing import pack, unpack
from jaxcompress.core.sharding import explicit_spec, gathered, placed
from jaxcompress.core.types import Array, Key
from jaxcompress.optimizers.memory.rounding import random_words, rounded_to_bfloat16

SMALLEST = float(np.finfo(np.float32).tiny)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Stored:
    """An array between two steps.

    Invariants:
      - `codes` is uint8 (blocks, bytes per block) and `scales` float32 (blocks,) for a
        `BlockFormat`; bfloat16 of the array's own shape, and None, for 16 bits.
      - `shape` and `dtype` are those of the array, `format` what wrote it.
      - `spec` is how an explicit mesh shards the array; None without such a mesh.
    """

    codes: Array
    scales: Array | None
    shape: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    dtype: np.dtype = dataclasses.field(metadata={"static": True})
    format: "Format" = dataclasses.field(metadata={"static": True})
    spec: PartitionSpec | None = dataclasses.field(default=None, metadata={"static": True})


@dataclasses.dataclass(frozen=True)
class Lines:
    """A concave map of straight lines.

    Invariants:
      - `knots` are (value, code) pairs from (0, 0) to (1, highest code).
      - `position` takes numbers in [0, 1] to where they lie among the codes, a float;
        `value` takes code numbers, as floats, to [0, 1].
    """

    knots: tuple[tuple[float, int], ...]

    @property
    def highest(self) -> float:
        return float(self.knots[-1][1])

    def position(self, shares: Array) -> Array:
        slopes = [
            ((code - code_below) / (value - below), value, code)
            for (below, code_below), (value, code) in itertools.pairwise(self.knots)
        ]
        lines = [shares * slope + (code - value * slope) for slope, value, code in slopes]
        # Not `minimum` and `maximum`: what they do for NaN takes as long as the lines.
        return functools.reduce(lambda least, line: jnp.where(line < least, line, least), lines)

    def value(self, codes: Array) -> Array:
        (_, _), (first, first_code) = self.knots[:2]
        # From each line's upper end, where the value is exact; the first one from 0.
        lines = [codes * (first / first_code)] + [
            value - (code - codes) * ((value - below) / (code - code_below))
            for (below, code_below), (value, code) in itertools.pairwise(self.knots[1:])
        ]
        return functools.reduce(lambda most, line: jnp.where(line > most, line, most), lines)


@dataclasses.dataclass(frozen=True)
class SmallFloats:
    """The floats of 8 to a binade from 0 to 448, as shares of 448.

    A float's bits, read as a whole number, rise linearly within each binade. So a
    large float tells its position among small ones by its bits less the bits of the
    smallest, at the scale of one small step. Codes below 8 are the even steps below the
    lowest binade. Members are those of `Lines`.
    """

    @property
    def highest(self) -> float:
        return 126.0

    def position(self, shares: Array) -> Array:
        numbers = shares * np.float32(448)
        bits = jax.lax.bitcast_convert_type(numbers, jnp.int32) - _ONE_STEP * _BELOW
        in_binade = bits.astype(jnp.float32) * np.float32(1 / _ONE_STEP)
        return jnp.where(numbers < 2.0**-6, numbers * np.float32(2.0**9), in_binade)

    def value(self, codes: Array) -> Array:
        bits = (codes.astype(jnp.int32) + _BELOW) * _ONE_STEP
        in_binade = jax.lax.bitcast_convert_type(bits, jnp.float32)
        numbers = jnp.where(codes < 8, codes * np.float32(2.0**-9), in_binade)
        return numbers * np.float32(1 / 448)


_ONE_STEP = 1 << 20
"""What one step of 3 bits of fraction adds to the bits of a float32."""

_BELOW = 8 * (127 - 7)
"""The steps, in a float32, below code 0: binade -6 begins with code 8."""


@dataclasses.dataclass(frozen=True)
class BlockFormat:
    """Codes of 8 or 4 bits with one scale for each run of `block_size` entries.

    Entries are taken in row-major order; the last block is filled up with zeros. The
    code of x in a block whose largest magnitude is s:

        code(x) = round(position(|x| / s)) · sign(x)

    Invariants:
      - 0 maps to exactly 0, ±s to exactly ±s, and a signed format is odd.
      - An unsigned format keeps what is above 0 above 0: it gives the least code where
        rounding would give none, so a second moment never divides by 0.
      - A block whose numbers are all below 2**-126 decodes to 0.
      - A block that holds a NaN or an infinity, or, unsigned, a number below 0, decodes
        to NaN as a whole: what went wrong stays visible.
    """

    name: str
    bits: int
    block_size: int
    signed_map: Lines | SmallFloats
    unsigned_map: Lines | SmallFloats
    signed: bool = True

    def __post_init__(self):
        if self.block_size < 2 or self.block_size & (self.block_size - 1):
            raise ValueError(
                f"{self.name}(block_size={self.block_size}) must be a power of two, at least 2."
            )

    @property
    def unsigned(self) -> "BlockFormat":
        """The format for numbers that are never below 0; it has twice the codes."""
        return dataclasses.replace(self, signed=False)

    @property
    def map(self) -> Lines | SmallFloats:
        """Between shares of a scale and code numbers."""
        return self.signed_map if self.signed else self.unsigned_map

    def encode(self, x: Array, key: Key | None = None) -> Stored:
        """The array as codes.

        Args:
          x: any shape, real floating.
          key: for stochastic rounding, which is right in the mean; without one,
            rounding is to the nearest entry of the map.

        Returns:
          Stored.
        """
        blocks = _blocks(x.astype(jnp.float32), self.block_size)  # (blocks, block_size)
        seen = jnp.abs(blocks) if self.signed else jnp.where(blocks < 0, jnp.inf, blocks)
        largest = jnp.max(seen, axis=1, keepdims=True, initial=0.0)
        finite, above = jnp.isfinite(largest), largest >= SMALLEST
        scales = jnp.where(finite, jnp.where(above, largest, 0.0), jnp.nan)
        codes = self._codes(blocks, jnp.where(finite, scales, 0.0), key)
        packed = codes if self.bits == 8 else pack(codes, self.bits)
        return Stored(
            packed, jnp.squeeze(scales, 1), x.shape, np.dtype(x.dtype), self, explicit_spec(x)
        )

    def decode(self, stored: Stored) -> Array:
        """The array that codes stand for, of the shape and dtype that was encoded."""
        codes = stored.codes
        if self.bits < 8:
            codes = unpack(codes, self.bits, self.block_size)
        codes = codes.astype(jnp.float32)
        if self.signed:
            codes = codes - self.map.highest
        magnitudes = jnp.abs(codes)
        # The largest by name: XLA may gather the factors of a product as it likes.
        shares = jnp.where(magnitudes < self.map.highest, self.map.value(magnitudes), 1.0)
        values = shares * jnp.asarray(stored.scales)[:, None]
        values = jnp.where(codes < 0, -values, values) if self.signed else values
        flat = values.reshape(-1)[: math.prod(stored.shape)]
        whole = flat.reshape(stored.shape).astype(stored.dtype)
        return placed(whole, stored.spec)

    def _codes(self, blocks: Array, scales: Array, key: Key | None) -> Array:
        """The codes of blocks whose scales are known and finite; uint8, not packed."""
        # Twice, since the reciprocal of a scale above 2**126 is subnormal.
        towards_one = jnp.where(scales > 1, 2.0**-64, 1.0)
        reciprocals = jnp.where(scales > 0, 1 / (scales * towards_one), 0.0)
        codes = self._nearest(jnp.abs(blocks) * towards_one * reciprocals, key)
        if self.signed:
            codes = self.map.highest + jnp.where(blocks < 0, -codes, codes)
        return codes.astype(jnp.int32).astype(jnp.uint8)

    def _nearest(self, shares: Array, key: Key | None) -> Array:
        """Whole code numbers, as floats, of shares in [0, 1]."""
        positions = self.map.position(shares)
        if key is not None:
            # 16 random bits: with more, 127 and almost 1 would add up to 128. The
            # factor lets no rounding keep the largest entry below its own code.
            words = random_words(key, shares.shape) >> 16
            positions = positions * (1 + 2.0**-21) + words.astype(jnp.float32) * 2.0**-16
        # Not `minimum`: a NaN takes the highest code too.
        positions = jnp.where(positions < self.map.highest, positions, self.map.highest)
        codes = jnp.round(positions) if key is None else jnp.floor(positions)
        if self.signed:
            return codes
        return jnp.maximum(codes, (shares > 0).astype(jnp.float32))


@dataclasses.dataclass(frozen=True)
class Bfloat16Format:
    """Two bytes per number, rounded stochastically: see `rounded_to_bfloat16`.

    Invariants:
      - 0, infinities and NaN stay as they are; the format is odd for one key.
    """

    name: str = "stochastic_bfloat16"

    @property
    def unsigned(self) -> "Bfloat16Format":
        """The format itself."""
        return self

    def encode(self, x: Array, key: Key | None = None) -> Stored:
        """The array in bfloat16; without a key, rounded to nearest."""
        wide = x.astype(jnp.float32)
        codes = wide.astype(jnp.bfloat16) if key is None else rounded_to_bfloat16(wide, key)
        return Stored(codes, None, x.shape, np.dtype(x.dtype), self)

    def decode(self, stored: Stored) -> Array:
        """The array, of the dtype that was encoded."""
        return stored.codes.astype(stored.dtype)


Format = BlockFormat | Bfloat16Format
"""How an array is kept: `encode(x, key)` gives a `Stored`, `decode` takes it back."""


def dynamic8(block_size: int = 2048) -> BlockFormat:
    """Eight bits whose exponent takes as many as it needs: six decades, fine near 1.

    A code is a run of e zeros, a one, and a fraction j of the n bits left, n = 6 - e
    (7 - e unsigned). It stands for a number in decade e:

        10**-e · (0.1 + 0.9 · (j + 1) / 2**n)

    So the relative error of an entry above a tenth of the scale is at most 7 % (3.5 %
    unsigned), and entries down to 1e-6 of it (1e-7 unsigned) are told from 0.

    Args:
      block_size: entries that share a scale, a power of two.

    Returns:
      BlockFormat.

    Raises:
      ValueError: `block_size` is not a power of two of at least 2.

    Example:
      >>> code = jc.optimizers.dynamic8(block_size=4)
      >>> stored = code.encode(jnp.array([1.0, -0.5, 1e-3, 0.0]))
      >>> stored.codes
      Array([[254,  36, 142, 127]], dtype=uint8)
      >>> print(np.asarray(code.decode(stored)).round(3))
      [ 1.    -0.494  0.001  0.   ]

    Source: Dettmers et al. 2021, arXiv:2110.02861, sections 1.3 and 2. Differs: a
    fraction stands for the upper end of its step, not the middle, so that both -1 and 1
    are in the map and it is odd; what is positive never becomes 0 in the unsigned map.
    """
    return BlockFormat("dynamic8", 8, block_size, _decades(7), _decades(8))


def linear8(block_size: int = 2048) -> BlockFormat:
    """Eight bits in equal steps: -127 … 127, or 0 … 255 unsigned, of the scale.

    An error is at most 1/254 of the block's largest magnitude (1/510 unsigned, but up
    to 1/255 where a number above 0 would become 0).

    Args:
      block_size: entries that share a scale, a power of two.

    Returns:
      BlockFormat.

    Raises:
      ValueError: `block_size` is not a power of two of at least 2.

    Example:
      >>> code = jc.optimizers.linear8(block_size=2)
      >>> code.encode(jnp.array([1.0, -1.0])).codes
      Array([[254,   0]], dtype=uint8)
    """
    return BlockFormat("linear8", 8, block_size, _even(127), _even(255))


def linear4(block_size: int = 128) -> BlockFormat:
    """Four bits in equal steps, two codes a byte: -7 … 7, or 0 … 15 unsigned.

    Args:
      block_size: entries that share a scale, a power of two.

    Returns:
      BlockFormat.

    Raises:
      ValueError: `block_size` is not a power of two of at least 2.

    Example:
      >>> code = jc.optimizers.linear4(block_size=4)
      >>> code.encode(jnp.array([7.0, 1.0, 0.0, -7.0])).codes
      Array([[126,   8]], dtype=uint8)

    Source: Li et al. 2023, arXiv:2309.01507, section 3. Differs: no rank-1 scales; the
    unsigned map has a 0 that only 0 maps to.
    """
    return BlockFormat("linear4", 4, block_size, _even(7), _even(15))


def fp8(block_size: int = 2048) -> BlockFormat:
    """The grid of e4m3 floats below 448, scaled so that 448 is the block's largest.

    Three bits of fraction over 15 binades: a relative error of at most 1/16 down to
    3.5e-5 of the scale. Code numbers count the floats of the grid from 0, and unsigned
    ones are the same.

    Args:
      block_size: entries that share a scale, a power of two.

    Returns:
      BlockFormat.

    Raises:
      ValueError: `block_size` is not a power of two of at least 2.

    Example:
      >>> code = jc.optimizers.fp8(block_size=4)
      >>> decoded = code.decode(code.encode(jnp.array([448.0, -9.4, 17.0, 0.0])))
      >>> print(np.asarray(decoded).round(3))
      [448.  -9.  16.   0.]

    Source: Micikevicius et al. 2022, arXiv:2209.05433, section 3.
    """
    return BlockFormat("fp8", 8, block_size, SmallFloats(), SmallFloats())


def stochastic_bfloat16() -> Bfloat16Format:
    """Sixteen bits, rounded up or down at random so that the mean is right.

    A running average with a decay of 0.999 goes on moving where rounding to nearest
    would stop it.

    Example:
      >>> code = jc.optimizers.stochastic_bfloat16()
      >>> stored = code.encode(jnp.full(1000, 1.001), jax.random.key(0))
      >>> bool(jnp.abs(code.decode(stored).mean() - 1.001) < 0.001)
      True
    """
    return Bfloat16Format()


def is_stored(node) -> bool:
    """True for a `Stored`; as `is_leaf` it walks a state by arrays."""
    return isinstance(node, Stored)


def _blocks(x: Array, size: int) -> Array:
    """The entries in row-major order, (blocks, size).

    Under explicit axes the array is gathered first: a block may lie across devices, and
    such a reshape has no sharding of its own.
    """
    flat = gathered(x).reshape(-1)
    count = -(-x.size // size)
    return jnp.pad(flat, (0, count * size - x.size)).reshape(count, size)


def _even(highest: int) -> Lines:
    """Equal steps from 0 to 1."""
    return Lines(((0, 0), (1, highest)))


def _decades(bits: int) -> Lines:
    """The dynamic map: 2**n codes for each decade, n = 0 … bits - 1."""
    decades = ((10.0 ** (free + 1 - bits), 2 ** (free + 1) - 1) for free in range(bits))
    return Lines(((0, 0), *decades))
