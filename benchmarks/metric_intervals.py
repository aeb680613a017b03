"""Do the intervals of metrics cover as often as they say, and what do they cost?

    python -m benchmarks.metric_intervals

Coverage: many test sets of n examples from one law, and how often the interval of
confidence 0.95 has the figure of 400,000 other examples of that law inside, so that it
is known to about a twentieth of the narrowest interval. Cost: the interval of 10,000
examples, and the fingerprints of 10,000 images beside the evaluation of a small net.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.runner import arguments, record
from jaxcompress.validate import Score, compare_scores, evaluate, leakage, metrics
from jaxcompress.validate.metrics import Metric
from jaxcompress.validate.results import Evaluation

CLASSES, TIME = 3, 8
SIZES, TRIALS, POPULATION = (100, 400), 1000, 400_000
Law = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]


def classes(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits of three classes in shares of 0.5, 0.3 and 0.2, right for about 0.7."""
    labels = rng.choice(CLASSES, n, p=(0.5, 0.3, 0.2))
    logits = rng.standard_normal((n, CLASSES)) + 1.5 * np.eye(CLASSES)[labels]
    return logits.astype(np.float32), labels


def scores(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of two classes, three of ten positive, an AUC of about 0.86."""
    positive = rng.random(n) < 0.3
    return (rng.standard_normal(n) + 1.5 * positive).astype(np.float32), positive.astype(int)


def rare(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of two classes, one of ten positive."""
    positive = rng.random(n) < 0.1
    return (rng.standard_normal(n) + 1.5 * positive).astype(np.float32), positive.astype(int)


def tokens(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Sequences that differ in how hard they are."""
    labels = rng.integers(0, CLASSES, (n, TIME))
    ease = rng.exponential(1.5, (n, 1, 1))
    logits = rng.standard_normal((n, TIME, CLASSES)) + ease * np.eye(CLASSES)[labels]
    return logits.astype(np.float32), labels


def numbers(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Targets with normal errors."""
    targets = rng.standard_normal(n)
    outputs = targets + 0.7 * rng.standard_normal(n)
    return outputs.astype(np.float32), targets.astype(np.float32)


def calibrated(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose probabilities are right, so that the calibration error is 0."""
    labels = rng.choice(CLASSES, n, p=(0.5, 0.3, 0.2))
    evidence = 1.5 * np.eye(CLASSES)[labels] + rng.standard_normal((n, CLASSES))
    return (np.log([0.5, 0.3, 0.2]) + 1.5 * evidence).astype(np.float32), labels


def heavy(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Targets with errors of heavy tails, Student's of five degrees of freedom."""
    targets = rng.standard_normal(n)
    return (targets + 0.7 * rng.standard_t(5, n)).astype(np.float32), targets.astype(np.float32)


class Row(NamedTuple):
    """A metric and the law of the examples it is measured on."""

    metric: Metric
    law: Law

    @property
    def name(self) -> str:
        """The metric's, and the law's."""
        return f"{self.metric.name} of {self.law.__name__}"


ROWS = [
    Row(metrics.accuracy(), classes),
    Row(metrics.cross_entropy(), classes),
    Row(metrics.brier(), classes),
    Row(metrics.balanced_accuracy(), classes),
    Row(metrics.f1(), classes),
    Row(metrics.precision(), classes),
    Row(metrics.recall(), classes),
    Row(metrics.macro_f1(), classes),
    Row(metrics.matthews(), classes),
    Row(metrics.calibration_error(), classes),
    Row(metrics.calibration_error(), calibrated),
    Row(metrics.adaptive_calibration_error(), classes),
    Row(metrics.adaptive_calibration_error(), calibrated),
    Row(metrics.macro_roc_auc(), classes),
    Row(metrics.roc_auc(), scores),
    Row(metrics.average_precision(), scores),
    Row(metrics.roc_auc(), rare),
    Row(metrics.average_precision(), rare),
    Row(metrics.perplexity(), tokens),
    Row(metrics.mean_squared_error(), numbers),
    Row(metrics.root_mean_squared_error(), numbers),
    Row(metrics.r2(), numbers),
    Row(metrics.mean_squared_error(), heavy),
    Row(metrics.spearman(), numbers),
]
PAIRED = [Row(metrics.roc_auc(), scores), Row(metrics.mean_squared_error(), heavy)]


def score(row: Row, rng: np.random.Generator, n: int) -> Score:
    """The metric of n examples."""
    outputs, targets = row.law(rng, n)
    statistics = jax.jit(row.metric.per_example)(outputs, targets)
    return Score(row.metric, jax.tree.map(np.asarray, jax.device_get(statistics)))


def part(whole: Score, chosen: np.ndarray) -> Score:
    """The score of some of the examples."""
    return Score(whole.metric, jax.tree.map(lambda each: each[chosen], whole.statistics))


def coverage(row: Row, n: int, seed: int) -> dict[str, Any]:
    """How often the interval holds the figure of the population."""
    rng = np.random.default_rng(seed)
    truth = score(row, rng, POPULATION).value
    drawn = score(row, rng, n * TRIALS)
    ends = np.array(
        [
            part(drawn, np.arange(n * trial, n * (trial + 1))).interval(seed=trial)
            for trial in range(TRIALS)
        ]
    )
    inside = (ends[:, 0] <= truth) & (truth <= ends[:, 1])
    return {
        "population": truth,
        "coverage": inside.mean(),
        "above": np.mean(ends[:, 0] > truth),
        "below": np.mean(ends[:, 1] < truth),
        "mean_width": np.mean(ends[:, 1] - ends[:, 0]),
    }


def paired_coverage(row: Row, n: int, seed: int) -> dict[str, Any]:
    """The same of the difference that noise in the outputs makes, in pairs."""
    rng = np.random.default_rng(seed)

    def both(n: int) -> tuple[Score, Score]:
        outputs, targets = row.law(rng, n)
        noisy = outputs + 0.7 * rng.standard_normal(n).astype(np.float32)
        one, other = (
            jax.tree.map(np.asarray, row.metric.per_example(each, targets))
            for each in (outputs, noisy)
        )
        return Score(row.metric, one), Score(row.metric, other)

    def difference(pair: tuple[Score, Score]) -> float:
        return pair[1].value - pair[0].value

    truth, drawn = difference(both(POPULATION)), both(n * TRIALS)
    marks = leakage.fingerprints(np.arange(n))
    inside = []
    for trial in range(TRIALS):
        chosen = np.arange(n * trial, n * (trial + 1))
        name = row.metric.name
        one, other = (Evaluation({name: part(each, chosen)}, marks, marks) for each in drawn)
        low, high = compare_scores(one, other, name, seed=trial).interval
        inside.append(low <= truth <= high)
    return {"population": truth, "coverage": np.mean(inside)}


def cost(row: Row, n: int) -> dict[str, Any]:
    """Seconds of one interval, the least of three."""
    measured, times = score(row, np.random.default_rng(0), n), []
    for seed in range(3):
        start = time.perf_counter()
        measured.interval(seed=seed)
        times.append(time.perf_counter() - start)
    return {"seconds": min(times)}


def fingerprint_cost() -> dict[str, Any]:
    """Seconds of the digests of 10,000 images, beside an evaluation that has them made.

    The same with entries that are subnormal, which slow a processor's arithmetic down.
    """
    rng = np.random.default_rng(0)
    images, labels = rng.random((10_000, 784), np.float32), rng.integers(0, 10, 10_000)
    params = {
        "in": rng.standard_normal((784, 300)).astype(np.float32) / 28,
        "out": rng.standard_normal((300, 10)).astype(np.float32) / 17,
    }

    def net(params, x):
        return jnp.maximum(x @ params["in"], 0) @ params["out"]

    def least(function: Callable[[], Any]) -> float:
        times = []
        for _ in range(3):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
        return min(times)

    tiny = images * np.float32(1e-40)
    return {
        "fingerprints": least(lambda: leakage.fingerprints(images)),
        "fingerprints_of_subnormals": least(lambda: leakage.fingerprints(tiny)),
        "evaluate": least(lambda: evaluate(net, params, images, labels)),
    }


def main() -> None:
    """Measures what is not on record yet, and prints the table of coverage."""
    options = arguments(__doc__ or "").parse_args()

    def kept(measure: Callable[[], dict[str, Any]], **settings: Any) -> dict[str, Any]:
        run = record("metric_intervals", measure, settings=settings, seed=0, out=options.out)
        return run["figures"]

    kept(fingerprint_cost, question="cost", metric="fingerprints", n=10_000)
    for row in (*ROWS, Row(metrics.kendall(), numbers)):
        kept(lambda row=row: cost(row, 10_000), question="cost", metric=row.name, n=10_000)
    for n in SIZES:
        for row in ROWS:
            found = kept(
                lambda row=row, n=n: coverage(row, n, seed=0),
                question="coverage",
                metric=row.name,
                n=n,
                trials=TRIALS,
            )
            print(f"{row.name:48} n={n:4} {found['coverage']:.3f}")
        for row in PAIRED:
            found = kept(
                lambda row=row, n=n: paired_coverage(row, n, seed=0),
                question="coverage",
                metric=f"difference of {row.name}",
                n=n,
                trials=TRIALS,
            )
            print(f"{f'difference of {row.name}':48} n={n:4} {found['coverage']:.3f}")


if __name__ == "__main__":
    main()
