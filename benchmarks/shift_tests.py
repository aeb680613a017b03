"""How often do the tests of shift alarm without a shift, and how often with one?

Each run draws a reference and a new set many times and counts p-values of at most 0.05.
Gaussian features without a shift give the errors of the first kind, with a moved mean,
a stretched or noisy feature and a correlation the power. The same on digits (shrunk to
7 × 7) against moved and noisy digits, and on white wines against white and red ones.
Eight groups of one accuracy, or one of them worse, show the same of `subgroups`.
"""

import gzip
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.runner import arguments, record
from jaxcompress.validate import Score, metrics, shift
from jaxcompress.validate.shift.stability import LARGE, MODERATE

LEVEL = 0.05
FEATURES = 8
Draw = Callable[[np.random.Generator, int, int], tuple[np.ndarray, np.ndarray]]
"""(generator, n, m) to a reference of n examples and m new ones."""


def alarms(reference: np.ndarray, new: np.ndarray, seed: int) -> dict[str, bool]:
    """Which tests find a difference at the level 0.05."""
    varying = (reference.min(axis=0) < reference.max(axis=0)).nonzero()[0]
    stability = shift.population_stability(
        reference[:, varying], new[:, varying], seed=seed, draws=1999
    )
    drift = shift.drift(reference, new, seed=seed)
    deviation = np.concatenate([reference, new]).std(axis=0)
    scale = np.where(deviation > 0, deviation, 1)
    linear = shift.linear_kernel_test(reference / scale, new / scale, seed=seed)
    return {
        "stability index": bool(stability.shifted.any()),
        "any index above 0.1": bool((stability.index > MODERATE).any()),
        "any index above 0.25": bool((stability.index > LARGE).any()),
        "Kolmogorov-Smirnov": bool(drift.features.shifted.any()),
        "kernel": drift.kernel.p <= LEVEL,
        "kernel, linear time": linear.p <= LEVEL,
        "classifier": drift.classifier.p <= LEVEL,
        "classifier, by AUC": drift.classifier.auc_p <= LEVEL,
        "all three (drift)": drift.shifted,
    }


def measured(draw: Draw, n: int, m: int, repeats: int, seed: int) -> dict[str, float]:
    """The share of draws in which each test alarms."""
    rng = np.random.default_rng(seed)
    found = [alarms(*draw(rng, n, m), repeat) for repeat in range(repeats)]
    return {name: float(np.mean([each[name] for each in found])) for name in found[0]}


def gaussian(change: Callable[[np.ndarray, np.random.Generator], Any]) -> Draw:
    """Standard normal features, of which the new examples are changed in place."""

    def draw(rng: np.random.Generator, n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
        reference, new = (rng.standard_normal((count, FEATURES)) for count in (n, m))
        change(new, rng)
        return reference, new

    return draw


def nothing(new: np.ndarray, rng: np.random.Generator) -> None:
    """No shift."""


def moved(new: np.ndarray, rng: np.random.Generator) -> None:
    """One mean, by half a standard deviation."""
    new[:, 0] += 0.5


def stretched(new: np.ndarray, rng: np.random.Generator) -> None:
    """One standard deviation, by half of it."""
    new[:, 0] *= 1.5


def noisy(new: np.ndarray, rng: np.random.Generator) -> None:
    """Noise of half a standard deviation on every feature."""
    new += 0.5 * rng.standard_normal(new.shape)


def correlated(new: np.ndarray, rng: np.random.Generator) -> None:
    """Two features that go together; each alone is as before."""
    new[:, 1] = 0.7 * new[:, 0] + np.sqrt(1 - 0.7**2) * new[:, 1]


GAUSSIAN = {
    "no shift": nothing,
    "one mean by 0.5": moved,
    "one deviation by 1.5": stretched,
    "noise of 0.5 on all": noisy,
    "a correlation of 0.7": correlated,
}


def from_rows(rows: np.ndarray, others: np.ndarray) -> Draw:
    """Disjoint random rows of one array, or of two where they differ."""

    def draw(rng: np.random.Generator, n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
        order = rng.permutation(len(rows))
        new = order[n : n + m] if others is rows else rng.permutation(len(others))[:m]
        return rows[order[:n]], others[new]

    return draw


def digits(folder: pathlib.Path) -> np.ndarray:
    """The first 20,000 images of MNIST's training set, (n, 28, 28) in [0, 1]."""
    raw = gzip.decompress((folder / "mnist" / "train-images-idx3-ubyte.gz").read_bytes())
    return np.frombuffer(raw, np.uint8, 20_000 * 784, 16).reshape(-1, 28, 28) / 255


def shrunk(images: np.ndarray) -> np.ndarray:
    """Means of 4 × 4 pixels, (n, 49)."""
    return images.reshape(-1, 7, 4, 7, 4).mean(axis=(2, 4)).reshape(-1, 49)


def of_digits(folder: pathlib.Path) -> dict[str, Draw]:
    """Digits against other digits, moved by one pixel, and with noise."""
    images, rng = digits(folder), np.random.default_rng(0)
    noise = 0.2 * rng.standard_normal(images.shape)
    plain = shrunk(images)
    return {
        "no shift": from_rows(plain, plain),
        "moved by a pixel": from_rows(plain, shrunk(np.roll(images, 1, axis=2))),
        "noise of 0.2": from_rows(plain, shrunk(np.clip(images + noise, 0, 1))),
    }


def of_wines(folder: pathlib.Path) -> dict[str, Draw]:
    """White wines against other white wines, and against red ones."""
    white, red = (
        np.loadtxt(folder / "tabular" / f"winequality-{colour}.csv", delimiter=",")[:, :-1]
        for colour in ("white", "red")
    )
    return {"no shift": from_rows(white, white), "red wines": from_rows(white, red)}


def of_groups(size: int, worst: float, repeats: int, seed: int) -> dict[str, float]:
    """Eight groups of accuracy 0.9, the last of which may be worse.

    Returns:
      Shares of draws in which any of the seven equal groups, or the last, is called
      different from the rest, and in which all intervals of accuracies hold them.
    """
    rng = np.random.default_rng(seed)
    accuracies = np.repeat([0.9, worst], [7, 1])
    groups = np.repeat(np.arange(8), size)
    metric = metrics.mean_of(lambda outputs, targets: outputs, "accuracy", higher_is_better=True)
    equal, last, covered = 0, 0, 0
    for _ in range(repeats):
        right = rng.random(groups.size) < accuracies[groups]
        found = shift.subgroups(Score(metric, right), groups, margin=0.05)
        names = {group.name for group in found.different}
        last += "7" in names
        equal += bool(names - {"7"})
        covered += all(
            group.interval[0] <= accuracy <= group.interval[1]
            for group, accuracy in zip(found.groups, accuracies, strict=True)
        )
    counts = {"any of seven": equal, "the last": last, "all intervals hold": covered}
    return {name: count / repeats for name, count in counts.items()}


def main() -> None:
    """Measures every case that is not in the record yet."""
    options = arguments("Counts the alarms of tests of shift, without a shift and with one.")
    options.add_argument("--repeats", type=int, default=1000)
    options = options.parse_args()
    cases = [("gaussian", name, gaussian(change), (200, 200)) for name, change in GAUSSIAN.items()]
    cases += [("gaussian", "no shift", gaussian(nothing), (60, 40))]
    if options.data:
        sets = {"digits": (of_digits, (400, 200)), "wines": (of_wines, (40, 40))}
        for data, (draws, sizes) in sets.items():
            cases += [(data, name, draw, sizes) for name, draw in draws(options.data).items()]
    for data, change, draw, (n, m) in cases:
        repeats = options.repeats if data == "gaussian" else options.repeats // 5
        settings = {"data": data, "shift": change, "n": n, "m": m, "repeats": repeats}
        run = record(
            "shift_tests",
            lambda: measured(draw, n, m, repeats, seed=0),  # noqa: B023 called at once
            settings=settings,
            seed=0,
            out=options.out,
        )
        print(data, change, run["figures"], f"{run['wall_seconds']} s", flush=True)
    for size, worst in ((100, 0.9), (100, 0.75)):
        settings = {"data": "groups", "size": size, "worst": worst, "repeats": options.repeats}
        run = record(
            "shift_tests",
            lambda: of_groups(size, worst, options.repeats, seed=0),  # noqa: B023 called at once
            settings=settings,
            seed=0,
            out=options.out,
        )
        print("groups", worst, run["figures"], f"{run['wall_seconds']} s", flush=True)


if __name__ == "__main__":
    main()
