"""Low-bit codes for arrays that change a little at each step: one array in, one out.

What codes stand for, and the way there and back, are in `core.formats`; here arrays are
cut into blocks and kept between steps.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from jaxcompress.core.checks import check_count
from jaxcompress.core.formats.runs import decode_runs, encode_runs
from jaxcompress.core.formats.shares import Decades, EvenSteps, Shares, SmallFloats
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.packing import pack, unpack
from jaxcompress.core.sharding import explicit_spec, gathered, placed
from jaxcompress.core.types import Array, Key
from jaxcompress.optimizers.memory.rounding import random_words, rounded_to_bfloat16


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Stored:
    """An array between two steps.

    Invariants:
      - `codes` is uint8 (blocks, bytes per block) and `scales` float32 (blocks,) for a
        `BlockFormat`, below 0 for a block that holds a number below 0; bfloat16 of the
        array's own shape, and None, for 16 bits.
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
class BlockFormat:
    """Codes of 8 or 4 bits with one scale for each run of `block_size` entries.

    Entries are taken in row-major order; the last block is filled up with zeros. The
    code of x in a block whose largest magnitude is s:

        code(x) = center + round(position(|x| / s)) · sign(x)

    A block that holds a number below 0 has its center in the middle of the codes, any
    other at code 0, and so twice the codes. Which it is, is seen anew at every encoding
    and stored as the sign of the scale: no optimizer has to declare it.

    Invariants:
      - 0 maps to exactly 0, ±s to exactly ±s; blocks of both signs are odd.
      - In a block without a number below 0, what is above 0 stays above 0: it gets the
        least code where rounding would give none, so a second moment never divides by
        0. And nothing decodes to less than 0 there.
      - A block whose numbers are all below 2**-126 decodes to 0.
      - A block that holds a NaN or an infinity decodes to NaN as a whole: what went
        wrong stays visible.
    """

    name: str
    bits: int
    block_size: int
    levels: Shares

    def __post_init__(self) -> None:
        check_count(self.name, "block_size", self.block_size, least=2)
        if self.block_size & (self.block_size - 1):
            raise ValueError(f"{self.name}(block_size={self.block_size}) must be a power of two.")

    def encode(self, x: Array, key: Key | None = None) -> Stored:
        """The array as codes.

        Args:
          x: any shape, real floating.
          key: for stochastic rounding, which is right in the mean; without one,
            rounding is to the nearest level.

        Returns:
          Stored.
        """
        blocks = _blocks(x.astype(jnp.float32), self.block_size)  # (blocks, block_size)
        words = None if key is None else random_words(key, blocks.shape)
        codes, scales = encode_runs(blocks, self.levels, words)
        packed = codes if self.bits == 8 else pack(codes, self.bits)
        return Stored(packed, scales, x.shape, np.dtype(x.dtype), self, explicit_spec(x))

    def decode(self, stored: Stored) -> Array:
        """The array that codes stand for, of the shape and dtype that was encoded."""
        codes = stored.codes
        if self.bits < 8:
            codes = unpack(codes, self.bits, self.block_size)
        runs = decode_runs(codes, jnp.asarray(stored.scales), self.levels)
        flat = runs.reshape(-1)[: math.prod(stored.shape)]
        whole = flat.reshape(stored.shape).astype(stored.dtype)
        return placed(whole, stored.spec)


@dataclasses.dataclass(frozen=True)
class Bfloat16Format:
    """Two bytes per number: 8 significant bits and float32's range, no scale.

    Invariants:
      - 0, infinities and NaN stay as they are, and what is finite stays finite; the
        format is odd for one key.
    """

    name: str = "bfloat16"

    def encode(self, x: Array, key: Key | None = None) -> Stored:
        """The array in bfloat16: rounded to nearest, or by a key stochastically."""
        wide = x.astype(jnp.float32)
        codes = narrowed(wide, jnp.bfloat16) if key is None else rounded_to_bfloat16(wide, key)
        return Stored(codes, None, x.shape, np.dtype(x.dtype), self)

    def decode(self, stored: Stored) -> Array:
        """The array, of the dtype that was encoded."""
        return narrowed(stored.codes.astype(jnp.float32), stored.dtype)


Format = BlockFormat | Bfloat16Format
"""How an array is kept: `encode(x, key)` gives a `Stored`, `decode` takes it back."""


def dynamic8(block_size: int = 2048) -> BlockFormat:
    """Eight-bit codes with a dynamic exponent: six decades, finest near 1.

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
    return BlockFormat("dynamic8", 8, block_size, Decades())


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
    return BlockFormat("linear8", 8, block_size, EvenSteps(127, 255))


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
    return BlockFormat("linear4", 4, block_size, EvenSteps(7, 15))


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
    return BlockFormat("fp8", 8, block_size, SmallFloats())


def bfloat16() -> Bfloat16Format:
    """Sixteen bits per number: rounded to nearest or, given a key, stochastically.

    Rounding to nearest is good for a first moment. A running average with a decay above
    1 - 2**-8 stands still once its steps are below half a unit in the last place, so a
    second moment at the usual 0.999 stays near what it first grew to, and the sum of
    AdaGrad stops after a few hundred equal terms. With a key both go on moving, since
    `rounded_to_bfloat16` is right in the mean.

    Example:
      >>> code = jc.optimizers.bfloat16()
      >>> code.encode(jnp.float32([1.0, 1.001, 1e-30])).codes
      Array([1, 1, 9.98e-31], dtype=bfloat16)
      >>> stored = code.encode(jnp.full(1000, 1.001), jax.random.key(0))
      >>> bool(jnp.abs(code.decode(stored).mean() - 1.001) < 0.001)
      True
    """
    return Bfloat16Format()


def is_stored(node: Any) -> bool:
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
