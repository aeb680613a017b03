"""What codes for several weights at once cost LeNet-300-100, beside codes for each.

    python -m benchmarks.shared_vectors [--data DIR] [--seeds 0 1]

The two large matrices of a dense net on MNIST get codebooks of values (scalar k-means)
or of vectors (product quantization), the third 8 bits; biases stay. Codebooks are found
on the weights alone, then with errors weighted by the mean square of the input that a
weight meets; both are trained on, with codes and biases as they are. Bytes are those
of a whole file by the smallest coders. The test images are opened once for each seed;
nothing was chosen on them.
"""

import argparse
import functools
from typing import Any

import jax
import jax.numpy as jnp

import jaxcompress as jc
from benchmarks import lenets, runner
from benchmarks.sparsity_lenet import Run, adamw, dense, prepared, trained
from jaxcompress.core.types import Array, Key, Params

NET, TUNING, LEVEL_RATE, CALIBRATION = "LeNet-300-100", 3, 3e-4, 5_000
sharing = jc.quantize.sharing
codebook = functools.partial(jc.quantize.formats.codebook, per="tensor")
vectors = functools.partial(sharing.Vectors, stored="float16")
FORMS: dict[str, jc.QuantSpec | sharing.Vectors] = {
    "8 values": codebook(3),
    "64 vectors of 2": vectors(2, 64),
    "4 values": codebook(2),
    "16 vectors of 2": vectors(2, 16),
    "256 vectors of 4": vectors(4, 256),
    "64 vectors of 4": vectors(4, 64),
    "16 vectors of 4": vectors(4, 16),
}
"""From 3 bits for each weight to 1."""

LARGE = jc.matching("dense[12]/0")


def shared(params: Params, form: Any, importance: Params, run: Run) -> Params:
    """The params with one form of codebooks, and the last matrix in 8 bits."""
    chosen = {"axes": run.axes, "select": LARGE}
    if isinstance(form, sharing.Vectors):
        key = jax.random.key(run.seed)
        small, _ = sharing.product(params, form, key, importance=importance, **chosen)
    else:
        small, _ = sharing.share(params, form, importance, **chosen)
    last = jc.matching("dense3/0")
    return jc.quantize.quantize(small, jc.quantize.int8(), axes=run.axes, select=last)[0]


def energies(run: Run, params: Params) -> Params:
    """The mean square of the input of each weight, in the place of the weight."""
    images = run.parts.train.images[:CALIBRATION]
    observer = jc.observers.second_moment()
    readings = jc.graph.calibrate(run.net.fn, params, [images], observer)
    found = {name: reading.value[:, None] for name, reading in readings.items()}
    named = {name: found.get(name, leaf) for name, leaf in jc.named_leaves(params).items()}
    return jax.tree.unflatten(jax.tree.structure(params), named.values())


def tuned(run: Run, start: Params) -> Params:
    """The params whose codebooks are trained, and nothing else."""
    technique = sharing.centroids()

    def objective(levels: dict, x: Array, labels: Array, key: Key) -> Array:
        del key
        logits = jc.materialized(run.net.fn)(technique.view(start, levels), x)
        return jc.distill.outputs.hard_targets(logits, labels).mean()

    optimizer = adamw(LEVEL_RATE, run.steps(TUNING))
    levels, _ = trained(run, objective, technique.init(start), optimizer, TUNING)
    return technique.freeze(start, levels)


def figures(run: Run, params: Params) -> dict[str, float]:
    """Bytes of the file and the error on test images."""
    return {
        "bytes": jc.storage.size(params, coders=jc.storage.coders.SMALLEST).disk,
        "error": lenets.error(jc.materialized(run.net.fn), params, run.parts.test),
    }


def measure(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Figures of the dense net and of each form, as found and trained on."""
    run, params = prepared(options.data, NET, seed), dense(options.data, NET, seed)
    alike = jax.tree.map(lambda leaf: jnp.ones((1,) * leaf.ndim), params)
    weighted = energies(run, params)
    found: dict[str, Any] = {"dense": figures(run, params)}
    for name, form in FORMS.items():
        found[name] = {}
        for how, importance in {"by weights": alike, "by inputs": weighted}.items():
            start = shared(params, form, importance, run)
            found[name][how] = figures(run, start)
            found[name][f"{how}, trained on"] = figures(run, tuned(run, start))
        print(seed, name, found[name], flush=True)
    return found


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The records of all seeds, those that are there already as they are."""
    settings = {
        "net": NET,
        "tuning": TUNING,
        "rate": LEVEL_RATE,
        "calibration": CALIBRATION,
        "forms": {name: repr(form) for name, form in FORMS.items()},
    }
    return [
        runner.record(
            "shared_vectors",
            functools.partial(measure, options, seed),
            settings=settings,
            seed=seed,
            out=options.out,
        )
        for seed in options.seeds
    ]


def main() -> None:
    """Runs the seeds, then prints means."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1))
    figures = [record["figures"] for record in run(parser.parse_args())]
    print("dense", runner.summary([each["dense"]["error"] for each in figures]))
    for name in FORMS:
        for stage in figures[0][name]:
            size = runner.summary([each[name][stage]["bytes"] for each in figures])
            error = runner.summary([each[name][stage]["error"] for each in figures])
            print(
                f"{name:18} {stage:22} {size.mean:9,.0f} B "
                f"{error.mean:.2%} ± {error.standard_error:.2%}"
            )


if __name__ == "__main__":
    main()
