"""Codes that stand for the levels of a fixed table."""

import dataclasses
from collections.abc import Sequence
from numbers import Real
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.sharding import explicit_sharding
from jaxcompress.core.types import Array

_LONGEST_NAME = 80
_LARGEST = float(np.finfo(np.float64).max)


@dataclasses.dataclass(frozen=True)
class Table:
    """Levels in ascending order, in units of the scale, which the spec itself holds.

    Also known as: nf4, ternary and binary weights, powers of two, a look-up table.

    Invariants:
      - The name has 1 to 80 characters that print.
      - 2 to 256 finite float32 levels, some below zero and some above.
      - Code 0 is the level zero where there is one, so that codes count levels from
        there; else the lowest level.
      - The nearest level wins; a tie goes to the even code, which makes a table that
        is symmetric about zero odd.
    """

    kind: ClassVar[str] = "table"
    symmetric: ClassVar[bool] = True

    name: str
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not 0 < len(self.name) <= _LONGEST_NAME:
            raise ValueError(
                f"Table(name={self.name!r}) must be a text that reports can show, of 1 to "
                f"{_LONGEST_NAME} characters."
            )
        if not self.name.isprintable():
            raise ValueError(f"Table(name={self.name!r}) has a character that reports cannot show.")
        object.__setattr__(self, "values", _levels(self.values))
        if self.highest > (255 if self.lowest == 0 else 127):
            raise ValueError(
                f"Table(values=...) of {self.name} has {self.highest} levels above zero; a byte "
                "holds 127 beside those below."
            )

    @property
    def bits(self) -> int:
        return (len(self.values) - 1).bit_length()

    @property
    def has_zero(self) -> bool:
        return 0.0 in self.values

    @property
    def lowest(self) -> int:
        return -self.values.index(0.0) if self.has_zero else 0

    @property
    def highest(self) -> int:
        return self.lowest + len(self.values) - 1

    @property
    def odd(self) -> bool:
        """Needs a zero: at zero itself another table takes a level that is not."""
        mirrored = tuple(-value for value in reversed(self.values))
        return self.has_zero and mirrored == self.values

    @property
    def ends(self) -> tuple[float, float]:
        """What the lowest and the highest code stand for, in steps."""
        return self.values[0], self.values[-1]

    def nearest(self, x: Array) -> Array:
        """The code of the level nearest to each entry, ties to the even code."""
        levels = np.asarray(self.values, np.float32)
        middles = (levels[1:] + levels[:-1]) / 2
        # What equals a middle goes up where the code above is even: lower that a bit.
        up = (np.arange(len(middles)) + self.lowest + 1) % 2 == 0
        below = np.nextafter(middles, np.float32(-np.inf))
        # Below a middle at zero lie subnormal numbers, which XLA takes for zero.
        below = np.where(middles == 0, -np.finfo(np.float32).tiny, below)
        middles = np.where(up, below, middles)
        index = count_below(x, padded(jnp.asarray(middles), self.bits), self.bits)
        return (index + self.lowest).astype(jnp.float32)

    def value(self, codes: Array) -> Array:
        """The levels of codes, as float32."""
        levels = jnp.asarray(np.asarray(self.values, np.float32))
        return entries_at(levels, codes.astype(jnp.int32) - self.lowest)


def entries_at(table: Array, index: Array) -> Array:
    """The entries of a one-dimensional table, sharded as the index is."""
    return jnp.asarray(table).at[index].get(mode="clip", out_sharding=explicit_sharding(index))


def count_below(x: Array, middles: Array, bits: int, first: Array | int = 0) -> Array:
    """How many of ascending numbers lie below each entry, by `bits` halvings.

    Args:
      x: (...) float32.
      middles: one-dimensional float32; each run of 2**bits ends in infinity.
      bits: the most there can be is 2**bits - 1.
      first: where in `middles` the run of each entry begins; broadcasts to `x`.

    Returns:
      int32 of the shape of `x`; 0 for NaN.
    """
    # One number at first: XLA would fold a gather by an array of zeros as it compiles.
    found = jnp.zeros((), jnp.int32)
    for step in (1 << bit for bit in reversed(range(bits))):
        beyond = x > entries_at(middles, first + found + (step - 1))
        found = found + step * beyond.astype(jnp.int32)
    return found


def padded(middles: Array, bits: int) -> Array:
    """Numbers between neighbouring levels filled up with infinity, (..., 2**bits)."""
    missing = 2**bits - middles.shape[-1]
    widths = [(0, 0)] * (middles.ndim - 1) + [(0, missing)]
    return jnp.pad(middles, widths, constant_values=np.inf)


def _levels(values: Sequence[float]) -> tuple[float, ...]:
    listed = list(values) if isinstance(values, Sequence | np.ndarray) else []
    if not (2 <= len(listed) <= 256 and all(map(_real, listed))):
        raise ValueError(f"Table(values={values!r}) must be 2 to 256 numbers.")
    with np.errstate(over="ignore"):  # infinity, which is refused below
        levels = np.asarray(listed, np.float32)
    if not (np.all(np.isfinite(levels)) and np.all(np.diff(levels) > 0)):
        raise ValueError(
            f"Table(values={values!r}) must be finite and ascend, in float32. Sort them."
        )
    if not levels[0] < 0 < levels[-1]:
        raise ValueError(f"Table(values={values!r}) must have levels on both sides of zero.")
    return tuple(levels.tolist())


def _real(value) -> bool:
    """Whether it is one real number that a float64 holds, and no bool."""
    if hasattr(value, "dtype"):
        kinds = (jnp.floating, jnp.integer)
        return np.ndim(value) == 0 and any(jnp.issubdtype(value.dtype, kind) for kind in kinds)
    huge = isinstance(value, int) and abs(value) > _LARGEST
    return isinstance(value, Real) and not isinstance(value, bool) and not huge


NF4 = Table(
    "nf4",
    (
        *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
        *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
        *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
        *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
    ),
)
"""Quantiles of a normal distribution, by Dettmers et al. 2023, arXiv:2305.14314."""

BINARY = Table("binary", (-1.0, 1.0))
"""The sign alone; zero counts as below."""
