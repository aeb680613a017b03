"""What a ResNet of a quarter of the weights learns from a whole one, by seven losses.

    python -m benchmarks.distilled_resnet [--seeds 0 1 2] [--methods labels answers]
        [--part validation] [--trained DIR] [--data DIR]

The teacher is the network of `benchmarks.structured_resnet`, the student has half of
its channels. All students get the same epochs, images and augmentation; each loss is
added to the cross-entropy with its source's weight. The subset of CIFAR-10 has 20,000
training images. The first 2,500 validation images are for choices, accuracy is told on
the other 2,500 and on the 1,000 test images, which are opened once per seed and method,
as paired differences from the student on labels alone.
"""

import argparse
import functools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

import jaxcompress as jc
from benchmarks import runner
from benchmarks.removal import Training, train
from benchmarks.structured_resnet import DENSE, WIDTHS, ResNet, augmented, bridged, fitted, splits
from jaxcompress.bridges.functional import Functional
from jaxcompress.core.types import Array, Key, Params
from jaxcompress.demo.data import Images

NARROW = tuple(width // 2 for width in WIDTHS)
AGAIN = Training(epochs=16, learning_rate=4e-3)
TEMPERATURE, NEGATIVES, CHOSEN_BY = 4.0, 2048, 2500
MIDDLE, LAST = "Block_2/Conv_0/kernel", "Dense_0/kernel"
CAPTURED = jc.Rules(dict.fromkeys(("Block_1/Conv_0/kernel", MIDDLE, LAST), jc.graph.inputs))
"""What goes into the second block, into the third, and into the last layer."""

outputs, features, relations = jc.distill.outputs, jc.distill.features, jc.distill.relations
HINTS = features.projected()
CONTRAST = relations.contrastive(negatives=NEGATIVES)


class Seen(NamedTuple):
    """What a loss gets.

    Attributes:
      student: logits (batch, 10).
      teacher: the same of the teacher.
      inside: by site the student's features.
      outside: by site the teacher's.
      labels: (batch,).
      learned: parameters of the loss, {} for most.
      bank: the state of the loss, {} for most.
      indices: (batch,) which training images these are.
      key: for losses that draw.
    """

    student: Array
    teacher: Array
    inside: dict[str, Array]
    outside: dict[str, Array]
    labels: Array
    learned: Params
    bank: Params
    indices: Array
    key: Key


Method = Callable[[Seen], tuple[Array, Params]]
"""What was seen to the loss of each image, and the next bank."""


def on_labels(seen: Seen) -> tuple[Array, Params]:
    """Cross-entropy alone."""
    return outputs.hard_targets(seen.student, seen.labels), seen.bank


def on_answers(seen: Seen) -> tuple[Array, Params]:
    """Hinton's loss, nine parts to one of labels."""
    soft = outputs.soft_targets(seen.student, seen.teacher, temperature=TEMPERATURE)
    return jc.distill.mix(on_labels(seen)[0], soft, weight=0.9), seen.bank


def decoupled(seen: Seen) -> tuple[Array, Params]:
    """DKD, its weight 2 for teacher and student of one family."""
    soft = outputs.decoupled_targets(
        seen.student, seen.teacher, seen.labels, weight=2.0, temperature=TEMPERATURE
    )
    return on_labels(seen)[0] + soft, seen.bank


def correlated(seen: Seen) -> tuple[Array, Params]:
    """DIST, both of its parts with the weight 2."""
    between = outputs.inter_class_relation(seen.student, seen.teacher)
    within = outputs.intra_class_relation(seen.student, seen.teacher)
    return on_labels(seen)[0] + 2 * (between + within), seen.bank


def attention(seen: Seen) -> tuple[Array, Params]:
    """Attention transfer before the second and the third block."""
    loss = on_labels(seen)[0]
    for name, maps in seen.inside.items():
        if name != LAST:
            positions = maps.shape[1] * maps.shape[2]
            each = features.attention_transfer(maps, seen.outside[name])
            loss += 500 * each / positions
    return loss, seen.bank


def hints(seen: Seen) -> tuple[Array, Params]:
    """Features before the third block behind a learned projection, and answers."""
    own, other = seen.inside[MIDDLE], seen.outside[MIDDLE]
    return on_answers(seen)[0] + HINTS.loss(seen.learned, own, other), seen.bank


def contrastive(seen: Seen) -> tuple[Array, Params]:
    """CRD on what goes into the last layer, its weight 0.8."""
    own, other = seen.inside[LAST], seen.outside[LAST]
    bank = relations.Bank(seen.bank["student"], seen.bank["teacher"])
    each, bank = CONTRAST.loss(seen.learned, own, other, bank, seen.indices, seen.key)
    return on_labels(seen)[0] + 0.8 * each, bank._asdict()


METHODS: dict[str, Method] = {
    "labels": on_labels,
    "answers": on_answers,
    "decoupled answers": decoupled,
    "correlated answers": correlated,
    "attention transfer": attention,
    "hints and answers": hints,
    "contrastive": contrastive,
}


def beside(method: Method, student: dict, teacher: dict, examples: int) -> dict[str, Params]:
    """The parameters and the state of a loss, from shapes of features."""
    key, other = jax.random.split(jax.random.key(7))
    if method is hints:
        return {"learned": HINTS.init(key, student[MIDDLE], teacher[MIDDLE]), "bank": {}}
    if method is contrastive:
        learned = CONTRAST.init(key, student[LAST], teacher[LAST])
        return {"learned": learned, "bank": CONTRAST.bank(other, examples)._asdict()}
    return {"learned": {}, "bank": {}}


def taught(
    student: Functional, teacher: Functional, method: Method, images: Images, seed: int
) -> Params:
    """The student's params after training by a loss."""
    of_teacher = jc.graph.capture(teacher.fn, CAPTURED)
    x = images.images[:2]
    inside, outside = (
        jax.eval_shape(jc.graph.capture(each.fn, CAPTURED), each.params, x)[1]
        for each in (student, teacher)
    )

    def objective(tree: Params, batch: tuple, key: Key) -> tuple[Array, Params]:
        x, labels, indices = batch
        augmenting, drawing, training = jax.random.split(key, 3)
        x = augmented(x, augmenting)
        own = jc.graph.capture(
            lambda params, x: student.train_fn(params, x, key=training), CAPTURED
        )
        (logits, after), inside = own(tree["model"], x)
        answers, outside = of_teacher(jax.lax.stop_gradient(teacher.params), x)
        loss, bank = method(
            Seen(
                logits,
                answers,
                inside,
                outside,
                labels,
                tree["learned"],
                tree["bank"],
                indices,
                drawing,
            )
        )
        return loss.mean(), {"model": after, "learned": tree["learned"], "bank": bank}

    tree = {"model": student.params} | beside(method, inside, outside, len(images))
    data = images.images, images.labels, np.arange(len(images))
    fixed = jc.matching("model/batch_stats/*")
    if tree["bank"]:
        fixed = jc.matching("model/batch_stats/*", "bank/*")
    return train(objective, tree, data, AGAIN, seed=seed, trainable=jc.none_of(fixed))["model"]


def network(widths: tuple[int, ...], images: Images, seed: int) -> tuple[ResNet, Params]:
    """A network and its random variables."""
    found = ResNet(widths[0], tuple((width, width) for width in widths))
    return found, found.init(jax.random.key(seed), images.images[:1], train=False)


def the_teacher(images: Images, seed: int, folder: pathlib.Path | None) -> Functional:
    """The teacher of a seed, from the folder where an earlier run has left it."""
    module, variables = network(WIDTHS, images, seed)
    path = None if folder is None else folder / f"resnet{seed}.safetensors"
    if path is not None and path.exists():
        return bridged(module, jc.storage.load(path, like=variables))
    params = fitted(bridged(module, variables), images, DENSE, seed)
    if path is not None:
        jc.storage.save(path, params)
    return bridged(module, params)


def held_out(parts: dict[str, Images]) -> dict[str, Images]:
    """Images to choose by, further validation images, and those of the test."""
    validation = parts["val"]
    return {
        "chosen by": validation[:CHOSEN_BY],
        "further": validation[CHOSEN_BY:],
        "test": parts["test"],
    }


def measure(options: argparse.Namespace, name: str, seed: int) -> dict[str, Any]:
    """Accuracy of the student, and which answers are right."""
    parts = splits(options.data)
    teacher = the_teacher(parts["train"], seed, options.trained)
    student = bridged(*network(NARROW, parts["train"], 100 + seed))
    params = taught(student, teacher, METHODS[name], parts["train"], 200 + seed)
    judging = held_out(parts)
    if options.part == "validation":
        judging = {"chosen by": judging["chosen by"]}
    found = {}
    for part, images in judging.items():
        models = {"teacher": teacher.params, "student": params}
        fns = {"teacher": teacher.fn, "student": student.fn}
        each = {
            who: jc.validate.evaluate(fns[who], tree, images.images, images.labels)
            for who, tree in models.items()
        }
        found[part] = {who: evaluation.accuracy for who, evaluation in each.items()}
        found[part]["right"] = "".join("01"[int(right)] for right in each["student"].correct)
    return found


def main() -> None:
    """Runs what has no record yet, then prints means and differences over seeds."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=range(3))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--part", choices=("validation", "test"), default="test")
    parser.add_argument("--trained", type=pathlib.Path, help="folder of trained teachers")
    options = parser.parse_args()
    if options.trained is not None:
        options.trained.mkdir(parents=True, exist_ok=True)
    settings = {
        "widths": [WIDTHS, NARROW],
        "dense": DENSE._asdict(),
        "again": AGAIN._asdict(),
        "temperature": TEMPERATURE,
        "negatives": NEGATIVES,
        "part": options.part,
    }
    runs = {
        name: [
            runner.record(
                "distilled_resnet",
                functools.partial(measure, options, name, seed),
                settings=settings | {"method": name},
                seed=seed,
                out=options.out,
            )
            for seed in options.seeds
        ]
        for name in options.methods
    }
    for part in runs[options.methods[0]][0]["figures"]:
        plain = accuracies(runs.get("labels", []), part)
        for name, records in runs.items():
            own = accuracies(records, part)
            told = f"{part:10} {name:22} {runner.summary(own).mean:.2%}"
            if plain and name != "labels":
                gain = runner.summary([a - b for a, b in zip(own, plain, strict=True)])
                told += f", {100 * gain.mean:+.2f} [{100 * gain.low:+.2f}, {100 * gain.high:+.2f}]"
            print(told)


def accuracies(records: list[dict[str, Any]], part: str) -> list[float]:
    """Of the students, one for each seed."""
    return [run["figures"][part]["student"] for run in records]


if __name__ == "__main__":
    main()
