"""Whether a ResNet cut to a third is better fine-tuned with what it was before.

    python -m benchmarks.distilled_removal [--seeds 0 1 2] [--trained DIR] [--data DIR]

Channels of the network of `benchmarks.structured_resnet` are removed until a third of
its multiply-adds is left. What is left is fine-tuned on labels alone, as there, and on
labels and the soft targets of the dense network: the same steps, images and
augmentation, from the same weights. Temperature and weight are chosen first, on the
first 2,500 validation images and in another order of training images than any that is
judged; accuracy is told on the other 2,500 and on the 1,000 test images, which are
opened once per seed, as paired differences.
"""

import argparse
import functools
import pathlib
from typing import Any, NamedTuple

import jax

import jaxcompress as jc
from benchmarks import runner
from benchmarks.distilled_resnet import held_out, the_teacher
from benchmarks.removal import macs, train
from benchmarks.structured_resnet import (
    AGAIN,
    augmented,
    cut,
    fitted,
    splits,
    trainable,
    tuning_seed,
)
from benchmarks.structured_resnet import settings as of_removal
from jaxcompress.bridges.functional import Functional
from jaxcompress.core.types import Array, Key, Model, Params
from jaxcompress.demo.data import Images

SHARE, CHOSEN_AT = 3, 1000
outputs = jc.distill.outputs


class Soft(NamedTuple):
    """How much of the loss are soft targets, and how soft they are.

    Attributes:
      temperature: of teacher and student.
      weight: share of the soft targets in the loss; the rest is labels.
    """

    temperature: float
    weight: float


TRIED = (Soft(4.0, 0.9), Soft(4.0, 0.5), Soft(1.0, 0.9))


def taught(start: Functional, teacher: Functional, soft: Soft, images: Images, seed: int) -> Params:
    """The params after as many steps as on labels alone, in the same order."""

    def objective(params: Params, batch: tuple, key: Key) -> tuple[Array, Params]:
        x, labels = batch
        x = augmented(x, key)
        logits, after = start.train_fn(params, x, key=key)
        wanted = teacher.fn(jax.lax.stop_gradient(teacher.params), x)
        losses = jc.distill.mix(
            outputs.hard_targets(logits, labels),
            outputs.soft_targets(logits, wanted, temperature=soft.temperature),
            weight=soft.weight,
        )
        return losses.mean(), after

    data = images.images, images.labels
    return train(objective, start.params, data, AGAIN, seed=seed, trainable=trainable)


def choice(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Accuracy on images to choose by, for each setting that is tried."""
    parts = splits(options.data)
    images, judging = parts["train"], held_out(parts)["chosen by"]
    teacher = the_teacher(images, seed, options.trained)
    _, start = cut(teacher, images, SHARE, seed)
    found = []
    for soft in TRIED:
        params = taught(start, teacher, soft, images, CHOSEN_AT + tuning_seed(SHARE, seed))
        evaluation = jc.validate.evaluate(start.fn, params, judging.images, judging.labels)
        found.append(soft._asdict() | {"accuracy": evaluation.accuracy})
        print(found[-1], flush=True)
    return {"chosen by": found}


def chosen(choices: list[dict[str, float]]) -> Soft:
    """The setting with the highest accuracy, the first of equal ones.

    Example:
      >>> chosen([{"temperature": 4.0, "weight": 0.9, "accuracy": 0.5}])
      Soft(temperature=4.0, weight=0.9)
    """
    best = max(choices, key=lambda each: each["accuracy"])
    return Soft(best["temperature"], best["weight"])


def measure(options: argparse.Namespace, soft: Soft, seed: int) -> dict[str, Any]:
    """Accuracy of the teacher and of both students, and their paired differences."""
    parts = splits(options.data)
    images, order = parts["train"], tuning_seed(SHARE, seed)
    teacher = the_teacher(images, seed, options.trained)
    _, start = cut(teacher, images, SHARE, seed)
    students = {
        "labels": fitted(start, images, AGAIN, order),
        "soft targets": taught(start, teacher, soft, images, order),
    }
    models = {"teacher": (teacher.fn, teacher.params)}
    models |= {name: (start.fn, params) for name, params in students.items()}
    one = images.images[:1]
    return {
        "macs": {name: macs(*model, one) for name, model in models.items()},
        **{part: judged(models, each) for part, each in held_out(parts).items()},
    }


def judged(models: dict[str, tuple[Model, Params]], images: Images) -> dict[str, Any]:
    """Accuracy of every model, and soft targets compared with labels alone."""
    found = {
        name: jc.validate.evaluate(fn, params, images.images, images.labels)
        for name, (fn, params) in models.items()
    }
    return {
        "accuracy": {name: evaluation.accuracy for name, evaluation in found.items()},
        "difference": jc.validate.compare(found["labels"], found["soft targets"]).to_json(),
        "right": {
            name: "".join("01"[int(right)] for right in evaluation.correct)
            for name, evaluation in found.items()
        },
    }


def main() -> None:
    """Chooses, runs every seed that has no record yet, then prints means over seeds."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--trained", type=pathlib.Path, help="folder of trained teachers")
    options = parser.parse_args()
    record = functools.partial(runner.record, "distilled_removal", out=options.out)
    shared = of_removal() | {"shares": [SHARE]}
    tried = {"tried": [soft._asdict() for soft in TRIED], "chosen_at": CHOSEN_AT}
    first = record(functools.partial(choice, options, 0), settings=shared | tried, seed=0)
    soft = chosen(first["figures"]["chosen by"])
    print(soft)
    records = [
        record(
            functools.partial(measure, options, soft, seed),
            settings=shared | soft._asdict(),
            seed=seed,
        )
        for seed in options.seeds
    ]
    for part in ("further", "test"):
        accuracies = [each["figures"][part]["accuracy"] for each in records]
        for name in accuracies[0]:
            found = runner.summary([each[name] for each in accuracies])
            print(f"{part}, {name}: {found.mean:.2%} ± {found.standard_error:.2%}")
        found = runner.summary([each["soft targets"] - each["labels"] for each in accuracies])
        print(f"{part}, difference: {found.mean:+.2%} [{found.low:+.2%}, {found.high:+.2%}]")


if __name__ == "__main__":
    main()
