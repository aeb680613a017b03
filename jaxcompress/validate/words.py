"""The words in which verdicts of paired comparisons are said, in any unit."""

from collections.abc import Callable

from jaxcompress.core.report import signed


def against_margin(
    low: float, high: float, margin: float, span: Callable[[float, float], str], size: str
) -> str:
    """What an interval of a gain, more is better, supports: see `validate.verdict`.

    Args:
      low: lower end of the interval.
      high: upper end.
      margin: difference that matters, in the same unit.
      span: writes two ends with their unit.
      size: the margin with its unit.

    Returns:
      The words.
    """
    if -margin < low and high < margin:
        return f"the same within {size}"
    if high <= -margin:
        return f"worse by {span(-high, -low)}"
    if low >= margin:
        return f"better by {span(low, high)}"
    if high < 0:
        return f"a loss of {span(-high, -low)}; too few examples to tell whether it reaches {size}"
    if low > 0:
        return f"a gain of {span(low, high)}; too few examples to tell whether it reaches {size}"
    if -margin < low:
        return f"no loss of {size} or more"
    if high < margin:
        return f"too few examples to rule out a loss of {size}"
    return "too few examples to tell"


def not_decided(name: str, low: float, high: float) -> str:
    """How far an interval reaches that holds 0, where no margin was set."""
    ends = (signed(end, "+.3g") for end in (low, high))
    return f"not decided: the interval of the {name} difference reaches from {' to '.join(ends)}"
