"""By how much the product of two factors counts: a function of their rank."""

import math
from collections.abc import Callable

from jaxcompress.core.checks import check_positive
from jaxcompress.core.kinds import check_built

Scale = Callable[[int], float]
"""From a rank to what the product of two factors is multiplied by."""


def over_root(alpha: float) -> Scale:
    """Scales by alpha / sqrt(rank), so that adapters of a large rank learn as fast.

    Not for: an alpha that was tuned to be divided by the rank, as `lora` does with a
    number.

    Also known as: rsLoRA, rank-stabilized LoRA.

    Args:
      alpha: above 0 and finite.

    Returns:
      A function from a rank to its scale, for `lora(alpha=...)` and `dora`.

    Raises:
      ValueError: alpha is 0 or less, or not finite.

    Example:
      >>> jc.adapt.over_root(16.0)(64)
      2.0

    Source: Kalajdzievski 2023, arXiv:2312.03732, section 3.
    """
    check_positive("over_root", "alpha", alpha)

    def scale(rank: int) -> float:
        return alpha / math.sqrt(rank)

    return scale


def as_scale(caller: str, alpha: float | Scale) -> Scale:
    """The scale alpha / rank of a number, or the function that is given.

    Raises:
      TypeError: it is a function of other arguments, or one that was not called.
      ValueError: a number is 0 or less or not finite; when called: what the function
        gives is.
    """
    if not callable(alpha):
        check_positive(caller, "alpha", alpha)
        return lambda rank: float(alpha) / rank
    check_built(caller, "alpha", alpha, 1, "Pass a number or adapt.over_root(16.0).")

    def scale(rank: int) -> float:
        found = alpha(rank)
        check_positive(caller, "alpha", found)
        return float(found)

    return scale
