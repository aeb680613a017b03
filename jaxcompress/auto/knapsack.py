"""One option for each item, of least total cost within a weight: an integer program."""

from collections.abc import Sequence

import numpy as np


def cheapest(
    costs: Sequence[Sequence[float]], weights: Sequence[Sequence[int]], limit: int
) -> list[int]:
    """The multiple-choice knapsack: an option for each item.

        least sum of costs with a sum of weights <= limit

    Args:
      costs: by item, of each of its options; finite.
      weights: alike, at least 0, with an option of weight 0 for each item.
      limit: at least 0.

    Returns:
      By item the position of its option.

    Example:
      >>> cheapest([[3.0, 0.0], [5.0, 0.0]], [[0, 8], [0, 8]], limit=10)
      [0, 1]

    Source: Kellerer, Pferschy and Pisinger 2004, "Knapsack Problems", chapter 11,
    solved by branch and bound (HiGHS).
    """
    # Loading the solver takes a quarter of a second.
    from scipy import optimize, sparse

    items = np.repeat(np.arange(len(costs)), [len(options) for options in costs])
    cost, weight = np.concatenate(costs), np.concatenate(weights).astype(float)
    one_each = sparse.csr_array((np.ones(len(items)), (items, np.arange(len(items)))))
    # Tolerances of the solver are absolute: both sums are brought near 1.
    found = optimize.milp(
        cost / (np.abs(cost).max() or 1.0),
        integrality=np.ones(len(items)),
        bounds=optimize.Bounds(0, 1),
        constraints=[
            optimize.LinearConstraint(one_each, 1, 1),
            optimize.LinearConstraint(weight[None] / max(limit, 1), -np.inf, limit / max(limit, 1)),
        ],
        options={"mip_rel_gap": 0.0},
    )
    taken = np.flatnonzero(found.x > 0.5)
    return (taken - np.searchsorted(items, items[taken])).tolist()
