"""Operating points of scores: true positives at a false positive rate, areas, chance.

Arrays in, numbers out; `audit` checks and puts them together.
"""

import math

import numpy as np


def false_positives_allowed(rate: float, others: int) -> int:
    """How many of so many non-members a rate is: the whole part of rate · others."""
    # 0.1 · 30 is 3, and a little less in binary.
    return math.floor(rate * others * (1 + 1e-12))


def found(scores: np.ndarray, members: np.ndarray, rate: float) -> int:
    """Members that score above the k-th highest non-member, k = rate · non-members.

    Of scores that say nothing this finds k / (non-members + 1) of the members, which is
    no more than the rate: a member is called one where no more than k - 1 non-members
    score as high. Equal scores never count.
    """
    others = np.sort(scores[~members])
    allowed = false_positives_allowed(rate, len(others))
    return int(np.sum(scores[members] > others[-allowed])) if allowed else 0


def chance_of_found(count: int, members: int, others: int, rate: float) -> float:
    """Probability of finding so many members or more by scores that say nothing.

    Of exchangeable scores the first count + k - 1, from the top, hold `count` members
    or more exactly where so many stand above the k-th non-member. So it is the tail of
    a hypergeometric distribution; where scores are equal it is no less.
    """
    from scipy import stats

    allowed = false_positives_allowed(rate, others)
    drawn = count + allowed - 1
    if not count:
        return 1.0
    return float(stats.hypergeom.sf(count - 1, members + others, members, drawn))


def auc(scores: np.ndarray, members: np.ndarray) -> float:
    """Probability that a member scores above a non-member; equal scores count half."""
    from scipy import stats

    ranks = stats.rankdata(scores)
    inside = int(members.sum())
    others = len(members) - inside
    above = ranks[members].sum() - inside * (inside + 1) / 2
    return float(above / (inside * others))


def chance_of_area(scores: np.ndarray, members: np.ndarray) -> float:
    """Probability of such an area or more by scores that say nothing (Mann-Whitney)."""
    from scipy import stats

    test = stats.mannwhitneyu(scores[members], scores[~members], alternative="greater")
    return float(test.pvalue)


def curve(scores: np.ndarray, members: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """True positive rates at false positive rates (k,), each a whole share of them."""
    others = np.sort(scores[~members])
    allowed = np.array([false_positives_allowed(rate, len(others)) for rate in rates])
    thresholds = others[-np.maximum(allowed, 1)]
    inside = np.sort(scores[members])
    above = len(inside) - np.searchsorted(inside, thresholds, side="right")
    return np.where(allowed > 0, above, 0) / len(inside)


def advantage(scores: np.ndarray, members: np.ndarray) -> float:
    """The largest true minus false positive rate over all thresholds."""
    order = np.argsort(-scores, kind="stable")
    inside = members[order]
    # Between equal scores lies no threshold.
    ends = np.append(np.diff(scores[order]) != 0, True)
    true = np.cumsum(inside)[ends] / inside.sum()
    false = np.cumsum(~inside)[ends] / (~inside).sum()
    return float(max(np.max(true - false), 0.0))
