"""Lower bounds on epsilon from one training run with many canaries.

Each canary is put into the training data by a coin of its own. Whoever guesses more of
the coins from the trained model than (epsilon, delta) allows has refuted that claim.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.core.checks import check_count, check_range
from jaxcompress.core.messages import shown
from jaxcompress.validate.cards.findings import Finding, Result
from jaxcompress.validate.intervals import check_confidence
from jaxcompress.validate.privacy.findings import of_bound
from jaxcompress.validate.privacy.guesses import bound_at, check_enough, enough
from jaxcompress.validate.privacy.scores import checked_members, checked_scores, places

_SHARES = (0.02, 0.05, 0.1, 0.25, 0.5)
"""Shares of the canaries that are guessed, where the caller does not choose."""
_UNFAIR = 1e-6
"""Fair coins give so many or so few members less often than this."""

Guesses = Sequence[tuple[int, int]]
"""Numbers of canaries guessed to be members and non-members: (highest, lowest)."""


@dataclasses.dataclass(frozen=True)
class OneRunAudit(Result):
    """A lower bound on epsilon, and the guesses that it comes from.

    Invariants:
      - `epsilon` is 0 where nothing was refuted; 0 never means that a model is private.
      - right <= as_members + as_nonmembers <= canaries.

    Args:
      epsilon: the bound: training was not (e, delta)-private for any e below it, at
        this confidence.
      delta: in [0, 1).
      confidence: of the bound, after the correction for `tried`.
      canaries: number of coins.
      as_members: canaries of the highest scores, guessed to be in.
      as_nonmembers: canaries of the lowest scores, guessed to be out.
      right: guesses that were right.
      tried: pairs of numbers of guesses among which these were chosen.
    """

    epsilon: float
    delta: float
    confidence: float
    canaries: int
    as_members: int
    as_nonmembers: int
    right: int
    tried: int

    def finding(self) -> Finding:
        """For a card: the bound, which speaks against a claim and never for one."""
        guesses = self.as_members + self.as_nonmembers
        how = f"{self.right} of {guesses} guesses of {self.canaries} coins that were right"
        return of_bound(self.epsilon, self.delta, self.confidence, how)

    def to_json(self) -> dict[str, Any]:
        """All fields as plain numbers."""
        return dataclasses.asdict(self)


def one_run_audit(
    scores: ArrayLike,
    members: ArrayLike,
    *,
    delta: float = 0.0,
    confidence: float = 0.95,
    guesses: Guesses | None = None,
    seed: int = 0,
) -> OneRunAudit:
    """Lower bound on epsilon from the scores of canaries and which of them were in.

    The canaries of the highest scores are guessed to be members, those of the lowest to
    be none, and nothing is guessed between. Several numbers of guesses are tried, each
    at confidence 1 - (1 - confidence) / tried (Bonferroni), and the best bound is
    given. To spend nothing on the choice, choose the numbers on one half of the
    canaries and pass them, as one pair, with the other half.

    Args:
      scores: (m,), higher means member: of a model trained on the members, minus its
        loss on each canary, or any score of `validate.membership`.
      members: (m,) bool, which canaries were in the training data. Each must have been
        drawn by a fair coin of its own.
      delta: of the claim, in [0, 1).
      confidence: of the bound, in (0, 1).
      guesses: pairs (highest, lowest) of numbers of guesses, chosen without a look at
        the members. By default 2, 5, 10, 25 and 50 % of the canaries, from the top
        alone and from both ends, those that are enough for a bound.
      seed: of the order among equal scores.

    Returns:
      The bound and its guesses.

    Raises:
      ValueError: scores that are not finite, or no membership for each; canaries all
        in, all out, or in such numbers as fair coins do not give; too few guesses for
        any bound; a wrong delta, confidence or seed.

    Example:
      >>> rng = np.random.default_rng(0)
      >>> members = rng.random(500) < 0.5
      >>> scores = rng.normal(size=500) + 2 * members
      >>> audit = jc.validate.privacy.one_run_audit(scores, members, delta=1e-5)
      >>> round(audit.epsilon, 2), audit.right, audit.as_members + audit.as_nonmembers
      (2.76, 124, 125)

    Source: Steinke, Nasr and Jagielski 2023, arXiv:2305.08846, algorithm 1. Differs:
    the paper reports the best of several numbers of guesses without a correction.
    """
    name = "one_run_audit"
    scores = checked_scores(name, "scores", scores)
    members = checked_members(name, members, scores.size)
    check_range(name, "delta", delta, 0, 1)
    level = 1 - check_confidence(name, confidence)
    seed = check_count(name, "seed", seed, least=0)
    _check_fair(name, members)
    pairs = _pairs(name, guesses, scores.size, float(delta), level)
    known = members[places(scores, seed)]
    audits = [
        _audit(known, pair, delta=float(delta), level=level, tried=len(pairs)) for pair in pairs
    ]
    return max(audits, key=lambda audit: audit.epsilon)


def _audit(
    known: np.ndarray, pair: tuple[int, int], *, delta: float, level: float, tried: int
) -> OneRunAudit:
    """The bound of one pair; `known`: the memberships from the highest score down."""
    high, low = pair
    right = int(known[:high].sum() + (~known[known.size - low :]).sum())
    return OneRunAudit(
        epsilon=bound_at(right, high + low, known.size, delta, level / tried),
        delta=delta,
        confidence=1 - level,
        canaries=known.size,
        as_members=high,
        as_nonmembers=low,
        right=right,
        tried=tried,
    )


def _check_fair(caller: str, members: np.ndarray) -> None:
    from scipy import stats

    count = int(members.sum())
    if stats.binomtest(count, members.size).pvalue < _UNFAIR:
        raise ValueError(
            f"{caller}(members): {count} of {members.size} are in, which fair coins do not give."
            " Put each canary in by a fair coin of its own."
        )


def _pairs(
    caller: str, guesses: Guesses | None, canaries: int, delta: float, level: float
) -> list[tuple[int, int]]:
    """The pairs to try, each enough for a bound."""
    if guesses is None:
        numbers = [round(share * canaries) for share in _SHARES]
        pairs = [pair for n in numbers for pair in ((n, 0), (n - n // 2, n // 2))]
        corrected = level / len(pairs)
        check_enough(caller, sum(pairs[-1]), canaries, delta, corrected)
        return [pair for pair in pairs if enough(sum(pair), canaries, delta, corrected)]
    if not isinstance(guesses, list | tuple) or not guesses:
        raise TypeError(
            f"{caller}(guesses={shown(guesses)}) must be a list of pairs (highest, lowest)."
        )
    for pair in guesses:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(f"{caller}(guesses) holds {shown(pair)}, no pair (highest, lowest).")
        high, low = (check_count(caller, "guesses", each, least=0) for each in pair)
        if high + low > canaries:
            raise ValueError(f"{caller}(guesses) holds {pair}, more than {canaries} canaries.")
        check_enough(caller, high + low, canaries, delta, level / len(guesses))
    return [(int(high), int(low)) for high, low in guesses]
