"""What compressed models add to the one they came from, and what a cascade saves.

    python -m benchmarks.mnist_ensemble [--seeds 0 1 2] [--data DIR]

A convolutional LeNet-5 on MNIST and two models made of it: a LeNet-300-100 that learnt
from its answers, in 8 bits, and itself with 5 % of its weights, in 4 bits. Weights of
the mixture and thresholds of the cascade are fitted to the validation images; the test
images are opened once per seed. Multiply-adds are those of one image on average, zeros
among them.
"""

import argparse
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax

import jaxcompress as jc
from benchmarks import lenets, runner
from jaxcompress.core.types import Array, Key, Model, Params
from jaxcompress.demo.data import Images, Splits
from jaxcompress.distill.ensembles import CascadeFit
from jaxcompress.validate import Evaluation

DENSE_EPOCHS, STUDENT_EPOCHS, SPARSE_EPOCHS = 4, 12, 2
BATCH, BORDER, TEMPERATURE, SOFT = 64, 1, 4.0, 0.9
KEPT, EVERY = 0.05, 50
TOLERATED = (0.0, 0.001)
"""Points of accuracy, as shares, that the cascades may lose on validation images."""

SETTINGS = {
    "epochs": [DENSE_EPOCHS, STUDENT_EPOCHS, SPARSE_EPOCHS],
    "batch": BATCH,
    "border": BORDER,
    "temperature": TEMPERATURE,
    "soft": SOFT,
    "kept": KEPT,
    "tolerated": TOLERATED,
}
ensembles, validate = jc.distill.ensembles, jc.validate
METRICS = (
    validate.metrics.accuracy(),
    validate.metrics.cross_entropy(),
    validate.metrics.calibration_error(),
)


class Member(NamedTuple):
    """A model and what it costs.

    Attributes:
      fn: (params, images) to logits.
      params: with compressed leaves.
      size_bytes: of its arrays.
      macs: multiply-adds of one image.
    """

    fn: Model
    params: Params
    size_bytes: int
    macs: int

    def logits(self, images: Images) -> np.ndarray:
        """Its answers, (n, 10)."""
        return validate.predict(self.fn, self.params, images.images)


def member(net: lenets.Net, params: Params) -> Member:
    """A model of a net on its params, compressed or not."""
    fn = jc.materialized(net.fn)
    macs = jc.graph.cost(jc.graph.trace(fn, params, jnp.zeros((1, 28, 28, 1)))).macs
    return Member(fn, params, jc.storage.size(params).memory, macs)


def fitted(
    objective: lenets.Objective,
    params: Params,
    optimizer: optax.GradientTransformation,
    parts: Splits,
    epochs: int,
    seed: int,
) -> Params:
    """Params after training on the training images."""
    params, _ = lenets.trained(
        objective,
        params,
        optimizer,
        parts.train,
        epochs=epochs,
        batch_size=BATCH,
        border=BORDER,
        seed=seed,
    )
    return params


def taught(student: Model, teacher: Model, dense: Params) -> lenets.Objective:
    """The loss of a student of the dense model."""

    def objective(params: Params, x: Array, labels: Array, key: Key) -> Array:
        del key
        logits, targets = student(params, x), teacher(dense, x)
        soft = jc.distill.outputs.soft_targets(logits, targets, temperature=TEMPERATURE)
        hard = jc.distill.outputs.hard_targets(logits, labels)
        return jc.distill.mix(hard, soft, weight=SOFT).mean()

    return objective


def members(parts: Splits, seed: int) -> dict[str, Member]:
    """The dense model and the two compressed ones."""
    large, small = lenets.NETS["LeNet-5"], lenets.NETS["LeNet-300-100"]
    per_epoch = len(parts.train) // BATCH

    def adam(epochs: int, rate: float) -> optax.GradientTransformation:
        return optax.adam(optax.cosine_decay_schedule(rate, epochs * per_epoch))

    dense = fitted(
        lenets.cross_entropy(large.fn),
        large.initial(seed),
        adam(DENSE_EPOCHS, 2e-3),
        parts,
        DENSE_EPOCHS,
        seed,
    )
    student = fitted(
        taught(small.fn, large.fn, dense),
        small.initial(seed),
        adam(STUDENT_EPOCHS, 2e-3),
        parts,
        STUDENT_EPOCHS,
        seed,
    )
    axes = jc.graph.axes(large.fn, dense, jnp.zeros((1, 28, 28, 1)))
    end = SPARSE_EPOCHS * per_epoch // 2
    pruning = jc.prune.prune(
        adam(SPARSE_EPOCHS, 2e-3),
        jc.prune.criteria.magnitude(),
        jc.prune.Target(
            jc.schedules.cubic(0.0, 1 - KEPT, begin=0, end=end),
            allocate=jc.prune.allocations.lamp,
            axes=axes,
        ),
        when=jc.schedules.every(EVERY, end=end),
    )
    sparse = fitted(taught(large.fn, large.fn, dense), dense, pruning, parts, SPARSE_EPOCHS, seed)
    in_bits = functools.partial(jc.quantize.quantize, rounding=jc.quantize.rounding.hqq())
    return {
        "dense": member(large, dense),
        "distilled, 8 bits": member(small, jc.quantize.quantize(student, jc.quantize.int8())[0]),
        "sparse, 4 bits": member(large, in_bits(sparse, jc.quantize.int4(), axes=axes)[0]),
    }


def judged(logits: Array, images: Images) -> Evaluation:
    """What an array of logits is worth, one row for each image."""
    rows = np.arange(len(images))
    table = jnp.asarray(logits)
    return validate.evaluate(
        lambda params, x: params[x[:, 0]], table, rows[:, None], images.labels, METRICS
    )


def cascades(
    small: Member, large: Member, parts: Splits
) -> dict[str, tuple[np.ndarray, float, CascadeFit]]:
    """By name the cascade's test logits, its multiply-adds there, and its fit."""
    validation = small.logits(parts.validation), large.logits(parts.validation)
    found = {}
    for tolerated in TOLERATED:
        fit = ensembles.fit_cascade(*validation, parts.validation.labels, tolerated=tolerated)
        answers = ensembles.answer(
            (small.fn, large.fn), (small.params, large.params), parts.test.images, fit.threshold
        )
        macs = small.macs + float(answers.asked.mean()) * large.macs
        found[f"cascade, {tolerated:.1%} tolerated"] = answers.logits, macs, fit
    return found


def measure(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Scores, bytes and operations of members, mixtures and cascades."""
    parts = lenets.splits(options.data, seed)
    found = members(parts, seed)
    validation = np.stack([each.logits(parts.validation) for each in found.values()])
    test = np.stack([each.logits(parts.test) for each in found.values()])
    weights = ensembles.fit_weights(validation, parts.validation.labels)
    whole = sum(each.size_bytes for each in found.values())
    all_macs = sum(each.macs for each in found.values())
    logits = dict(zip(found, test, strict=True)) | {
        "mixture, equal": ensembles.mixture(test, np.full(len(found), 1 / len(found))),
        "mixture, fitted": ensembles.mixture(test, weights),
    }
    sizes = {name: each.size_bytes for name, each in found.items()}
    macs: dict[str, float] = {name: each.macs for name, each in found.items()}
    for name in ("mixture, equal", "mixture, fitted"):
        sizes[name], macs[name] = whole, all_macs
    large, small = found["dense"], found["distilled, 8 bits"]
    fits = cascades(small, large, parts)
    for name, (answers, cost, _) in fits.items():
        logits[name], macs[name] = answers, cost
        sizes[name] = small.size_bytes + large.size_bytes
    evaluations = {name: judged(each, parts.test) for name, each in logits.items()}
    table = validate.comparisons.tradeoffs(evaluations, size_bytes=sizes, macs=macs)
    print(table)
    return {
        "weights": dict(zip(found, weights, strict=True)),
        "table": table.to_json(),
        "fits": {name: fit._asdict() for name, (_, _, fit) in fits.items()},
        "against dense": against(evaluations),
    }


def against(evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
    """Paired differences from the dense model."""
    dense = evaluations["dense"]
    return {
        name: validate.compare(dense, each).to_json()
        for name, each in evaluations.items()
        if name != "dense"
    }


def main() -> None:
    """Runs every seed that has no record yet, then prints means over seeds."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    options = parser.parse_args()
    records = [
        runner.record(
            "mnist_ensemble",
            functools.partial(measure, options, seed),
            settings=SETTINGS,
            seed=seed,
            out=options.out,
        )
        for seed in options.seeds
    ]
    rows = [record["figures"]["table"]["rows"] for record in records]
    for same in zip(*rows, strict=True):
        found = runner.summary([row["scores"]["accuracy"][0] for row in same])
        share = runner.summary([row["macs"] / rows[0][0]["macs"] for row in same])
        print(
            f"{same[0]['name']:28} {found.mean:.2%} ± {found.standard_error:.2%}, {share.mean:.2f}"
        )


if __name__ == "__main__":
    main()
