"""Integer formats, with and without a zero point, and fixed point.

All but fixed point take the keyword arguments of `Keywords`.
"""

from typing import Unpack

from jaxcompress.core.checks import check_count, check_whole
from jaxcompress.core.formats.integers import Integers
from jaxcompress.core.formats.scales import Fixed
from jaxcompress.core.formats.sharing import Tensor
from jaxcompress.core.spec import QuantSpec
from jaxcompress.quantize.formats.keywords import Keywords, spec


def int8(**keywords: Unpack[Keywords]) -> QuantSpec:
    """Signed 8-bit codes from -127 to 127.

    Odd: the code of -x is minus the code of x. The form that integer units multiply.

    Args:
      keywords: `per` ("channel", "tensor" or "row"), `group_size` or `block` say what
        shares a scale, `scales` how it is stored, see `quantize.formats.Keywords`; by
        default each output channel has a float32 scale.

    Returns:
      QuantSpec.

    Raises:
      ValueError: a value is unknown or no count.

    Example:
      >>> str(jc.quantize.int8()), str(jc.quantize.int8(group_size=64))
      ('int8 per channel', 'int8 in groups of 64')
    """
    return spec("int8", Integers(8, -127, 127, symmetric=True), keywords)


def int7(**keywords: Unpack[Keywords]) -> QuantSpec:
    """Signed 7-bit codes from -63 to 63, a byte each in memory."""
    return spec("int7", Integers(7, -63, 63, symmetric=True), keywords)


def int6(**keywords: Unpack[Keywords]) -> QuantSpec:
    """Signed 6-bit codes from -31 to 31, a byte each in memory."""
    return spec("int6", Integers(6, -31, 31, symmetric=True), keywords)


def int5(**keywords: Unpack[Keywords]) -> QuantSpec:
    """Signed 5-bit codes from -15 to 15, a byte each in memory."""
    return spec("int5", Integers(5, -15, 15, symmetric=True), keywords)


def int4(**keywords: Unpack[Keywords]) -> QuantSpec:
    """Signed 4-bit codes from -7 to 7, two in a byte.

    Odd: -8 is left out, so that positive and negative weights are treated alike.

    Args:
      keywords: as in `int8`; groups of 32 to 128 are usual.

    Example:
      >>> str(jc.quantize.int4(group_size=64, scales="bfloat16"))
      'int4 in groups of 64, bfloat16 scales'
    """
    return spec("int4", Integers(4, -7, 7, symmetric=True), keywords)


def int3(**keywords: Unpack[Keywords]) -> QuantSpec:
    """Signed 3-bit codes from -3 to 3, a nibble each in memory."""
    return spec("int3", Integers(3, -3, 3, symmetric=True), keywords)


def int2(**keywords: Unpack[Keywords]) -> QuantSpec:
    """Signed 2-bit codes -1, 0 and 1, four in a byte: the levels of `ternary`."""
    return spec("int2", Integers(2, -1, 1, symmetric=True), keywords)


def uint8(**keywords: Unpack[Keywords]) -> QuantSpec:
    """Unsigned 8-bit codes from 0 to 255 with a zero point.

    Finer than `int8` where values lie to one side of zero. Zero stays exact.

    Example:
      >>> jc.quantize.formats.uint8(per="tensor").symmetric
      False
    """
    return spec("uint8", Integers(8, 0, 255, symmetric=False), keywords)


def uint7(**keywords: Unpack[Keywords]) -> QuantSpec:
    """Unsigned 7-bit codes from 0 to 127 with a zero point."""
    return spec("uint7", Integers(7, 0, 127, symmetric=False), keywords)


def uint6(**keywords: Unpack[Keywords]) -> QuantSpec:
    """Unsigned 6-bit codes from 0 to 63 with a zero point."""
    return spec("uint6", Integers(6, 0, 63, symmetric=False), keywords)


def uint5(**keywords: Unpack[Keywords]) -> QuantSpec:
    """Unsigned 5-bit codes from 0 to 31 with a zero point."""
    return spec("uint5", Integers(5, 0, 31, symmetric=False), keywords)


def uint4(**keywords: Unpack[Keywords]) -> QuantSpec:
    """Unsigned 4-bit codes from 0 to 15 with a zero point, two in a byte.

    Example:
      >>> jc.quantize.formats.uint4(group_size=32).sharing
      Group(size=32)
    """
    return spec("uint4", Integers(4, 0, 15, symmetric=False), keywords)


def uint3(**keywords: Unpack[Keywords]) -> QuantSpec:
    """Unsigned 3-bit codes from 0 to 7 with a zero point."""
    return spec("uint3", Integers(3, 0, 7, symmetric=False), keywords)


def uint2(**keywords: Unpack[Keywords]) -> QuantSpec:
    """Unsigned 2-bit codes from 0 to 3 with a zero point, four in a byte."""
    return spec("uint2", Integers(2, 0, 3, symmetric=False), keywords)


def fixed_point(bits: int, fraction_bits: int) -> QuantSpec:
    """Fixed point: whole multiples of 2**-fraction_bits, whatever the data.

    Not for: weights or data whose range is not known beforehand; `int8` and `int4` have
    scales that follow it.

        value = clip(round(w · 2**fraction_bits)) / 2**fraction_bits

    Also known as: Qm.n. Codes reach as far below zero as above, 2**(bits - 1) - 1
    steps; what lies outside is clipped, and ranges play no part.

    Args:
      bits: of a code with its sign, 2 to 8.
      fraction_bits: of those behind the binary point; may be negative, or more than
        `bits`.

    Returns:
      QuantSpec.

    Raises:
      ValueError: `bits` is not from 2 to 8, or `fraction_bits` no int in [-100, 100].

    Example:
      >>> params = {"kernel": jnp.array([[0.3, -9.0]])}
      >>> coarse = jc.quantize.fake_quantize(jc.quantize.formats.fixed_point(4, 2))
      >>> coarse(params)["kernel"]
      Array([[ 0.25, -1.75]], dtype=float32)
    """
    if check_count("fixed_point", "bits", bits, least=2) > 8:
        raise ValueError(f"fixed_point(bits={bits}) must be from 2 to 8.")
    check_whole("fixed_point", "fraction_bits", fraction_bits)
    highest = 2 ** (int(bits) - 1) - 1
    levels = Integers(bits, -highest, highest, symmetric=True)
    return QuantSpec(levels, Tensor(), Fixed(fraction_bits))
