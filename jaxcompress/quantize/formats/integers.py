"""Number formats: functions that give a `QuantSpec`, which `core.spec` describes."""

from jaxcompress.core.formats.integers import Integers
from jaxcompress.core.spec import QuantSpec
from jaxcompress.quantize.formats.keywords import Sharing, sharing


def int8(*, per: Sharing = "channel", group_size: int = 0) -> QuantSpec:
    """Signed 8-bit codes from -127 to 127.

    Odd: the code of -x is minus the code of x. The form that integer units multiply.

    Args:
      per: what shares one scale, "tensor" or "channel".
      group_size: weights per scale along the last contracting axis. Above 0 it takes
        the place of `per`.

    Returns:
      QuantSpec.

    Raises:
      ValueError: `per` is unknown, or `group_size` is no count.

    Example:
      >>> str(jc.quantize.int8()), str(jc.quantize.int8(group_size=64))
      ('int8 per channel', 'int8 in groups of 64')
    """
    return _spec(Integers(8, -127, 127, symmetric=True), per, group_size)


def int4(*, per: Sharing = "channel", group_size: int = 0) -> QuantSpec:
    """Signed 4-bit codes from -7 to 7, two in a byte.

    Odd: -8 is left out, so that positive and negative weights are treated alike.

    Args:
      per: what shares one scale, "tensor" or "channel".
      group_size: weights per scale along the last contracting axis. Above 0 it takes
        the place of `per`.

    Returns:
      QuantSpec.

    Raises:
      ValueError: `per` is unknown, or `group_size` is no count.

    Example:
      >>> jc.quantize.int4().highest
      7
    """
    return _spec(Integers(4, -7, 7, symmetric=True), per, group_size)


def uint8(*, per: Sharing = "channel", group_size: int = 0) -> QuantSpec:
    """Unsigned 8-bit codes from 0 to 255 with a zero point.

    Finer than `int8` where values lie to one side of zero. Zero stays exact.

    Args:
      per: what shares one scale, "tensor" or "channel".
      group_size: weights per scale along the last contracting axis. Above 0 it takes
        the place of `per`.

    Returns:
      QuantSpec.

    Raises:
      ValueError: `per` is unknown, or `group_size` is no count.

    Example:
      >>> jc.quantize.formats.uint8(per="tensor").symmetric
      False
    """
    return _spec(Integers(8, 0, 255, symmetric=False), per, group_size)


def uint4(*, per: Sharing = "channel", group_size: int = 0) -> QuantSpec:
    """Unsigned 4-bit codes from 0 to 15 with a zero point, two in a byte.

    Args:
      per: what shares one scale, "tensor" or "channel".
      group_size: weights per scale along the last contracting axis. Above 0 it takes
        the place of `per`.

    Returns:
      QuantSpec.

    Raises:
      ValueError: `per` is unknown, or `group_size` is no count.

    Example:
      >>> jc.quantize.formats.uint4(group_size=32).sharing.size
      32
    """
    return _spec(Integers(4, 0, 15, symmetric=False), per, group_size)


def _spec(levels: Integers, per: Sharing, group_size: int) -> QuantSpec:
    return QuantSpec(levels, sharing(levels.name, per, group_size))
