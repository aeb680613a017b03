"""Does the search for leaks find those that were planted, and no others?

    python -m benchmarks.planted_leaks

Images, tables and texts are rid of exact repeats and split; copies of training examples
are added to the test part as they are and changed, some test examples get the group or
the time of training ones, a feature the target, and calibration data test examples. The
rest of the test part is clean: all that is found there counts as a false alarm. Of
tables rows that equal an earlier one in all but one column are left out first, found by
comparing all; near copies in published images and texts are not, and count. What is in
the published parts is recorded beside it.
"""

import functools
import pathlib
import resource
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

import jaxcompress as jc
from benchmarks import leak_plants, runner
from benchmarks.leak_plants import Data
from jaxcompress.validate import leakage

NAMES = (*leak_plants.TABLES, "tinyshakespeare", "wikitext2", "cifar10", "mnist")
SEEDS = (0, 1, 2)
Figures = dict[str, Any]


def measured(measure: Callable[..., Figures], *arguments: Any) -> Figures:
    """The figures, and the processor's time and the memory that they took."""
    begin = time.process_time()
    figures = measure(*arguments)
    return figures | {
        "cpu_seconds": round(time.process_time() - begin, 1),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }


def planted(folder: pathlib.Path, name: str, seed: int) -> Figures:
    """Recall and false alarms of each kind in one set."""
    source, rng = leak_plants.data(folder, name), np.random.default_rng(seed)
    n = len(source.x)
    train_size, test_size = min(source.sizes[0], n // 2), min(source.sizes[1], n - n // 2)
    order = rng.permutation(n)
    train, clean = order[:train_size], order[train_size : train_size + test_size]
    each = min(200, test_size // 5)
    figures = _of_copies(source, train, clean, each, rng)
    if source.y is not None:
        figures["target"] = _of_target(source, train, rng)
    figures["calibration"] = _of_calibration(source, train, clean, each, rng)
    return {"train": train_size, "clean": test_size, "repeats left out": source.repeats} | figures


def _of_copies(source: Data, train: np.ndarray, clean: np.ndarray, each: int, rng: Any) -> Figures:
    """Exact and near copies, shared groups and late times, by one call."""
    chosen = {
        kind: rng.choice(len(train), each, replace=False) for kind in ("exact", *source.copies)
    }
    x_train = source.x[train]
    changed = {kind: copies(x_train[chosen[kind]], rng) for kind, copies in source.copies.items()}
    parts = [source.x[clean], x_train[chosen["exact"]], *changed.values()]
    x_test = np.concatenate(parts)
    groups, times = rng.integers(0, len(train), len(train)), rng.uniform(0, 1, len(train))
    sets = {
        "train": {"x": x_train, "group": groups, "time": times},
        "test": {
            "x": x_test,
            "group": len(train) + np.arange(len(x_test)),
            "time": rng.uniform(1, 2, len(x_test)),
        },
    }
    shared, late = (rng.choice(len(x_test), each, replace=False) for _ in range(2))
    sets["test"]["group"][shared] = rng.choice(groups, each)
    sets["test"]["time"][late] = rng.uniform(0, times.max(), each)
    checks = [
        leakage.exact(of=lambda e: e["x"]),
        source.near,
        leakage.groups(lambda e: e["group"]),
        leakage.times(lambda e: e["time"]),
    ]
    begin = time.perf_counter()
    report = leakage.check(sets, checks, pairs=leakage.between_sets)
    seconds = time.perf_counter() - begin
    found = {overlap.kind: overlap for overlap in report.overlaps}
    begins = range(len(clean), len(x_test), each)
    figures: Figures = {"seconds": round(seconds, 2)}
    sources = dict(zip(chosen, begins, strict=True))
    figures["exact"] = _copied(found["exact"], len(clean), {"exact": sources["exact"]}, chosen)
    figures["near"] = _copied(found["near"], len(clean), sources, chosen)
    for kind, rows in {"group": shared, "time": late}.items():
        named = found[kind].pairs[:, 1]
        figures[kind] = {
            "planted": each,
            "found": int(np.isin(rows, named).sum()),
            "clean": len(x_test) - each,
            "false alarms": int(len(named) - np.isin(named, rows).sum()),
        }
    return figures


def _copied(
    found: leakage.Overlap, clean: int, begins: Mapping[str, int], chosen: Mapping[str, np.ndarray]
) -> Figures:
    """How many copies were found, and how many beside the row they were made of."""
    beside = dict(found.pairs[:, ::-1].tolist())
    by_kind = {
        kind: {
            "planted": len(chosen[kind]),
            "found": sum(begin + i in beside for i in range(len(chosen[kind]))),
            "beside its source": sum(
                beside.get(begin + i) == row for i, row in enumerate(chosen[kind].tolist())
            ),
        }
        for kind, begin in ((kind, int(begin)) for kind, begin in begins.items())
    }
    false = [[int(i), int(j)] for i, j in found.pairs if j < clean]
    return {
        "planted": sum(each["planted"] for each in by_kind.values()),
        "found": sum(each["found"] for each in by_kind.values()),
        "clean": clean,
        "false alarms": len(false),
        "by copy": by_kind,
    }


def _of_target(source: Data, train: np.ndarray, rng: Any) -> Figures:
    """Features that tell the target, among the real ones of the training part."""
    y = source.y[train]  # type: ignore[index]
    x = source.x[train].reshape(len(train), -1).astype(np.float64)
    x = x[:, :: max(1, x.shape[1] // 784)]
    _, rank = np.unique(y, return_inverse=True)
    number = y if y.dtype.kind == "f" else rank.astype(float)
    features = {
        "real": x,
        "copy": number + 0.05 * number.std() * rng.normal(size=len(y)),
        "missing": np.where(number == number.max(), np.nan, rng.normal(size=len(y))),
        "word": np.array([f"code {each}" for each in y], object),
    }
    if y.dtype.kind == "f" or len(np.unique(y)) > 2:
        # That a value is missing tells one class from another, not numbers or many.
        features.pop("missing")
    begin = time.perf_counter()
    report = leakage.check(
        {"train": {"features": features, "y": y}},
        [leakage.features(lambda e: e["features"], lambda e: e["y"])],
    )
    names = {leak.name for leak in report.features}
    return {
        "planted": len(features) - 1,
        "found": len(names & set(features)),
        "clean": x.shape[1] + 1,
        "false alarms": len(names - set(features)),
        "seconds": round(time.perf_counter() - begin, 2),
    }


def _of_calibration(
    source: Data, train: np.ndarray, clean: np.ndarray, each: int, rng: Any
) -> Figures:
    """Test examples among the calibration data: of models by the comparison."""
    test, calibration = source.x[clean], source.x[train[:each]]
    with_test = np.concatenate([calibration, test[rng.choice(len(clean), each, replace=False)]])
    shared = _in_texts if source.y is None else _in_comparison
    return {
        "planted": each,
        "found": shared(test, with_test),
        "clean": each,
        "false alarms": shared(test, calibration),
    }


def _in_texts(test: np.ndarray, calibration: np.ndarray) -> int:
    sets = {"calibration": calibration, "test": test}
    return leakage.check(sets, [leakage.exact()], pairs=leakage.between_sets).overlaps[0].count


def _in_comparison(test: np.ndarray, calibration: np.ndarray) -> int:
    """As `compare` counts them, calibrated in batches of another dtype."""
    flat = test.reshape(len(test), -1).astype(np.float32)
    zeros = jnp.zeros((flat.shape[1], 2))
    evaluation = jc.validate.evaluate(
        lambda w, x: x @ w, zeros, flat, jnp.zeros(len(flat), jnp.int32)
    )
    inputs = calibration.reshape(len(calibration), -1).astype(np.float64)
    batches = leakage.Shared([jnp.asarray(part) for part in np.array_split(inputs, 4)])
    return jc.validate.compare(evaluation, evaluation, calibration=batches).calibrated_on or 0


def mirrors(folder: pathlib.Path, name: str, seed: int) -> Figures:
    """Mirrored copies of CIFAR-10's images, which are asked for."""
    source, rng = leak_plants.data(folder, name), np.random.default_rng(seed)
    order = rng.permutation(len(source.x))
    train, clean = source.x[order[:10_000]], source.x[order[10_000:11_000]]
    chosen = rng.choice(len(train), 200, replace=False)
    copies = leak_plants.noisy(leak_plants.mirrored(train[chosen], rng), rng)
    near = leakage.near_images(variants=leakage.flips(leakage.shifts(1)))
    report = leakage.check(
        {"train": train, "test": np.concatenate([clean, copies])},
        [near],
        pairs=leakage.between_sets,
    )
    return _copied(report.overlaps[0], len(clean), {"mirrored": len(clean)}, {"mirrored": chosen})


def as_published(folder: pathlib.Path, name: str, seed: int) -> Figures:
    """What is in the parts of a set as published."""
    sets: Mapping[str, Any]
    features: tuple[leakage.LeakingFeature, ...] = ()
    if name in leak_plants.TABLES:
        x, y = leak_plants.table(folder, name)
        halves = np.array_split(np.random.default_rng(seed).permutation(len(x)), 2)
        sets = {"first half": x[halves[0]], "second half": x[halves[1]]}
        near = leakage.near_rows()
        alone = leakage.features(lambda e: e[0], lambda e: e[1])
        features = leakage.check({name: (x, y)}, [alone]).features
    elif name in ("wikitext2", "tinyshakespeare"):
        sets, near = leak_plants.paragraphs(folder, name), leakage.near_texts()
    else:
        arrays = {"mnist": leak_plants.mnist, "cifar10": leak_plants.cifar}[name](folder)
        sets = {key[2:]: value for key, value in arrays.items() if key.startswith("x_")}
        near = leakage.near_images()
    between = name == "mnist"
    pairs = leakage.between_sets if between else leakage.every_pair
    begin = time.perf_counter()
    report = leakage.check(sets, [leakage.exact(), near], pairs=pairs)
    return {
        "sets": report.sets,
        "found": [
            {
                "kind": each.kind,
                "sets": [each.first, each.second],
                "count": each.count,
                "pairs": each.pairs[:20],
                "scores": each.scores[:20].round(4),
            }
            for each in report.overlaps
        ],
        "features": [each.to_json() for each in features],
        "seconds": round(time.perf_counter() - begin, 1),
    }


def summed(runs: list[Figures]) -> dict[str, Figures]:
    """Counts by kind over runs."""
    kinds = ("exact", "near", "group", "time", "target", "calibration")
    counts = ("planted", "found", "clean", "false alarms")
    return {
        kind: {count: sum(run[kind][count] for run in runs if kind in run) for count in counts}
        for kind in kinds
    }


def main() -> None:
    """Runs what is missing, then sums up."""
    parser = runner.arguments(__doc__ or "")
    parser.add_argument("--only", nargs="*", default=NAMES, help="which sets")
    options = parser.parse_args()

    def known(what: str, name: str, seed: int, measure: Callable[..., Figures]) -> Figures:
        settings = {"what": what, "data": name}
        run = functools.partial(measured, measure, options.data, name, seed)
        figures = runner.record("planted_leaks", run, settings=settings, seed=seed, out=options.out)
        print(what, name, seed, flush=True)
        return figures["figures"]

    runs = [known("planted", name, 0, planted) for name in options.only]
    published = [known("as published", name, 0, as_published) for name in options.only]
    if "cifar10" in options.only:
        print(known("mirrored", "cifar10", 0, mirrors))
    runs += [known("planted", name, seed, planted) for seed in SEEDS[1:] for name in options.only]
    for name, figures in zip(options.only, published, strict=True):
        print(name, {f"{each['kind']} {each['sets']}": each["count"] for each in figures["found"]})
    for kind, each in summed(runs).items():
        print(kind, each)


if __name__ == "__main__":
    main()
