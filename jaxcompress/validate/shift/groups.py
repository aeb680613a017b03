"""A metric in each of many groups against the rest, corrected for their number."""

import math

import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.core.checks import check_count, check_positive
from jaxcompress.core.kinds import check_kind
from jaxcompress.validate.cards.findings import examples_for
from jaxcompress.validate.comparisons.corrections import holm
from jaxcompress.validate.intervals import check_confidence
from jaxcompress.validate.scores import Score
from jaxcompress.validate.shift.group_results import (
    NOT_WORSE,
    SLIGHTLY_WORSE,
    TOO_FEW,
    WORSE,
    WORSE_BY_MARGIN,
    Group,
    Subgroups,
)
from jaxcompress.validate.shift.group_tests import against_rest
from jaxcompress.validate.shift.sources import SCORE


def subgroups(
    score: Score,
    groups: ArrayLike,
    *,
    margin: float,
    confidence: float = 0.95,
    seed: int = 0,
) -> Subgroups:
    """A metric in each group against all other examples, corrected for many groups.

    Not for: groups found by the model's errors; test those on other examples.

    Of a mean of bools, such as the accuracy, by Newcombe's interval and Fisher's exact
    test; of a mean of numbers by Welch's; of any other metric by the bootstrap and by
    4,999 permutations of who belongs to the group. Intervals have the confidence
    1 - (1 - confidence) / groups, so that all hold together; p-values are Holm's.

    With low and high the ends of the difference's interval, higher being better:

        high <= -margin            worse by the margin or more
        low > -margin, high < 0    worse by less than the margin
        low > -margin              not worse by the margin
        high < 0                   worse
        otherwise                  too few examples to tell, and how many it would take

    Also known as: sliced evaluation, disaggregated evaluation, fairness by group.

    Args:
      score: of one evaluation: `evaluation["accuracy"]`.
      groups: (n,), integers, bools or texts: the group of each example, two groups or
        more with two examples each.
      margin: difference that matters, in the metric's unit, above 0, set beforehand.
      confidence: of all intervals together, in (0, 1).
      seed: of resampling and permutations.

    Returns:
      Every group with its verdict, and the worst one.

    Raises:
      TypeError: `score` is none, or groups are of another kind.
      ValueError: groups of another length, one group, a group of one example or one in
        which the metric is not defined, an option out of range.

    Example:
      >>> metric = jc.validate.metrics.accuracy()
      >>> wrong = np.arange(400) % np.repeat([5, 20], 200) == 0  # 20 % and 5 %
      >>> labels = np.zeros(400, np.int32)
      >>> fn, logits = lambda params, x: x, np.eye(2)[wrong.astype(int)]
      >>> result = jc.validate.evaluate(fn, {}, logits, labels)
      >>> groups = np.repeat(["north", "south"], 200)
      >>> found = jc.validate.shift.subgroups(result["accuracy"], groups, margin=0.05)
      >>> found.worst.name, found.worst.verdict
      ('north', 'worse by the margin or more')

    Source: Newcombe 1998, Stat. Med. 17; Holm 1979, Scand. J. Stat. 6; Dunn 1961, J.
    Am. Stat. Assoc. 56.
    """
    check_kind("subgroups", "score", score, Score, SCORE)
    names, places = _members(groups, score.n)
    check_positive("subgroups", "margin", margin)
    confidence = check_confidence("subgroups", confidence)
    seed = check_count("subgroups", "seed", seed, least=0)
    each = 1 - (1 - confidence) / len(names)
    tests = []
    for place, name in enumerate(names):
        try:
            tests.append(against_rest(score, places == place, each, seed))
        except ValueError as error:
            raise ValueError(
                f"subgroups(groups): group {name!r} or its rest cannot be judged; merge groups. "
                f"{error}"
            ) from error
    adjusted = holm([test.p for test in tests])
    sign = 1 if score.metric.higher_is_better else -1
    found = []
    for place, (name, test) in enumerate(zip(names, tests, strict=True)):
        n, difference = int(np.sum(places == place)), test.value - test.rest
        verdict, needed = _verdict(sign, n, difference, test.difference_interval, margin)
        found.append(
            Group(
                name=name,
                n=n,
                value=test.value,
                interval=test.interval,
                rest=test.rest,
                difference=difference,
                difference_interval=test.difference_interval,
                p=test.p,
                adjusted=float(adjusted[place]),
                verdict=verdict,
                examples_needed=needed,
            )
        )
    return Subgroups(
        metric=score.metric.name,
        higher_is_better=score.metric.higher_is_better,
        n=score.n,
        value=score.value,
        groups=tuple(found),
        margin=float(margin),
        confidence=confidence,
    )


def _verdict(
    sign: int, n: int, difference: float, interval: tuple[float, float], margin: float
) -> tuple[str, int | None]:
    """The verdict, and the examples it would take where there is none."""
    low, high = sorted((sign * interval[0], sign * interval[1]))
    gain = sign * difference
    if high <= -margin:
        return WORSE_BY_MARGIN, None
    if low > -margin:
        return (SLIGHTLY_WORSE if high < 0 else NOT_WORSE), None
    if high < 0:
        return WORSE, None
    if gain > -margin:
        return TOO_FEW, examples_for(n, gain, low, margin)
    # So that the interval would end below 0.
    return TOO_FEW, math.ceil(n * ((high - gain) / gain) ** 2)


def _members(groups: ArrayLike, n: int) -> tuple[list[str], np.ndarray]:
    """The names of the groups and which of them each example is in, (n,)."""
    array = np.asarray(groups)
    if array.dtype.kind not in "biuSU":
        raise TypeError(
            f"subgroups(groups of dtype {array.dtype}) needs integers, bools or texts. Cut numbers "
            "into ranges first."
        )
    if array.shape != (n,):
        raise ValueError(
            f"subgroups(groups of shape {array.shape}) needs the shape ({n},), one per example."
        )
    names, places, counts = np.unique(array, return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise ValueError(
            f"subgroups(groups): all {n} examples are in {str(names[0])!r}, so there is no rest to "
            "compare with."
        )
    if counts.min() < 2:
        small = names[int(np.argmin(counts))]
        raise ValueError(
            f"subgroups(groups): group {str(small)!r} has one example. Each needs two; merge it "
            "with another or leave it out."
        )
    return [str(name) for name in names.tolist()], places
