"""The family of formats: one row for each, which every table of laws is run on."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import ml_dtypes
import numpy as np
import pytest

from jaxcompress.core.spec import QuantSpec
from jaxcompress.quantize import formats


class Case(NamedTuple):
    """A format and what it must be.

    Attributes:
      build: the function of `quantize.formats`, its own arguments bound; it takes the
        keywords that all share, unless `fixed`.
      levels: every value of a code in units of the scale, by an oracle of its own; of a
        grid with a zero point, its whole steps.
      odd: whether the code of -x is minus that of x.
      zero: whether zero is a level.
      bits: of a code.
      fixed: whether sharing and scales are part of the format.
    """

    name: str
    build: Callable[..., QuantSpec]
    levels: Sequence[float]
    odd: bool
    zero: bool
    bits: int
    fixed: bool = False


def whole(lowest: int, highest: int) -> list[int]:
    return list(range(lowest, highest + 1))


def floats(dtype) -> list[float]:
    """Every finite number of a type of ml_dtypes."""
    bits = ml_dtypes.finfo(dtype).bits
    numbers = np.arange(2**bits).astype(np.uint8).view(dtype).astype(np.float64)
    return sorted(set(numbers[np.isfinite(numbers)].tolist()))


def bound(build: Callable, *arguments) -> Callable[..., QuantSpec]:
    return lambda **keywords: build(*arguments, **keywords)


NF4 = [-1.0, -0.6962, -0.5251, -0.3949, -0.2844, -0.1848, -0.0911, 0.0]
NF4 += [0.0796, 0.1609, 0.2461, 0.3379, 0.4407, 0.5626, 0.7230, 1.0]
E2M1 = floats(ml_dtypes.float4_e2m1fn)
FIFTHS = (-1.0, -0.2, 0.0, 0.2, 1.0)
HALVES = [-1, -0.5, -0.25, 0, 0.25, 0.5, 1]
STEPS = [-1, -0.75, -0.5, -0.25, 0, 1 / 3, 2 / 3, 1]

FORMATS = [
    *(
        Case(f"int{bits}", getattr(formats, f"int{bits}"), whole(-high, high), True, True, bits)
        for bits, high in ((8, 127), (7, 63), (6, 31), (5, 15), (4, 7), (3, 3), (2, 1))
    ),
    *(
        Case(f"uint{bits}", getattr(formats, f"uint{bits}"), whole(0, high), False, True, bits)
        for bits, high in ((8, 255), (7, 127), (6, 63), (5, 31), (4, 15), (3, 7), (2, 3))
    ),
    Case("fixed_point", bound(formats.fixed_point, 4, 2), whole(-7, 7), True, True, 4, fixed=True),
    Case("nf4", formats.nf4, NF4, False, True, 4),
    Case("fp4", formats.fp4, E2M1, True, True, 4),
    Case("fp8_e4m3", formats.fp8_e4m3, floats(ml_dtypes.float8_e4m3fn), True, True, 8),
    Case("fp8_e5m2", formats.fp8_e5m2, floats(ml_dtypes.float8_e5m2), True, True, 8),
    Case("mxfp4", formats.mxfp4, E2M1, True, True, 4, fixed=True),
    Case("nvfp4", formats.nvfp4, E2M1, True, True, 4, fixed=True),
    Case("ternary", formats.ternary, [-1, 0, 1], True, True, 2),
    Case("binary", formats.binary, [-1, 1], False, False, 1),
    Case("power_of_two", bound(formats.power_of_two, 3), HALVES, True, True, 3),
    Case("table", bound(formats.table, "fifths", FIFTHS), FIFTHS, True, True, 3),
    Case("codebook", bound(formats.codebook, 3), STEPS, False, True, 3),
]
every_format = pytest.mark.parametrize("case", FORMATS, ids=lambda case: case.name)
