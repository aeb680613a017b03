"""Tests that a candidate is not worse by a margin, or is the same within it.

The other way round than a test of a difference: what is claimed is that a difference of
`margin` is ruled out, and too few examples never show it.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.core.checks import check_count, check_inside, check_positive
from jaxcompress.validate.cards.findings import (
    FAILS,
    HOLDS,
    UNDECIDED,
    Figure,
    Finding,
    Result,
    examples_for,
)
from jaxcompress.validate.compare import verdict
from jaxcompress.validate.intervals import check_confidence, finite_values, paired_low

_FARTHEST = 12.0
"""Standard errors up to which a p-value is looked for: 2e-33."""


@dataclasses.dataclass(frozen=True)
class Equivalence(Result):
    """Whether a candidate is not worse, or the same, within a margin.

    Invariants:
      - Differences are candidate minus reference, higher is better.
      - `interval` has confidence 1 - 2 · (1 - confidence), so that each of its ends is
        passed wrongly in at most 1 - confidence of the cases.
      - `not_worse` is low > -margin, which is p_not_worse < 1 - confidence;
        `equivalent` is -margin < low and high < margin, which is p_equivalent <
        1 - confidence.

    Args:
      n: examples compared.
      difference: of the means, or of the accuracies.
      interval: (low, high).
      margin: difference that matters, above 0.
      confidence: of the claims, in (0.5, 1).
      p_not_worse: p-value of "worse by the margin or more".
      p_equivalent: p-value of "different by the margin or more".
      verdict: what may be said, in words.
    """

    n: int
    difference: float
    interval: tuple[float, float]
    margin: float
    confidence: float
    p_not_worse: float
    p_equivalent: float
    verdict: str

    @property
    def not_worse(self) -> bool:
        """Whether a loss of the margin or more is ruled out."""
        return self.interval[0] > -self.margin

    @property
    def equivalent(self) -> bool:
        """Whether a difference of the margin or more is ruled out, either way."""
        return self.not_worse and self.interval[1] < self.margin

    def finding(self) -> Finding:
        """For a card: whether a loss of the margin or more is ruled out."""
        low, high = self.interval
        outcome = HOLDS if self.not_worse else FAILS if high <= -self.margin else UNDECIDED
        needed = examples_for(self.n, self.difference, low, self.margin)
        more = (
            "More examples would not help: the loss seen is the margin or more."
            if needed is None
            else f"About {needed:,} examples, if the difference stays."
        )
        confidence = 2 * self.confidence - 1
        return Finding(
            "comparison with the original",
            f"On the same {self.n:,} examples: {self.verdict}. A loss of {self.margin:g} or more "
            "was to be ruled out.",
            (
                Figure("difference", self.difference, self.interval, confidence, "+.4g"),
                Figure("p of a loss of the margin", self.p_not_worse, format=".2g"),
            ),
            outcome,
            (more,) if outcome == UNDECIDED else (),
        )

    def to_json(self) -> dict[str, Any]:
        """All fields and both answers, as plain numbers, lists and words."""
        answers = {"not_worse": self.not_worse, "equivalent": self.equivalent}
        return dataclasses.asdict(self) | {"interval": list(self.interval)} | answers


def equivalence(
    gained: int, lost: int, n: int, *, margin: float = 0.01, confidence: float = 0.95
) -> Equivalence:
    """Whether an accuracy is not worse, or the same, within a margin: paired examples.

    Not for: scores that are not right or wrong; take `equivalence_of_means`.

    By two one-sided tests: the interval is `paired_interval` at confidence
    1 - 2 · (1 - confidence). Said wrongly, at a true difference of the margin, in at
    most 1 - confidence of the cases, whatever share of examples differ.

    Also known as: non-inferiority test, TOST of paired proportions, two one-sided
    tests.

    Args:
      gained: examples right in the candidate alone.
      lost: examples right in the reference alone.
      n: examples compared, at least 1 and at least gained + lost.
      margin: difference of accuracy that matters, in (0, 1); 0.01 is one point.
      confidence: of each claim, in (0.5, 1).

    Returns:
      Interval, p-values, both answers and a verdict in words. A p-value above one half
      is given as 1.

    Raises:
      ValueError: a count, the margin or the confidence is out of range.

    Example:
      >>> result = jc.validate.comparisons.equivalence(9, 11, 5000)
      >>> result.equivalent, result.verdict
      (True, 'the same within 1 point')
      >>> jc.validate.comparisons.equivalence(2, 3, 200).verdict
      'too few examples to tell'

    Source: Schuirmann 1987, J. Pharmacokinet. Biopharm. 15, with our exact interval for
    the score test of Tango 1998, Stat. Med. 17, whose errors at n = 100 to 1000 reach
    5.8 % where 5 % are promised (without a record). Ours, enumerated, stay below 5 %,
    and cost up to 0.12 of the power there, 0.02 where many examples differ.
    """
    from scipy import stats

    gained = check_count("equivalence", "gained", gained, least=0)
    lost = check_count("equivalence", "lost", lost, least=0)
    n = check_count("equivalence", "n", n)
    if gained + lost > n:
        raise ValueError(
            f"equivalence(gained={gained}, lost={lost}, n={n}) needs gained + lost <= n."
        )
    check_inside("equivalence", "margin", margin, 0, 1)
    confidence = check_claim("equivalence", confidence)

    def low(z: float, gained: int, lost: int) -> float:
        return float(paired_low(np.array([gained]), np.array([lost]), n, z)[0])

    z = float(stats.norm.ppf(confidence))
    # The gains of the candidate are the losses of the reference.
    interval = low(z, gained, lost), -low(z, lost, gained)
    p_not_worse = _tail(lambda z: margin + low(z, gained, lost))
    p_not_better = _tail(lambda z: margin + low(z, lost, gained))
    return Equivalence(
        n=n,
        difference=(gained - lost) / n,
        interval=interval,
        margin=float(margin),
        confidence=confidence,
        p_not_worse=p_not_worse,
        p_equivalent=max(p_not_worse, p_not_better),
        verdict=verdict(*interval, margin=margin),
    )


def equivalence_of_means(
    differences: ArrayLike, *, margin: float, confidence: float = 0.95
) -> Equivalence:
    """Whether a mean is not worse, or the same, within a margin: two one-sided t tests.

    Not for: right and wrong answers, of which few differ; take `equivalence`.

    For any score per example. Exact for normal differences, close for the mean of many:
    of losses with a few huge values it is not, and more examples are the mend. Equal
    differences have no spread, and are taken for all that there are: where examples are
    right or wrong, of which few differ, take `equivalence`.

        t = (mean + margin) / (s / sqrt(n)),  and (margin - mean) / (s / sqrt(n))

    Also known as: TOST, paired t non-inferiority test.

    Args:
      differences: (n,), real and finite, n at least 2: candidate minus reference,
        higher is better. Of losses pass reference minus candidate.
      margin: difference of the mean that matters, above 0, in the scores' unit.
      confidence: of each claim, in (0.5, 1).

    Returns:
      Interval, p-values, both answers and a verdict in words.

    Raises:
      ValueError: fewer than two differences, one that is not finite, a margin or
        confidence out of range.

    Example:
      >>> noise = np.random.default_rng(0).normal(0, 0.1, 400)
      >>> jc.validate.comparisons.equivalence_of_means(noise, margin=0.05).verdict
      'the same within 0.05'

    Source: Schuirmann 1987, J. Pharmacokinet. Biopharm. 15.
    """
    from scipy import stats

    differences = finite_values("equivalence_of_means", differences, "differences")
    check_positive("equivalence_of_means", "margin", margin)
    confidence = check_claim("equivalence_of_means", confidence)
    n, mean = differences.size, float(differences.mean())
    # Of equal differences rounding would leave a little.
    spread = float(differences.std(ddof=1)) if np.ptp(differences) else 0.0
    error = spread / math.sqrt(n)
    half = float(stats.t.ppf(confidence, n - 1)) * error

    def tail(distance: float) -> float:
        # Equal differences have no spread: what they say is certain, of these examples.
        return float(stats.t.sf(distance / error, n - 1)) if error else float(distance <= 0)

    interval = (mean - half, mean + half)
    return Equivalence(
        n=n,
        difference=mean,
        interval=interval,
        margin=float(margin),
        confidence=confidence,
        p_not_worse=tail(mean + margin),
        p_equivalent=max(tail(mean + margin), tail(margin - mean)),
        verdict=_words(*interval, float(margin)),
    )


def check_claim(caller: str, confidence: float) -> float:
    """The confidence as a Python number; a ValueError unless it is in (0.5, 1)."""
    check_inside(caller, "confidence", confidence, 0.5, 1)
    return check_confidence(caller, confidence)


def _tail(distance: Callable[[float], float]) -> float:
    """The p-value at which a limit, so far from the margin, just reaches it."""
    from scipy import optimize, stats

    if distance(0.0) <= 0:
        return 1.0
    if distance(_FARTHEST) > 0:
        return float(stats.norm.sf(_FARTHEST))
    return float(stats.norm.sf(optimize.brentq(distance, 0.0, _FARTHEST, xtol=1e-10)))


def _words(low: float, high: float, margin: float) -> str:
    """As `verdict`, in the unit of the scores."""
    if -margin < low and high < margin:
        return f"the same within {margin:g}"
    if high <= -margin:
        return f"worse by {-high:.3g} to {-low:.3g}"
    if low >= margin:
        return f"better by {low:.3g} to {high:.3g}"
    if low > -margin:
        return f"no loss of {margin:g} or more"
    return f"too few examples to rule out a loss of {margin:g}"
