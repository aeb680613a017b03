"""How reports write sizes, ratios and shares for people."""

import re

from jaxcompress.core.report import signed


def size(count: float) -> str:
    """Bytes in three figures with their unit.

    Example:
      >>> [size(count) for count in (12, 28_968, 608_160, 1_250_000_000)]
      ['12 B', '29.0 kB', '608 kB', '1.25 GB']
    """
    number, unit = _scaled(count)
    if unit == "B" or number >= 1000:
        return f"{number:.0f} {unit}"
    return f"{number:#.3g}".rstrip(".") + f" {unit}"


def rough_size(count: float) -> str:
    """Bytes in two figures or as many as stand before the point.

    Example:
      >>> [rough_size(count) for count in (12, 3_228, 15_710, 608_160)]
      ['12 B', '3.2 kB', '16 kB', '608 kB']
    """
    number, unit = _scaled(count)
    return f"{rough(number)} {unit}"


def rough(number: float) -> str:
    """A number above 0 in two figures, or as many as stand before the point.

    Example:
      >>> [rough(number) for number in (38.7, 3.86, 9.97, 1.0)]
      ['39', '3.9', '10', '1']
    """
    return f"{number:.0f}" if number >= 9.95 else f"{number:.2g}"


def tick(count: float) -> str:
    """Bytes as an axis writes them, without rounding.

    Example:
      >>> tick(500), tick(20_000)
      ('500 B', '20 kB')
    """
    number, unit = _scaled(count)
    return f"{number:g} {unit}"


def points(fraction: float) -> str:
    """A difference of two shares in points with its sign.

    Example:
      >>> points(-0.0097), points(0.0), points(-0.00001)
      ('−0.97', '0.00', '0.00')
    """
    rounded = round(100 * fraction, 2)
    return signed(rounded, "+.2f") if rounded else "0.00"


def percent(share: float) -> str:
    """A share in percent, without the sign, which a heading has.

    Example:
      >>> percent(0.9861)
      '98.61'
    """
    return f"{100 * share:.2f}"


def unbroken(text: str) -> str:
    r"""Text in which no line ends between a number and its unit.

    Example:
      >>> unbroken("no loss of 1 point")
      'no loss of 1\xa0point'
    """
    return re.sub(r"(?<=\d) (?=[^\W\d]|%)", "\N{NO-BREAK SPACE}", text)


def _scaled(count: float) -> tuple[float, str]:
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        # From here on three figures would round up to the next unit.
        if count >= 0.9995 * unit:
            return count / unit, name
    return count, "B"
