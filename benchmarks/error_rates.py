"""Do the tests and intervals of `validate` keep the error rates that they promise?

    python -m benchmarks.error_rates [--draws 2000]

Data are drawn from models whose truth is known, over and over. Of equivalence it is
counted how often a difference of the margin is called "not worse" or "the same", of
intervals how often they hold the truth, of tests how often they reject what is true.
What depends on counts alone is summed over all outcomes instead of drawn.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats

import jaxcompress as jc
from benchmarks import runner
from jaxcompress.validate.intervals import paired_low

comparisons = jc.validate.comparisons
LEVEL = 0.05
Draw = Callable[[np.random.Generator, int], np.ndarray]


def losses(rng: np.random.Generator, n: int) -> np.ndarray:
    """Cross-entropies of a classifier that is right nine times in ten: most near 0."""
    margins = rng.normal(4.0, 3.0, n)
    return np.logaddexp(0.0, -margins)


def loss_differences(rng: np.random.Generator, n: int) -> np.ndarray:
    """Of that classifier with logits that compression has blurred, minus without."""
    margins = rng.normal(4.0, 3.0, n)
    return np.logaddexp(0.0, -margins - rng.normal(0.0, 0.5, n)) - np.logaddexp(0.0, -margins)


def accuracy_differences(rng: np.random.Generator, n: int) -> np.ndarray:
    """Gains and losses, 5 % each of the examples."""
    return rng.choice([-1.0, 0.0, 1.0], n, p=[0.05, 0.9, 0.05])


DISTRIBUTIONS: dict[str, Draw] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "exponential": lambda rng, n: rng.exponential(size=n),
    "Student's t, 5 degrees": lambda rng, n: rng.standard_t(5, n),
    "losses": losses,
    "loss differences": loss_differences,
    "accuracy differences": accuracy_differences,
}


@functools.cache
def mean_of(name: str) -> float:
    """The mean of a distribution, from four million draws where it is not plain."""
    known = {"exponential": 1.0, "losses": None, "loss differences": None}
    mean = known.get(name, 0.0)
    if mean is not None:
        return mean
    rng = np.random.default_rng(99)
    return float(np.mean([DISTRIBUTIONS[name](rng, 1_000_000).mean() for _ in range(4)]))


def equivalence(rng, draws: int, *, n: int, margin: float, discordance: float) -> dict[str, float]:
    """Claims at a true loss of the margin, at a true gain, and at no difference."""
    z = float(stats.norm.ppf(1 - LEVEL))

    def claims(difference: float) -> tuple[float, float]:
        shares = [(discordance + difference) / 2, (discordance - difference) / 2]
        counts = rng.multinomial(n, [*shares, 1 - discordance], draws)[:, :2]
        outcomes, repeats = np.unique(counts, axis=0, return_counts=True)
        gained, lost = outcomes.T
        not_worse = paired_low(gained, lost, n, z) > -margin
        not_better = paired_low(lost, gained, n, z) > -margin
        return (
            float(repeats[not_worse].sum() / draws),
            float(repeats[not_worse & not_better].sum() / draws),
        )

    worse, equal = claims(-margin), claims(0.0)
    return {
        "false_not_worse": worse[0],
        "false_equivalent": max(worse[1], claims(margin)[1]),
        "power_not_worse": equal[0],
        "power_equivalent": equal[1],
    }


def wilson(rng, draws: int, *, n: int, accuracy: float) -> dict[str, float]:
    """Coverage, summed over every number of right answers."""
    del rng, draws
    ends = np.array([jc.validate.wilson(k, n) for k in range(n + 1)])
    return {"coverage": covered(stats.binom.pmf(np.arange(n + 1), n, accuracy), ends, accuracy)}


def paired(rng, draws: int, *, n: int, share: float, balance: float) -> dict[str, float]:
    """Coverage of the interval of an accuracy difference."""
    gain, loss = share * (1 + balance) / 2, share * (1 - balance) / 2
    counts = rng.multinomial(n, [gain, loss, 1 - share], draws)[:, :2]
    outcomes, repeats = np.unique(counts, axis=0, return_counts=True)
    z = float(stats.norm.ppf(1 - LEVEL / 2))
    gained, lost = outcomes.T
    ends = np.stack([paired_low(gained, lost, n, z), -paired_low(lost, gained, n, z)], axis=1)
    return {"coverage": covered(repeats / draws, ends, share * balance)}


def mean(rng, draws: int, *, n: int, distribution: str) -> dict[str, float]:
    """Coverage of Student's interval of the mean, and of the one for skewed values."""
    samples = [DISTRIBUTIONS[distribution](rng, n) for _ in range(draws)]
    each, truth = np.full(draws, 1 / draws), mean_of(distribution)
    return {
        name: covered(each, np.array([interval(sample) for sample in samples]), truth)
        for name, interval in {
            "coverage": jc.validate.mean_interval,
            "coverage_of_skewed_mean_interval": jc.validate.skewed_mean_interval,
        }.items()
    }


def bootstrap(rng, draws: int, *, n: int, distribution: str) -> dict[str, float]:
    """Coverage of the bootstrap interval of the mean, of 999 resamples."""
    draw = DISTRIBUTIONS[distribution]
    ends = [
        jc.validate.bootstrap_interval(draw(rng, n), seed=seed, resamples=999)
        for seed in range(draws)
    ]
    return {"coverage": covered(np.full(draws, 1 / draws), np.array(ends), mean_of(distribution))}


def auc(rng, draws: int, *, n: int, auc: float, positives: float) -> dict[str, float]:
    """Coverage of one AUC and of the difference of two, and errors of DeLong's test."""
    shift = math.sqrt(2) * stats.norm.ppf(auc)
    positive = np.arange(n) < round(positives * n)
    one, two, rejected = [], [], 0
    for _ in range(draws):
        common = rng.normal(size=n) * math.sqrt(0.8)
        scores = common + rng.normal(size=(2, n)) * math.sqrt(0.2) + shift * positive
        one.append(comparisons.auc_interval(scores[0], positive))
        difference = comparisons.compare_auc(scores[0], scores[1], positive).difference
        two.append(difference.interval)
        rejected += difference.p < LEVEL
    each = np.full(draws, 1 / draws)
    return {
        "coverage": covered(each, np.array(one), auc),
        "coverage_of_difference": covered(each, np.array(two), 0.0),
        "false_rejections": rejected / draws,
    }


def mcnemar(rng, draws: int, *, n: int, discordance: float) -> dict[str, float]:
    """False rejections of both forms, summed over every outcome."""
    del rng, draws
    exact = mid = 0.0
    for differing, chance in enumerate(stats.binom.pmf(np.arange(n + 1), n, discordance)):
        if chance > 1e-9:
            gained = np.arange(differing + 1)
            within = stats.binom.pmf(gained, differing, 0.5)
            pairs = [(int(g), differing - int(g)) for g in gained]
            exact += chance * within[[comparisons.mcnemar(*each) < LEVEL for each in pairs]].sum()
            mid += (
                chance * within[[comparisons.mcnemar_mid_p(*each) < LEVEL for each in pairs]].sum()
            )
    return {"false_rejections": float(exact), "false_rejections_mid_p": float(mid)}


def permutation(rng, draws: int, *, n: int, distribution: str) -> dict[str, float]:
    """False rejections by flipped signs, of 999 patterns."""
    draw = DISTRIBUTIONS[distribution]
    rejected = sum(
        comparisons.permutation_test(draw(rng, n), resamples=999, seed=seed) < LEVEL
        for seed in range(draws)
    )
    return {"false_rejections": rejected / draws}


def many(rng, draws: int, *, n: int, candidates: int, correlation: float) -> dict[str, float]:
    """Any false rejection by max-T and by Holm, and simultaneous coverage."""
    by_max_t = by_holm = holds = 0
    for seed in range(draws):
        common = rng.normal(size=n) * math.sqrt(correlation)
        own = rng.normal(size=(candidates, n)) * math.sqrt(1 - correlation)
        differences = common + own
        by_max_t += comparisons.max_t(differences, resamples=499, seed=seed).min() < LEVEL
        t = differences.mean(axis=1) / differences.std(axis=1, ddof=1) * math.sqrt(n)
        by_holm += comparisons.holm(2 * stats.t.sf(np.abs(t), n - 1)).min() < LEVEL
        ends = comparisons.simultaneous_intervals(differences, resamples=499, seed=seed)
        holds += np.all((ends[:, 0] <= 0) & (ends[:, 1] >= 0))
    return {
        "false_rejections": by_max_t / draws,
        "false_rejections_of_holm": by_holm / draws,
        "simultaneous_coverage": float(holds / draws),
    }


def folds(rng, draws: int, *, n: int, count: int) -> dict[str, float]:
    """Coverage of the expected squared error of least squares, from its folds.

    Of 5 normal features and noise of variance 1 a fit to m examples has an expected
    squared error of 1 + 5 / (m - 6).
    """
    features, held = 5, n // count
    truth = 1 + features / (n - held - features - 1)
    parts = np.arange(count * held).reshape(count, held)
    corrected, plain = [], []
    for _ in range(draws):
        x, noise = rng.normal(size=(n, features)), rng.normal(size=n)
        scores = []
        for test in parts:
            train = np.setdiff1d(np.arange(n), test, assume_unique=True)
            weights = np.linalg.lstsq(x[train], noise[train], rcond=None)[0]
            scores.append(np.mean((noise[test] - x[test] @ weights) ** 2))
        ratio = held / (n - held)
        corrected.append(jc.validate.cross_validation.corrected_interval(scores, ratio))
        plain.append(jc.validate.mean_interval(scores))
    each = np.full(draws, 1 / draws)
    return {
        "coverage": covered(each, np.array(corrected), truth),
        "coverage_of_plain_t": covered(each, np.array(plain), truth),
    }


def covered(weights: np.ndarray, ends: np.ndarray, truth: float) -> float:
    """The share of outcomes, by their weights, whose interval holds the truth."""
    # Ends that equal the truth but for rounding hold it.
    inside = (ends[:, 0] <= truth + 1e-12) & (truth - 1e-12 <= ends[:, 1])
    return float(weights[inside].sum())


SIZES = (100, 300, 1000)
GRID: dict[str, tuple[Callable[..., dict[str, float]], float, list[dict[str, Any]]]] = {
    "equivalence": (
        equivalence,
        10.0,
        [
            {"n": n, "margin": margin, "discordance": round(times * margin, 4)}
            for n in (50, *SIZES, 3000)
            for margin in (0.01, 0.02, 0.05)
            for times in (1.2, 2, 5)
        ],
    ),
    "wilson": (
        wilson,
        1.0,
        [{"n": n, "accuracy": a} for n in SIZES for a in (0.5, 0.8, 0.9, 0.95, 0.98, 0.99)],
    ),
    "paired_interval": (
        paired,
        10.0,
        [
            {"n": n, "share": share, "balance": balance}
            for n in SIZES
            for share in (0.01, 0.05, 0.2)
            for balance in (0.0, -0.5)
        ],
    ),
    "mean_interval": (
        mean,
        1.0,
        [{"n": n, "distribution": name} for n in SIZES for name in DISTRIBUTIONS],
    ),
    "bootstrap_interval": (
        bootstrap,
        0.5,
        [{"n": n, "distribution": name} for n in SIZES for name in DISTRIBUTIONS],
    ),
    "auc": (
        auc,
        0.5,
        [
            {"n": n, "auc": value, "positives": positives}
            for n in SIZES
            for value in (0.7, 0.9, 0.97)
            for positives in (0.5, 0.1)
        ],
    ),
    "corrected_interval": (
        folds,
        0.5,
        [{"n": n, "count": count} for n in SIZES for count in (5, 10)],
    ),
    "mcnemar": (
        mcnemar,
        1.0,
        [{"n": n, "discordance": share} for n in (50, 100, 300) for share in (0.05, 0.2, 0.5)],
    ),
    "permutation_test": (
        permutation,
        0.5,
        [
            {"n": n, "distribution": name}
            for n in (20, 100)
            for name in ("normal", "Student's t, 5 degrees", "accuracy differences")
        ],
    ),
    "many": (
        many,
        0.5,
        [
            {"n": 100, "candidates": candidates, "correlation": correlation}
            for candidates in (5, 20)
            for correlation in (0.0, 0.5, 0.9)
        ],
    ),
}
"""By part: what is measured, draws as a share of the option, and the settings."""


def main() -> None:
    """Measures every cell once and prints the worst of each part."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--draws", type=int, default=2000, help="data sets of a cell")
    options = parser.parse_args()
    for part, (measure, share, cells) in GRID.items():
        draws = round(share * options.draws)
        found = []
        for cell in cells:
            run = runner.record(
                "error_rates",
                lambda measure=measure, cell=cell, draws=draws: measure(
                    np.random.default_rng(0), draws, **cell
                ),
                settings={"part": part, "draws": draws, "level": LEVEL, **cell},
                seed=0,
                out=options.out,
            )
            found.append(run["figures"])
        for figure in found[0]:
            values = [each[figure] for each in found]
            print(f"{part}, {figure}: {min(values):.4f} to {max(values):.4f}", flush=True)


if __name__ == "__main__":
    main()
