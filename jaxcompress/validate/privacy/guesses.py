"""Lower bounds on epsilon from how many memberships of canaries were guessed right."""

import bisect
import math

import numpy as np

from jaxcompress.core.checks import check_count, check_range, check_size
from jaxcompress.validate.intervals import check_confidence

_HALVINGS = 40
"""Of an interval of epsilon, down to 1e-11 of its length."""


def one_run_p_value(
    right: int, guesses: int, canaries: int, *, epsilon: float, delta: float = 0.0
) -> float:
    """Probability of so many right guesses, or more, under (epsilon, delta)-privacy.

        b = P[Binomial(guesses, 1 / (1 + exp(-epsilon))) >= right]
        p = b + 2 · canaries · delta · max_i (P[Binomial >= right - i] - b) / i

    with i from 1 to `right`. At most this probability, whatever the training does.

    Args:
      right: right guesses, at most `guesses`.
      guesses: guesses made, at most `canaries`; their number was fixed beforehand.
      canaries: number of fair coins, the canaries of which nothing was guessed too.
      epsilon: of the claim, at least 0.
      delta: of the claim, in [0, 1).

    Returns:
      The p-value, in [0, 1].

    Raises:
      ValueError: a count, epsilon or delta is out of range; more right than guesses, or
        more guesses than canaries.

    Example:
      >>> p_value = jc.validate.privacy.one_run_p_value
      >>> [round(p_value(95, 100, 1000, epsilon=e), 4) for e in (2.0, 2.17, 2.5)]
      [0.0161, 0.0493, 0.2214]

    Source: Steinke, Nasr and Jagielski 2023, arXiv:2305.08846, theorem 5.2 and
    appendix D.
    """
    right, guesses, canaries = _checked_counts("one_run_p_value", right, guesses, canaries)
    check_size("one_run_p_value", "epsilon", epsilon)
    check_range("one_run_p_value", "delta", delta, 0, 1)
    return p_value_at(right, guesses, canaries, float(epsilon), float(delta))


def one_run_bound(
    right: int,
    guesses: int,
    canaries: int,
    *,
    delta: float = 0.0,
    confidence: float = 0.95,
) -> float:
    """Lower bound on epsilon from the number of right guesses.

    Not for: a number of guesses chosen by looking at scores; `one_run_audit` corrects
    for it.

    The largest epsilon whose p-value is at most 1 - confidence, by bisection; 0 where
    there is none. It falls as delta grows, and is 0 where half of the guesses are
    right.

    Also known as: privacy auditing with one training run.

    Args:
      right: right guesses, at most `guesses`.
      guesses: guesses made, at most `canaries`. Their number must not depend on which
        were right; `one_run_audit` chooses it from scores, and corrects for that.
      canaries: number of canaries, each put in by a fair coin of its own.
      delta: of the claim, in [0, 1).
      confidence: of the bound, in (0, 1).

    Returns:
      The bound, at least 0.

    Raises:
      ValueError: an argument is out of range; or no number of right guesses among so
        many would give a bound. The message says how many guesses it takes.

    Example:
      >>> bound = jc.validate.privacy.one_run_bound
      >>> [round(bound(right, 100, 1000), 2) for right in (50, 95, 100)]
      [0.0, 2.17, 3.49]

    Source: Steinke, Nasr and Jagielski 2023, arXiv:2305.08846, appendix D. The relation
    is that of adding or removing one example, as in `epsilon`.
    """
    right, guesses, canaries = _checked_counts("one_run_bound", right, guesses, canaries)
    check_range("one_run_bound", "delta", delta, 0, 1)
    level = 1 - check_confidence("one_run_bound", confidence)
    check_enough("one_run_bound", guesses, canaries, float(delta), level)
    return bound_at(right, guesses, canaries, float(delta), level)


def p_value_at(right: int, guesses: int, canaries: int, epsilon: float, delta: float) -> float:
    """`one_run_p_value` of arguments that were checked."""
    from scipy import special

    chance = float(special.expit(epsilon))
    # bdtrc(k, n, p) is P[Binomial(n, p) > k], and 1 for k = -1.
    tail = float(special.bdtrc(right - 1, guesses, chance)) if right else 1.0
    if not delta or not right:
        return tail
    fewer = np.arange(1, right + 1)
    tails = np.append(special.bdtrc(right - fewer[:-1] - 1, guesses, chance), 1.0)
    steepest = np.max((tails - tail) / fewer)
    return min(1.0, tail + 2 * canaries * delta * float(steepest))


def bound_at(right: int, guesses: int, canaries: int, delta: float, level: float) -> float:
    """The largest epsilon with a p-value of at most `level`, or 0."""

    def refuted(epsilon: float) -> bool:
        return p_value_at(right, guesses, canaries, epsilon, delta) <= level

    if not refuted(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while refuted(high):
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low


def enough(guesses: int, canaries: int, delta: float, level: float) -> bool:
    """Whether guesses that are all right refute perfect privacy, epsilon 0."""
    return p_value_at(guesses, guesses, canaries, 0.0, delta) <= level


def check_enough(caller: str, guesses: int, canaries: int, delta: float, level: float) -> None:
    """Raises a ValueError that says how many guesses it takes, unless `enough`."""
    if enough(guesses, canaries, delta, level):
        return
    counts = range(1, canaries + 1)
    at = bisect.bisect_left(counts, True, key=lambda n: enough(n, canaries, delta, level))
    if at < canaries:
        mend = f"It takes at least {counts[at]} guesses."
    elif enough(canaries, canaries, 0.0, level):
        mend = f"Fewer canaries or a delta far below 1 / {canaries} would give one."
    else:
        mend = f"It takes at least {math.ceil(-math.log2(level))} guesses, and as many canaries."
    raise ValueError(
        f"{caller}(guesses={guesses}): too few for any bound at a level of {level:.2g} and"
        f" delta={delta:g}, even were all right. {mend}"
    )


def _checked_counts(caller: str, right: int, guesses: int, canaries: int) -> tuple[int, int, int]:
    right = check_count(caller, "right", right, least=0)
    guesses = check_count(caller, "guesses", guesses)
    canaries = check_count(caller, "canaries", canaries)
    if not right <= guesses <= canaries:
        raise ValueError(
            f"{caller}(right={right}, guesses={guesses}, canaries={canaries}) needs"
            " right <= guesses <= canaries."
        )
    return right, guesses, canaries
