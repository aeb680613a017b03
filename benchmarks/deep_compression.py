"""Two LeNets on MNIST in as few bytes as their error allows, in files of their own.

    python -m benchmarks.deep_compression run [--recipes NAME] [--part validation]
    python -m benchmarks.deep_compression show

A dense model is pruned by magnitude while it trains. Then either layers share a few
values, which are trained on (Deep Compression), or weights, biases and the steps of
their codes are trained under a price on bits (`quantize.companions.learned_rate`). Or
all weights are noisy and shipped as random codes (`quantize.companions.random_codes`).
Of LeNet-5, as Caffe has it, units go first, and what is left learns from the dense
model. Coders that are measured smallest write the file, whose bytes are told; a fresh
process decodes it and must give the same outputs, bit for bit. Images are shifted by a
pixel in training, by two where units go. Choices were made by seed 0 on validation
images; the test images are opened once for each seed and recipe.

What others published for LeNet-300-100: Deep Compression, Han et al. 2016,
arXiv:1510.00149, 26,661 bytes at 1.58 %; Oktay et al. 2020, arXiv:1906.06624, 8,560
bytes at 1.9 %. For LeNet-5: 44 kB at 0.74 %; 2,845 bytes at 1.0 %; MIRACLE, Havasi et
al. 2019, arXiv:1810.00440, 3,103 bytes at 0.69 % and 1,556 at 0.96 %.
"""

import argparse
import functools
import itertools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxcompress as jc
from benchmarks import files, lenets, plots, runner, structured_lenet
from benchmarks.random_codes import SETTINGS, random_codes
from benchmarks.removal import Training, train
from benchmarks.sparsity_lenet import PLANS, Plan, Run, adamw, gradual, living, trained
from jaxcompress.core.types import Array, Key, Params

RATE, STEP_RATE, LEVEL_RATE = 1e-3, 3e-3, 3e-4
"""Of weights and of steps under a price, and of shared values."""

LIMITS, LAST = (100_000, 40_000), Training(epochs=6, learning_rate=3e-3)
"""Parameters left when units have gone, round by round, and the training after it."""

FAST, SMALLEST = jc.storage.coders.FAST, jc.storage.coders.SMALLEST

Stages = dict[str, tuple[Params, tuple[jc.storage.coders.Coder, ...]]]
"""By name the params after a stage, and the coders of their file."""

PUBLISHED = {
    "LeNet-300-100": {"Deep Compression": (26.661, 1.58), "Oktay et al.": (8.56, 1.9)},
    "LeNet-5": {
        "Deep Compression": (44.0, 0.74),
        "Oktay et al.": (2.845, 1.0),
        "MIRACLE": (3.103, 0.69),
    },
}
"""By net and method the kilobytes and the error in per cent."""


class Begun(NamedTuple):
    """A model before its bytes are counted.

    Attributes:
      run: its data and plan.
      stages: up to now, of which the last goes on.
      loss: of params, whose leaves may be compressed.
    """

    run: Run
    stages: Stages
    loss: lenets.Objective

    @property
    def params(self) -> Params:
        return list(self.stages.values())[-1][0]


class Recipe(NamedTuple):
    """How small a net is made.

    Attributes:
      begin: (folder of data, net, plan, kept share, seed) to what is finished.
      plan: of training up to then.
      kept: the share of weights that pruning leaves.
      finish: (begun, value, epochs) to the stages after pruning.
      value: of its one option.
      epochs: that it trains.
    """

    begin: Callable[[pathlib.Path, str, Plan, float, int], Begun]
    plan: Plan
    kept: float
    finish: Callable[[Begun, float, int], Stages]
    value: float
    epochs: int


@functools.lru_cache(maxsize=2)
def pruned(data: pathlib.Path, net: str, plan: Plan, kept: float, seed: int) -> Begun:
    """A dense model, and what pruning leaves of it."""
    model, parts = lenets.NETS[net], lenets.splits(data, seed)
    start = model.initial(seed)
    axes = jc.graph.axes(model.fn, start, parts.train.images[:1])
    run = Run(model, plan, parts, axes, kept, seed)
    loss = lenets.cross_entropy(jc.materialized(model.fn))
    optimizer = adamw(plan.dense_rate, run.steps(plan.dense))
    dense, _ = trained(run, loss, start, optimizer, plan.dense)
    params, optimizer, epochs = gradual(run, dense, plan.sparse)
    sparse, _ = trained(run, loss, params, optimizer, epochs)
    return Begun(run, {"dense": (dense, FAST), "pruned": (sparse, FAST)}, loss)


@functools.lru_cache(maxsize=1)
def narrow(data: pathlib.Path, net: str, plan: Plan, seed: int) -> tuple[Run, Params, Params]:
    """A run that keeps all weights, a dense LeNet-5, and what it is without units."""
    model, parts = lenets.NETS[net], lenets.splits(data, seed)
    images = parts.train.images, parts.train.labels
    training = Training(plan.dense, plan.dense_rate)
    dense = train(structured_lenet.hard, model.initial(seed), images, training, seed=seed)
    amounts = [jc.structure.amounts.within_parameters(limit) for limit in LIMITS]
    small = structured_lenet.shrunk(dense, parts, seed, amounts, LAST).params
    axes = jc.graph.axes(model.fn, small, parts.train.images[:1])
    return Run(model, plan, parts, axes, 1.0, seed), dense, small


def narrowed(data: pathlib.Path, net: str, plan: Plan, kept: float, seed: int) -> Begun:
    """What is left when units and then weights go; it learns from the dense model."""
    run, dense, small = narrow(data, net, plan, seed)
    run, fn = run._replace(kept=kept), jc.materialized(run.net.fn)

    def loss(params: Params, x: Array, labels: Array, key: Key) -> Array:
        del key
        return structured_lenet.answered(fn, dense, params, x, labels)

    params, optimizer, epochs = gradual(run, small, plan.sparse)
    sparse, _ = trained(run, loss, params, optimizer, epochs)
    stages = {"dense": (dense, FAST), "narrow": (small, FAST), "pruned": (sparse, FAST)}
    return Begun(run, stages, loss)


def shared(begun: Begun, bits: float, epochs: int) -> Stages:
    """Each layer has 2**bits values, zero among them; they are trained on."""
    run, spec = begun.run, jc.quantize.formats.codebook(int(bits), per="tensor")
    rounding = jc.quantize.rounding.nearest(jc.quantize.sharing.k_means())
    start, _ = jc.quantize.quantize(begun.params, spec, axes=run.axes, rounding=rounding)
    technique = jc.quantize.sharing.centroids()

    def objective(levels: dict, x: Array, labels: Array, key: Key) -> Array:
        return begun.loss(technique.view(start, levels), x, labels, key)

    optimizer = adamw(LEVEL_RATE, run.steps(epochs))
    levels, _ = trained(run, objective, technique.init(start), optimizer, epochs)
    tuned = technique.freeze(start, levels)
    return {"shared": (start, FAST), "tuned": (tuned, FAST), "coded": (tuned, SMALLEST)}


def rated(begun: Begun, price: float, epochs: int) -> Stages:
    """Weights and steps are trained for codes that an entropy coder makes short."""
    run, params = begun.run, begun.params
    technique = jc.quantize.companions.learned_rate(axes=run.axes, select=jc.everything())
    masks, companions = living(params), technique.init(params)
    weights = sum(int(np.count_nonzero(leaf)) for leaf in jax.tree.leaves(params))

    def objective(both: tuple, x: Array, labels: Array, key: Key) -> Array:
        bits = technique.penalty(*both) / weights
        return begun.loss(technique.view(*both), x, labels, key) + price * bits

    steps = run.steps(epochs)
    all_of_them = jax.tree.map(lambda _: jnp.ones((), bool), companions)
    both_rates = optax.partition(
        {
            "weights": adamw(RATE, steps),
            "steps": optax.adam(optax.cosine_decay_schedule(STEP_RATE, steps)),
        },
        ("weights", "steps"),
    )
    optimizer = jc.prune.hold(both_rates, (masks, all_of_them))
    both, _ = trained(run, objective, (params, companions), optimizer, epochs)
    return {"coded": (technique.freeze(*both), SMALLEST)}


def noisy(begun: Begun, size: float, epochs: int) -> Stages:
    """Noisy weights are trained, and random candidates for them take so many bytes."""
    at_once, in_rounds = random_codes(begun.run, begun.params, begun.loss, size, epochs)
    return {"at once": (at_once, SMALLEST), "coded": (in_rounds, SMALLEST)}


PERCEPTRON = PLANS["LeNet-300-100"]._replace(sparse=25)
CONVOLUTIONAL = PLANS["LeNet-5"]
NARROW = Plan((), 6, 14, 2e-3, 3e-3, 128, border=structured_lenet.BORDER)
RECIPES = {
    "LeNet-300-100": {
        "deep compression": Recipe(pruned, PERCEPTRON, 0.06, shared, 6, 3),
        "learned rate, 1/120": Recipe(pruned, PERCEPTRON, 0.033, rated, 0.005, 8),
        "learned rate, 1/190": Recipe(pruned, PERCEPTRON, 0.033, rated, 0.05, 8),
        "random codes": Recipe(pruned, PERCEPTRON, 1.0, noisy, 8_000, 25),
    },
    "LeNet-5": {
        "deep compression": Recipe(pruned, CONVOLUTIONAL, 0.05, shared, 6, 2),
        "learned rate, 1/280": Recipe(narrowed, NARROW, 0.15, rated, 0.01, 8),
        "learned rate, 1/530": Recipe(narrowed, NARROW, 0.08, rated, 0.1, 12),
    },
}


def measure(options: argparse.Namespace, net: str, recipe: Recipe, seed: int) -> dict[str, Any]:
    """Bytes and errors after each stage."""
    begun = recipe.begin(options.data, net, recipe.plan, recipe.kept, seed)
    judging, fn = getattr(begun.run.parts, options.part), lenets.NETS[net].fn
    stages = begun.stages | recipe.finish(begun, recipe.value, recipe.epochs)
    return {
        stage: {
            "bytes": files.written(params, coders, fn, judging.images[:500]),
            "error": lenets.error(jc.materialized(fn), params, judging),
        }
        for stage, (params, coders) in stages.items()
    }


def settings(net: str, recipe: Recipe, part: str) -> dict[str, Any]:
    """All that a run depends on but the seed."""
    rates = {
        shared: {"rate": LEVEL_RATE},
        rated: {"rate": RATE, "step_rate": STEP_RATE},
        noisy: SETTINGS,
    }
    plan = {name: value for name, value in recipe.plan._asdict().items() if name != "kept"}
    own = {"kept": recipe.kept, "finish": recipe.finish.__name__, "value": recipe.value}
    units = {"limits": LIMITS, "last": LAST._asdict()} if recipe.begin is narrowed else {}
    training = {"epochs": recipe.epochs} | rates[recipe.finish]
    return {"net": net, "part": part} | own | training | plan | units


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
    """Means over seeds, for each recipe and stage, and a picture of each net."""
    records = runner.read(options.out / "deep_compression.json")
    for net in options.nets:
        drawn = {}
        for name, recipe in RECIPES[net].items():
            known = runner.json_text(settings(net, recipe, options.part))
            figures = [
                each["figures"] for each in records if runner.json_text(each["settings"]) == known
            ]
            coded = [each["coded"] for each in figures]
            drawn[name] = (
                [each["bytes"] / 1000 for each in coded],
                [100 * each["error"] for each in coded],
            )
            for stage in figures[0] if figures else ():
                size = runner.summary([each[stage]["bytes"] for each in figures])
                error = runner.summary([each[stage]["error"] for each in figures])
                print(
                    f"{net:14} {name:20} {stage:7} {size.mean:12,.0f} B "
                    f"{error.mean:.2%} ± {error.standard_error:.2%} ({size.count} seeds)"
                )
        plots.points(
            options.out / f"deep_compression_{net.lower()}.png",
            drawn,
            PUBLISHED[net],
            x=f"kilobytes of the file of {net}",
            y=f"{options.part} error, %",
        )


def main() -> None:
    """Runs or shows."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("run", "show"))
    parser.add_argument("--nets", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--recipes", nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=range(5))
    parser.add_argument("--part", choices=("validation", "test"), default="test")
    options = parser.parse_args()
    {"run": run, "show": show}[options.what](options)


if __name__ == "__main__":
    main()
