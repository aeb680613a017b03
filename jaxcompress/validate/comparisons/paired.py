"""Tests of two models on the same examples: McNemar, sign flips, the paired bootstrap.

All ask of the differences example by example, so what makes an example hard for both
models cancels.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.core.checks import check_concrete, check_count
from jaxcompress.core.kinds import check_numeric, check_takes
from jaxcompress.core.types import PyTree
from jaxcompress.validate.intervals import check_confidence, finite_values

_NUMBERS = 1 << 21
"""Most numbers held at once while resampling: 16 MiB of float64."""
_ROUNDING = 1e-12
"""Sums of n terms in another order differ by less, as a share of the sum of sizes."""


def mcnemar(gained: int, lost: int) -> float:
    """Exact p-value of "gaining and losing are equally likely", two-sided.

    Not for: showing that two models are equally good, which `equivalence` does.

        p = min(1, 2 · P[X <= min(gained, lost)]),  X ~ Binomial(gained + lost, 1/2)

    Examples that both models answer alike say nothing and are not asked for. Never
    rejects too often; `mcnemar_mid_p` is less cautious.

    Also known as: exact McNemar test, sign test of discordant pairs.

    Args:
      gained: examples right in the candidate alone, at least 0.
      lost: examples right in the reference alone, at least 0.

    Returns:
      p in (0, 1]; 1 where no example differs.

    Raises:
      ValueError: a count is no count.

    Example:
      >>> jc.validate.comparisons.mcnemar(0, 4)
      0.125

    Source: McNemar 1947, Psychometrika 12, with the binomial tail for the normal one.
    """
    from scipy import stats

    gained, lost = _discordant("mcnemar", gained, lost)
    return float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def mcnemar_mid_p(gained: int, lost: int) -> float:
    """McNemar's p-value that counts the outcome itself by half.

    Not for: a level that must be kept for certain; take `mcnemar`.

        p = 2 · P[X < k] + P[X = k],  k = min(gained, lost)
        X ~ Binomial(gained + lost, 1/2)

    and 1 where gained equals lost. The exact test is cautious, since counts jump; this
    rejects more often and in practice rarely above its level, which is not promised.

    Also known as: McNemar mid-p test, quasi-exact McNemar test.

    Args:
      gained: examples right in the candidate alone, at least 0.
      lost: examples right in the reference alone, at least 0.

    Returns:
      p in (0, 1].

    Raises:
      ValueError: a count is no count.

    Example:
      >>> jc.validate.comparisons.mcnemar_mid_p(0, 4)
      0.0625

    Source: Fagerland, Lydersen and Laake 2013, BMC Med. Res. Methodol. 13:91.
    """
    from scipy import stats

    gained, lost = _discordant("mcnemar_mid_p", gained, lost)
    if gained == lost:
        return 1.0
    least, n = min(gained, lost), gained + lost
    return float(2 * stats.binom.cdf(least, n, 0.5) - stats.binom.pmf(least, n, 0.5))


def permutation_test(differences: ArrayLike, *, resamples: int = 9999, seed: int = 0) -> float:
    """p-value of "the differences are symmetric about 0", two-sided, by flipped signs.

    Not for: statistics that are no mean, such as F1; take `paired_bootstrap`.

        p = share of all 2^n sign patterns with |sum s_i d_i| >= |sum d_i|

    Exact where the m differences that are not 0 have 2^m <= resamples patterns; else
    from random patterns with the one observed among them, (1 + count) / (1 +
    resamples), so that the test keeps its level for any number of them.

    Also known as: paired permutation test, sign-flip test, Fisher's randomization test,
    approximate randomization test.

    Args:
      differences: (n,), real and finite, n at least 2: candidate minus reference,
        example by example, of any score or loss.
      resamples: most patterns that are looked at.
      seed: of the random patterns.

    Returns:
      p in (0, 1].

    Raises:
      ValueError: fewer than two differences, one that is not finite, a count that is
        none.

    Example:
      >>> jc.validate.comparisons.permutation_test([1.0, 1.0, 1.0, 1.0, 0.0])
      0.125

    Source: Fisher 1935, The Design of Experiments, section 21; the +1 is that of
    Phipson and Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9:39.
    """
    differences = finite_values("permutation_test", differences, "differences")
    resamples = check_count("permutation_test", "resamples", resamples)
    seed = check_count("permutation_test", "seed", seed, least=0)
    differences = differences[differences != 0]
    m = differences.size
    least = abs(differences.sum()) - _ROUNDING * np.abs(differences).sum()
    if 2**m <= resamples:
        patterns = 1 - 2 * ((np.arange(2**m)[:, None] >> np.arange(m)) & 1)
        return float(np.mean(np.abs(patterns @ differences) >= least))
    rng = np.random.default_rng(seed)
    count = 0
    for size in batches(resamples, m):
        flipped = rng.integers(0, 2, (size, m), dtype=np.int8)
        # sum s_i d_i, with the sign of flipped terms turned.
        sums = differences.sum() - 2 * (flipped @ differences)
        count += int(np.sum(np.abs(sums) >= least))
    return (1 + count) / (1 + resamples)


@dataclasses.dataclass(frozen=True)
class Difference:
    """A difference of two models, candidate minus reference, with its uncertainty.

    Args:
      difference: in the unit of what was compared.
      interval: (low, high).
      p: of "there is no difference", two-sided, in (0, 1].
      confidence: of the interval, in (0, 1).
    """

    difference: float
    interval: tuple[float, float]
    p: float
    confidence: float

    def to_json(self) -> dict[str, Any]:
        """All fields as plain numbers and lists."""
        return dataclasses.asdict(self) | {"interval": list(self.interval)}


def paired_bootstrap(
    statistic: Callable[[PyTree], float],
    reference: PyTree,
    candidate: PyTree,
    *,
    confidence: float = 0.95,
    resamples: int = 999,
    seed: int = 0,
) -> Difference:
    """Difference of any statistic of examples, with a percentile bootstrap interval.

    For what is no mean over examples: F1, balanced accuracy, average precision.
    Examples are drawn with replacement, the same ones for both models. Of means there
    are `bootstrap_interval` of the differences and `permutation_test`, which are
    faster.

        p = min(1, 2 · min(a, b))
        a = (1 + draws <= 0) / (1 + resamples),  b = (1 + draws >= 0) / (1 + resamples)

    Args:
      statistic: `statistic(examples) -> number`; called twice for each draw.
      reference: tree of arrays with first axis n, n at least 2, that `statistic` takes:
        for example (outputs, targets).
      candidate: the same of the other model, on the same examples in the same order.
      confidence: of the interval, in (0, 1).
      resamples: number of draws.
      seed: of the draws.

    Returns:
      The difference, statistic(candidate) - statistic(reference).

    Raises:
      ValueError: the trees hold other numbers of examples, or fewer than two; the
        statistic of a draw is not one finite number; an option is out of range.

    Example:
      >>> labels, before = np.array([0, 0, 1, 1] * 9), np.array([0, 0, 1, 1] * 9)
      >>> after = np.array([0, 1, 1, 1] * 9)
      >>> def recall_of_zeros(examples):
      ...     predictions, labels = examples
      ...     return np.mean(predictions[labels == 0] == 0)
      >>> result = jc.validate.comparisons.paired_bootstrap(
      ...     recall_of_zeros, (before, labels), (after, labels)
      ... )
      >>> result.difference, result.p
      (-0.5, 0.002)

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapters 13
    and 16; the p-value inverts the percentile interval.
    """
    caller = "paired_bootstrap"
    check_takes(caller, "statistic", statistic, 1, "It is statistic(examples) -> number.")
    n, others = (
        _examples(caller, argument, tree)
        for argument, tree in {"reference": reference, "candidate": candidate}.items()
    )
    if n != others:
        raise ValueError(
            f"{caller}(reference of {n} examples, candidate of {others}) needs the same in both."
        )
    confidence = check_confidence(caller, confidence)
    resamples = check_count(caller, "resamples", resamples)
    rng = np.random.default_rng(check_count(caller, "seed", seed, least=0))

    def difference(rows: np.ndarray) -> float:
        before, after = (
            statistic(jax.tree.map(lambda array: np.asarray(array)[rows], tree))
            for tree in (reference, candidate)
        )
        if np.shape(before) or np.shape(after) or not np.isfinite(found := float(after - before)):
            raise ValueError(
                f"{caller}(statistic=...) gives {before} and {after} for a draw of {n} examples;"
                " it must give one finite number for every draw, also one without some class."
            )
        return found

    observed = difference(np.arange(n))
    draws = np.array([difference(rng.integers(0, n, n)) for _ in range(resamples)])
    tails = [(1 + np.sum(draws <= 0)) / (1 + resamples), (1 + np.sum(draws >= 0)) / (1 + resamples)]
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Difference(
        observed, (float(low), float(high)), float(min(1.0, 2 * min(tails))), confidence
    )


def batches(count: int, width: int) -> list[int]:
    """Sizes that add up to `count` rows of `width` numbers, each held at once."""
    size = max(1, _NUMBERS // max(1, width))
    return [min(size, count - start) for start in range(0, count, size)]


def _discordant(caller: str, gained: int, lost: int) -> tuple[int, int]:
    return (
        check_count(caller, "gained", gained, least=0),
        check_count(caller, "lost", lost, least=0),
    )


def _examples(caller: str, argument: str, tree: PyTree) -> int:
    leaves = jax.tree.leaves(tree)
    for leaf in leaves:
        check_numeric(caller, argument, leaf)
    check_concrete(caller, "", **{argument: tree})
    counts = {np.shape(leaf)[:1] for leaf in leaves}
    if len(counts) != 1 or counts == {()} or counts == {(0,)} or counts == {(1,)}:
        raise ValueError(
            f"{caller}({argument}=...) needs arrays with one first axis, the examples', at least"
            " two of them."
        )
    return counts.pop()[0]
