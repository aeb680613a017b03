"""Formats whose codes stand for levels: floats, quantiles, powers of two, signs.

All but `mxfp4` and `nvfp4`, which fix theirs, take the keyword arguments of
`Keywords`: `per`, `group_size`, `block` and `scales`.
"""

from collections.abc import Sequence
from typing import Unpack

import numpy as np

from jaxcompress.core.checks import check_count
from jaxcompress.core.formats import floats, tables
from jaxcompress.core.formats.codebooks import Codebook
from jaxcompress.core.formats.integers import Integers
from jaxcompress.core.kinds import check_iterable, check_text
from jaxcompress.core.spec import QuantSpec
from jaxcompress.quantize.formats.keywords import Keywords, spec


def nf4(**keywords: Unpack[Keywords]) -> QuantSpec:
    """Sixteen quantiles of a normal distribution, from -1 to 1, zero among them.

    Not for: speed on integer units, which multiply the codes of `int4`; of uneven
    levels programs form the array.

    Also known as: NormalFloat, the format of QLoRA, which has groups of 64 and scales
    of "codes". Not odd: eight levels lie above zero and seven below.

    Example:
      >>> str(jc.quantize.formats.nf4(group_size=64, scales="codes"))
      'nf4 in groups of 64, 8-bit scales under a float32'

    Source: Dettmers et al. 2023, arXiv:2305.14314, section 3.
    """
    return spec("nf4", tables.NF4, keywords)


def fp4(**keywords: Unpack[Keywords]) -> QuantSpec:
    """Floats of 4 bits (e2m1): 0, 0.5, 1, 1.5, 2, 3, 4 and 6, and their negatives.

    Example:
      >>> jc.quantize.formats.fp4().levels.ends
      (-6.0, 6.0)
    """
    return spec("fp4", floats.FP4, keywords)


def fp8_e4m3(**keywords: Unpack[Keywords]) -> QuantSpec:
    """Floats of 8 bits with 3 of fraction, up to 448: hardware's e4m3fn.

    Example:
      >>> jc.quantize.formats.fp8_e4m3().levels.ends
      (-448.0, 448.0)

    Source: Micikevicius et al. 2022, arXiv:2209.05433, section 3.
    """
    return spec("fp8_e4m3", floats.FP8_E4M3, keywords)


def fp8_e5m2(**keywords: Unpack[Keywords]) -> QuantSpec:
    """Floats of 8 bits with 2 of fraction, up to 57344.

    Example:
      >>> jc.quantize.formats.fp8_e5m2().levels.ends
      (-57344.0, 57344.0)

    Source: Micikevicius et al. 2022, arXiv:2209.05433, section 3.
    """
    return spec("fp8_e5m2", floats.FP8_E5M2, keywords)


def mxfp4() -> QuantSpec:
    """`fp4` in groups of 32 under powers of two: 4.25 bits per number.

    Example:
      >>> str(jc.quantize.formats.mxfp4())
      'fp4_e2m1 in groups of 32, power-of-two scales'

    Source: OCP Microscaling Formats 1.0. Differs: exponents are rounded up, so that
    nothing is clipped.
    """
    return spec("mxfp4", floats.FP4, {"group_size": 32, "scales": "power_of_two"})


def nvfp4() -> QuantSpec:
    """`fp4` in groups of 16 under e4m3 scales and one float32: 4.5 bits per number.

    Example:
      >>> str(jc.quantize.formats.nvfp4())
      'fp4_e2m1 in groups of 16, e4m3 scales under a float32'
    """
    return spec("nvfp4", floats.FP4, {"group_size": 16, "scales": "e4m3"})


def ternary(**keywords: Unpack[Keywords]) -> QuantSpec:
    """The levels -1, 0 and 1: the same as `int2`, and executed as integers.

    Example:
      >>> jc.quantize.formats.ternary() == jc.quantize.formats.int2()
      True
    """
    return spec("ternary", Integers(2, -1, 1, symmetric=True), keywords)


def binary(**keywords: Unpack[Keywords]) -> QuantSpec:
    """The sign alone: -1 and 1, eight in a byte.

    Zero has no level and counts as below, so pruned weights are refused.

    Example:
      >>> jc.quantize.formats.binary().has_zero
      False
    """
    return spec("binary", tables.BINARY, keywords)


def power_of_two(bits: int, **keywords: Unpack[Keywords]) -> QuantSpec:
    """Zero and powers of two from 1 downwards, of both signs.

    Not for: accuracy by more bits, which add levels near zero alone; those of `int8`
    divide the whole range.

        0, ±1, ±1/2, ±1/4, …, ±2**(2 - 2**(bits - 1))

    Also known as: logarithmic quantization, INQ's levels; a product becomes a shift.

    Args:
      bits: of a code with its sign, 2 to 8.
      keywords: as `Keywords`.

    Returns:
      QuantSpec.

    Raises:
      ValueError: `bits` is not from 2 to 8, or a keyword's value is unknown.

    Example:
      >>> jc.quantize.formats.power_of_two(3).levels.values
      (-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0)

    Source: Zhou et al. 2017, arXiv:1702.03044, section 2.1.
    """
    if check_count("power_of_two", "bits", bits, least=2) > 8:
        raise ValueError(f"power_of_two(bits={bits}) must be from 2 to 8.")
    above = [2.0**-halvings for halvings in reversed(range(2 ** (int(bits) - 1) - 1))]
    levels = (*(-value for value in reversed(above)), 0.0, *above)
    return spec("power_of_two", tables.Table(f"powers of two of {bits} bits", levels), keywords)


def table(name: str, levels: Sequence[float], **keywords: Unpack[Keywords]) -> QuantSpec:
    """Levels of one's own, in units of the scale.

    Args:
      name: what reports call the format.
      levels: 2 to 256 ascending numbers on both sides of zero. Without 0 among them,
        pruned weights are refused.
      keywords: as `Keywords`.

    Returns:
      QuantSpec.

    Raises:
      ValueError: the levels do not ascend, are not finite or lie on one side; or a
        keyword's value is unknown.

    Example:
      >>> jc.quantize.formats.table("fifths", (-1, -0.2, 0, 0.2, 1)).bits
      3
    """
    check_text("table", "name", name)
    numbers = np.asarray(levels).tolist() if hasattr(levels, "shape") else levels
    check_iterable("table", "levels", numbers, "Pass 2 to 256 ascending numbers.")
    return spec("table", tables.Table(name, tuple(levels)), keywords)


def codebook(bits: int, **keywords: Unpack[Keywords]) -> QuantSpec:
    """A table of 2**bits levels that each leaf stores itself: weight sharing.

    Not for: speed on integer units, which multiply the codes of `int8` and `int4`; of
    these programs form the array.

    Also known as: clustering, a k-means codebook, Deep Compression's quantization. The
    level of code 0 is exactly zero. `quantize` begins with even steps; a method that
    learns the levels puts its own into the leaf's `codebook`.

    Args:
      bits: of a code, 2 to 8.
      keywords: as `Keywords`.

    Returns:
      QuantSpec.

    Raises:
      ValueError: `bits` is not from 2 to 8, or a keyword's value is unknown.

    Example:
      >>> spec = jc.quantize.formats.codebook(2, per="tensor")
      >>> params = {"kernel": jnp.array([[0.1, -1.0, 1.0]])}
      >>> params, _ = jc.quantize.quantize(params, spec)
      >>> params["kernel"].codebook
      Array([[[ 0. , -1. , -0.5,  1. ]]], dtype=float32)

    Source: Han et al. 2016, arXiv:1510.00149, section 3.
    """
    if check_count("codebook", "bits", bits, least=2) > 8:
        raise ValueError(f"codebook(bits={bits}) must be from 2 to 8.")
    return spec("codebook", Codebook(bits), keywords)
