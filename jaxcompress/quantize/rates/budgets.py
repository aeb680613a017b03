"""The slope of rate-distortion rounding at which a tree meets a budget of bytes."""

import math
from collections.abc import Callable

from jaxcompress.core.checks import check_count, check_positive
from jaxcompress.core.kinds import check_takes


def slope_for(
    budget_bytes: int, size_at: Callable[[float], int], *, start: float = 1e-5, trials: int = 16
) -> float:
    """The smallest slope found at which a tree meets a budget of bytes.

    All leaves share one slope: then no byte would be better spent in another leaf. From
    `start` the slope changes by factors of 8 until the size has passed the budget, then
    the interval is halved, in logarithms, as often as trials are left.

    Args:
      budget_bytes: what `size_at` shall not exceed, at least 1.
      size_at: slope -> bytes, which do not grow with the slope; for example of
        `storage.size(quantize(params, spec, rounding=rate_distortion(slope))[0]).disk`.
      start: the slope that is tried first, above 0.
      trials: calls of `size_at`, at least 1.

    Returns:
      The smallest slope that was tried and meets the budget.

    Raises:
      TypeError: `size_at` is no function of one argument.
      ValueError: a number is outside its range, or no slope that was tried meets the
        budget; the message says the least bytes that were found.

    Example:
      >>> size_at = lambda slope: int(5000 - 500 * np.log2(slope / 1e-6))
      >>> slope = jc.quantize.rates.slope_for(1000, size_at)
      >>> round(slope / 1e-6)
      256

    Source: Shoham and Gersho 1988, "Efficient bit allocation for an arbitrary set of
    quantizers": at equal slopes no exchange of bits makes the error smaller.
    """
    budget_bytes = check_count("slope_for", "budget_bytes", budget_bytes)
    check_takes("slope_for", "size_at", size_at, 1, "It gives the bytes at a slope.")
    check_positive("slope_for", "start", start)
    sizes: dict[float, int] = {}
    slope = float(start)
    for _ in range(check_count("slope_for", "trials", trials)):
        sizes[slope] = size_at(slope)
        slope = _next_slope(sizes, budget_bytes)
    met = [each for each, size in sizes.items() if size <= budget_bytes]
    if not met:
        raise ValueError(
            f"slope_for(budget_bytes={budget_bytes}): the least of {len(sizes)} trials was "
            f"{min(sizes.values())} bytes, at the slope {max(sizes):.3g}. Raise the budget, start "
            "from a larger slope, or prune first."
        )
    return min(met)


def _next_slope(sizes: dict[float, int], budget_bytes: int) -> float:
    """Between the slopes next to the budget, or beyond all where one side has none."""
    too_large = [slope for slope, size in sizes.items() if size > budget_bytes]
    met = [slope for slope, size in sizes.items() if size <= budget_bytes]
    if not too_large:
        return min(met) / 8
    if not met:
        return max(too_large) * 8
    return math.sqrt(max(too_large) * min(met))
