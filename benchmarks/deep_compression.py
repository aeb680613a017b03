"""LeNet-300-100 on MNIST in as few bytes as its error allows, in a file of its own.

    python -m benchmarks.deep_compression run [--recipes NAME] [--part validation]
    python -m benchmarks.deep_compression show

A dense model is pruned by magnitude while it trains. Then either layers share a few
values, which are trained on (Deep Compression), or weights, biases and the steps of
their codes are trained under a price on bits (`quantize.companions.learned_rate`). Or
all weights are noisy and shipped as random codes (`quantize.companions.random_codes`).
Coders that are measured smallest write the file, whose bytes are told; a fresh process
decodes it and must give the same outputs, bit for bit. Images are shifted by a pixel
in training. Choices were made by seed 0 on validation images; the test images are
opened once for each seed and recipe.

What others published: Deep Compression, Han et al. 2016, arXiv:1510.00149, 26,661 bytes
at 1.58 %; Oktay et al. 2020, arXiv:1906.06624, 8,560 bytes at 1.9 %.
"""

import argparse
import functools
import hashlib
import itertools
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxcompress as jc
from benchmarks import lenets, runner
from benchmarks.random_codes import SETTINGS, random_codes
from benchmarks.sparsity_lenet import PLANS, Plan, Run, adamw, gradual, living, trained
from jaxcompress.core.types import Array, Key, Params

EPOCHS, RATE, STEP_RATE = 8, 1e-3, 3e-3
"""Of the training under a price: how long, and the rates of weights and of steps."""

TUNING, LEVEL_RATE = 3, 3e-4
"""Of shared values: epochs and the rate."""

FAST, SMALLEST = jc.storage.coders.FAST, jc.storage.coders.SMALLEST

Stages = dict[str, tuple[Params, tuple[jc.storage.coders.Coder, ...]]]
"""By name the params after a stage, and the coders of their file."""


class Recipe(NamedTuple):
    """How small a net is made.

    Attributes:
      kept: the share of weights that pruning leaves.
      finish: (run, pruned params, value) to the stages after pruning.
      value: of its one option.
    """

    kept: float
    finish: Callable[[Run, Params, float], Stages]
    value: float


@functools.lru_cache(maxsize=2)
def pruned(data: pathlib.Path, net: str, kept: float, seed: int) -> tuple[Run, Params, Params]:
    """A run, its dense model and the one that pruning leaves."""
    model, parts = lenets.NETS[net], lenets.splits(data, seed)
    start = model.initial(seed)
    axes = jc.graph.axes(model.fn, start, parts.train.images[:1])
    run = Run(model, PLAN[net], parts, axes, kept, seed)
    objective = lenets.cross_entropy(model.fn)
    optimizer = adamw(run.plan.dense_rate, run.steps(run.plan.dense))
    dense, _ = trained(run, objective, start, optimizer, run.plan.dense)
    params, optimizer, epochs = gradual(run, dense, run.plan.sparse)
    return run, dense, trained(run, objective, params, optimizer, epochs)[0]


def shared(run: Run, params: Params, bits: float) -> Stages:
    """Each layer has 2**bits values, zero among them; they are trained on."""
    spec = jc.quantize.formats.codebook(int(bits), per="tensor")
    rounding = jc.quantize.rounding.nearest(jc.quantize.sharing.k_means())
    start, _ = jc.quantize.quantize(params, spec, axes=run.axes, rounding=rounding)
    technique = jc.quantize.sharing.centroids()

    def objective(levels: dict, x: Array, labels: Array, key: Key) -> Array:
        del key
        logits = jc.materialized(run.net.fn)(technique.view(start, levels), x)
        return jc.distill.outputs.hard_targets(logits, labels).mean()

    optimizer = adamw(LEVEL_RATE, run.steps(TUNING))
    levels, _ = trained(run, objective, technique.init(start), optimizer, TUNING)
    tuned = technique.freeze(start, levels)
    return {"shared": (start, FAST), "tuned": (tuned, FAST), "coded": (tuned, SMALLEST)}


def rated(run: Run, params: Params, price: float) -> Stages:
    """Weights and steps are trained for codes that an entropy coder makes short."""
    technique = jc.quantize.companions.learned_rate(axes=run.axes, select=jc.everything())
    masks, companions = living(params), technique.init(params)
    weights = sum(int(np.count_nonzero(leaf)) for leaf in jax.tree.leaves(params))

    def objective(both: tuple, x: Array, labels: Array, key: Key) -> Array:
        del key
        logits = run.net.fn(technique.view(*both), x)
        bits = technique.penalty(*both) / weights
        return jc.distill.outputs.hard_targets(logits, labels).mean() + price * bits

    steps = run.steps(EPOCHS)
    all_of_them = jax.tree.map(lambda _: jnp.ones((), bool), companions)
    both_rates = optax.partition(
        {
            "weights": adamw(RATE, steps),
            "steps": optax.adam(optax.cosine_decay_schedule(STEP_RATE, steps)),
        },
        ("weights", "steps"),
    )
    optimizer = jc.prune.hold(both_rates, (masks, all_of_them))
    both, _ = trained(run, objective, (params, companions), optimizer, EPOCHS)
    return {"coded": (technique.freeze(*both), SMALLEST)}


PLAN: dict[str, Plan] = {
    "LeNet-300-100": PLANS["LeNet-300-100"]._replace(sparse=25),
}
RECIPES = {
    "LeNet-300-100": {
        "deep compression": Recipe(0.06, shared, 6),
        "learned rate, 1/100": Recipe(0.033, rated, 0.005),
        "learned rate, 1/150": Recipe(0.033, rated, 0.05),
        "random codes, 1/130": Recipe(1.0, random_codes, 8_000),
    },
}


def digest(net: str, params: Params, images: np.ndarray) -> str:
    """Of the logits of a net, bit for bit."""
    logits = jc.validate.predict(jc.materialized(lenets.NETS[net].fn), params, images)
    return hashlib.sha256(np.asarray(logits).tobytes()).hexdigest()


def written(net: str, params: Params, coders: tuple, images: np.ndarray) -> int:
    """The bytes of a file from which a fresh process gives the same outputs.

    Raises:
      RuntimeError: it does not.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.safetensors"
        jc.storage.save(path, params, coders=coders)
        np.save(pathlib.Path(folder) / "images.npy", images)
        command = [sys.executable, "-m", "benchmarks.deep_compression", "decode", "--net", net]
        done = subprocess.run(
            [*command, "--folder", folder], capture_output=True, text=True, check=True
        )
        if done.stdout.split()[-1] != digest(net, params, images):
            raise RuntimeError(f"a fresh process gave other outputs for {net}")
        return path.stat().st_size


def decode(options: argparse.Namespace) -> None:
    """Prints the digest of what the file in a folder answers."""
    params = jc.storage.load(options.folder / "model.safetensors")
    images = np.load(options.folder / "images.npy")
    print(digest(options.net, params, images))


def measure(options: argparse.Namespace, net: str, recipe: Recipe, seed: int) -> dict[str, Any]:
    """Bytes and errors after each stage."""
    run, dense, sparse = pruned(options.data, net, recipe.kept, seed)
    judging = getattr(run.parts, options.part)
    stages: Stages = {"dense": (dense, FAST), "pruned": (sparse, FAST)}
    stages |= recipe.finish(run, sparse, recipe.value)
    return {
        stage: {
            "bytes": written(net, params, coders, judging.images[:500]),
            "error": lenets.error(jc.materialized(run.net.fn), params, judging),
        }
        for stage, (params, coders) in stages.items()
    }


def settings(net: str, recipe: Recipe, part: str) -> dict[str, Any]:
    """All that a run depends on but the seed."""
    training = {
        shared: {"epochs": TUNING, "rate": LEVEL_RATE},
        rated: {"epochs": EPOCHS, "rate": RATE, "step_rate": STEP_RATE},
        random_codes: SETTINGS,
    }
    plan = {name: value for name, value in PLAN[net]._asdict().items() if name != "kept"}
    own = {"kept": recipe.kept, "finish": recipe.finish.__name__, "value": recipe.value}
    return {"net": net, "part": part} | own | training[recipe.finish] | plan


def run(options: argparse.Namespace) -> None:
    """Every run that has no record yet; recipes of a seed share what is pruned."""
    for net, seed in itertools.product(options.nets, options.seeds):
        for name, recipe in RECIPES[net].items():
            if name not in (options.recipes or RECIPES[net]):
                continue
            found = runner.record(
                "deep_compression",
                functools.partial(measure, options, net, recipe, seed),
                settings=settings(net, recipe, options.part),
                seed=seed,
                out=options.out,
            )["figures"]
            stages = sorted(found.items(), key=lambda item: -item[1]["bytes"])
            told = [f"{stage} {each['bytes']:,} B {each['error']:.2%}" for stage, each in stages]
            print(net, name, seed, " | ".join(told), flush=True)


def show(options: argparse.Namespace) -> None:
    """Means over seeds, for each recipe and stage."""
    records = runner.read(options.out / "deep_compression.json")
    for net in options.nets:
        for name, recipe in RECIPES[net].items():
            known = runner.json_text(settings(net, recipe, options.part))
            figures = [
                each["figures"] for each in records if runner.json_text(each["settings"]) == known
            ]
            for stage in figures[0] if figures else ():
                size = runner.summary([each[stage]["bytes"] for each in figures])
                error = runner.summary([each[stage]["error"] for each in figures])
                print(
                    f"{net:14} {name:20} {stage:7} {size.mean:12,.0f} B "
                    f"{error.mean:.2%} ± {error.standard_error:.2%} ({size.count} seeds)"
                )


def main() -> None:
    """Runs, shows or decodes."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("run", "show", "decode"))
    parser.add_argument("--nets", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--recipes", nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=range(5))
    parser.add_argument("--part", choices=("validation", "test"), default="test")
    parser.add_argument("--net", choices=RECIPES, help="of decode")
    parser.add_argument("--folder", type=pathlib.Path, help="of decode")
    options = parser.parse_args()
    {"run": run, "show": show, "decode": decode}[options.what](options)


if __name__ == "__main__":
    main()
