"""How few multiply-adds LeNet-5 needs on MNIST when whole units go, and at what error.

    python -m benchmarks.structured_lenet [--seeds 0 1 2 3 4] [--data DIR]

The model of 431,080 numbers is trained and loses units in rounds, down to a budget of
multiply-adds per example; after each round what is left learns from the labels and from
the answers of the dense model. Every choice was made on validation images; the test
images are opened once per seed, at the end.

Source of the dense model and the budget: LeNet-5-Caffe, which Louizos et al. 2017,
arXiv:1705.08665, shrink to about 158,000 multiply-adds at 5-10-76-16.
"""

import functools
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxcompress as jc
from benchmarks import runner
from benchmarks.removal import Objective, Training, cost, cropped, latency, train
from jaxcompress.core.types import Array, Key, Model, Params, PyTree
from jaxcompress.demo.data import Images, Splits, mnist_folder

WIDTHS = (20, 50, 500)
BUDGET = 158_000
LIMITS = (500_000, BUDGET)
FLOORS = {"conv1*": 3, "conv2*": 16}
DENSE = Training(epochs=8, learning_rate=2e-3)
ROUND = Training(epochs=2, learning_rate=1e-3)
LAST = Training(epochs=16, learning_rate=3e-3)
BORDER = 2
TEMPERATURE, SOFT_WEIGHT = 3.0, 0.9
VALIDATION = 5_000
SCORED = 1_000

Batches = list[tuple[np.ndarray, np.ndarray]]
"""Images and labels."""


def lenet(params: Params, x: Array) -> Array:
    """LeNet-5 as Caffe has it: (n, 28, 28, 1) to logits (n, 10)."""
    x = halved(convolved(x, *params["conv1"]))
    x = halved(convolved(x, *params["conv2"]))
    x = x.reshape(x.shape[0], -1)
    x = jax.nn.relu(x @ params["dense1"][0] + params["dense1"][1])
    return x @ params["dense2"][0] + params["dense2"][1]


def convolved(x: Array, kernel: Array, bias: Array) -> Array:
    """A convolution without padding."""
    numbers = ("NHWC", "HWIO", "NHWC")
    return (
        jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=numbers) + bias
    )


def halved(x: Array) -> Array:
    """The largest of each 2 by 2 pixels, by slices: a faster gradient on a CPU."""
    rows = jnp.maximum(x[:, ::2], x[:, 1::2])
    return jnp.maximum(rows[:, :, ::2], rows[:, :, 1::2])


def initial(seed: int) -> Params:
    """Random weights, zero biases."""
    first, second, hidden = WIDTHS
    shapes = {
        "conv1": (5, 5, 1, first),
        "conv2": (5, 5, first, second),
        "dense1": (16 * second, hidden),
        "dense2": (hidden, 10),
    }
    keys = jax.random.split(jax.random.key(seed), len(shapes))
    he = jax.nn.initializers.he_normal()
    return {
        name: (he(key, shape), jnp.zeros(shape[-1]))
        for key, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


def splits(data: pathlib.Path, seed: int) -> Splits:
    """MNIST with 5,000 validation images, drawn by class."""
    found = mnist_folder(data / "mnist", seed=seed)
    order = np.random.default_rng(seed).permutation(len(found.validation))
    kept, rest = found.validation[order[:VALIDATION]], found.validation[order[VALIDATION:]]
    train = Images(
        np.concatenate([found.train.images, rest.images]),
        np.concatenate([found.train.labels, rest.labels]),
    )
    return Splits(found.source, train, kept, found.test)


def hard(params: Params, batch: PyTree, key: Key) -> tuple[Array, Params]:
    """The cross-entropy of the labels, on shifted images."""
    x, labels = batch
    logits = lenet(params, cropped(x, key, BORDER))
    return jc.distill.outputs.hard_targets(logits, labels).mean(), params


def answered(fn: Model, dense: Params, params: Params, x: Array, labels: Array) -> Array:
    """The cross-entropy mixed with the divergence from the dense model's answers."""
    logits, teacher = fn(params, x), lenet(dense, x)
    soft = jc.distill.outputs.soft_targets(logits, teacher, temperature=TEMPERATURE)
    hard = jc.distill.outputs.hard_targets(logits, labels)
    return jc.distill.mix(hard, soft, weight=SOFT_WEIGHT).mean()


def taught(fn: Model, dense: Params) -> Objective:
    """The same on shifted images."""

    def objective(params: Params, batch: PyTree, key: Key) -> tuple[Array, Params]:
        x, labels = batch
        return answered(fn, dense, params, cropped(x, key, BORDER), labels), params

    return objective


MACS = tuple(jc.structure.amounts.within_macs(limit) for limit in LIMITS)


def shrunk(
    params: Params,
    parts: Splits,
    seed: int,
    amounts: Sequence[jc.structure.amounts.Amount] = MACS,
    last: Training = LAST,
) -> jc.structure.Rounds:
    """The dense model without units, in rounds down to the last amount.

    Without floors the first convolution, which pays for every later channel, would be
    left one unit.
    """
    images, dense = parts.train, params

    def fine_tune(fn: Model, params: Params, turn: int) -> Params:
        training = last if turn == len(amounts) - 1 else ROUND
        objective = taught(fn, dense)
        data = images.images, images.labels
        return train(objective, params, data, training, seed=seed + 100 * (turn + 1))

    return jc.structure.iterative(
        lenet,
        params,
        jc.structure.importance.normalized(
            jc.structure.importance.taylor(jc.distill.outputs.hard_targets, scoring(images))
        ),
        images.images[:1],
        cuts=[jc.structure.Cut(amount, floors=jc.Rules(FLOORS)) for amount in amounts],
        fine_tune=fine_tune,
    )


def scoring(images: Images) -> Batches:
    """The training images that units are scored on; few at once, for memory."""
    starts = range(0, SCORED, 250)
    return [(images.images[i : i + 250], images.labels[i : i + 250]) for i in starts]


def errors(evaluation: jc.validate.Evaluation) -> dict[str, Any]:
    """The share of wrong answers and its interval."""
    low, high = evaluation["accuracy"].interval()
    return {"error": 1 - evaluation.accuracy, "low": 1 - high, "high": 1 - low}


def measure(data: pathlib.Path, seed: int) -> dict[str, Any]:
    """The figures of one seed."""
    parts = splits(data, seed)
    train_data = parts.train.images, parts.train.labels
    dense = train(hard, initial(seed), train_data, DENSE, seed=seed)
    rounds = shrunk(dense, parts, seed)
    models = {"dense": (lenet, dense), "shrunk": (jax.jit(rounds.fn), rounds.params)}
    figures = {}
    for name, (model, params) in models.items():
        figures[name] = cost(model, params, parts.test.images) | {
            split: errors(jc.validate.evaluate(model, params, part.images, part.labels))
            for split, part in (("validation", parts.validation), ("test", parts.test))
        }
    return {
        **figures,
        "widths": [rounds.params[name][1].size for name in ("conv1", "conv2", "dense1")],
        "rounds": [
            {family.name: family.kept for family in report.plan.families}
            for report in rounds.reports
        ],
        "latency": latency(models, parts.test.images),
    }


def settings() -> dict[str, Any]:
    """All that the figures depend on but the seed."""
    return {
        "widths": WIDTHS,
        "limits": LIMITS,
        "floors": FLOORS,
        "dense": DENSE._asdict(),
        "round": ROUND._asdict(),
        "last": LAST._asdict(),
        "border": BORDER,
        "temperature": TEMPERATURE,
        "soft_weight": SOFT_WEIGHT,
        "validation": VALIDATION,
        "scored": SCORED,
        "importance": "normalized taylor",
    }


def main() -> None:
    """Runs every seed that has no record yet, then prints means over seeds."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=range(5))
    options = parser.parse_args()
    records = [
        runner.record(
            "structured_lenet",
            functools.partial(measure, options.data, seed),
            settings=settings(),
            seed=seed,
            out=options.out,
        )
        for seed in options.seeds
    ]
    for model in ("dense", "shrunk"):
        found = runner.summary([r["figures"][model]["test"]["error"] for r in records])
        print(f"{model}: test error {found.mean:.2%} ± {found.standard_error:.2%}")
    print("widths", [record["figures"]["widths"] for record in records])


if __name__ == "__main__":
    main()
