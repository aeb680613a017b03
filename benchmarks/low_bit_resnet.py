"""What a small ResNet loses at 4 and 2 bits and at three levels when it is trained so.

    python -m benchmarks.low_bit_resnet [--seeds 0 1 2] [--data DIR] [--trained DIR]

The network and data of `benchmarks.structured_resnet`, a subset of CIFAR-10. Each form
begins with the trained floats and trains on for a few epochs; "float, trained on" is
the same without any rounding. Steps of weights and of data are learned (LSQ); the first
convolution and the last layer have 8 bits beside learned steps, and stay floats beside
ternary weights. Settings were chosen on the first 2,500 validation images of seed 0;
accuracy is told on the other 2,500 and on the 1,000 test images, opened once per seed,
with paired intervals to the float model.
"""

import argparse
import functools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

import jaxcompress as jc
from benchmarks import runner
from benchmarks.quantized_resnet import CHOSEN_BY, judged
from benchmarks.quantized_resnet import trained as trained_floats
from benchmarks.removal import Training, train
from benchmarks.structured_resnet import augmented, splits
from jaxcompress.bridges.functional import Functional
from jaxcompress.core.companions import Companion
from jaxcompress.core.formats.integers import Integers
from jaxcompress.core.formats.sharing import Channel
from jaxcompress.core.types import Array, Key, Model, Params, PyTree
from jaxcompress.demo.data import Images

quantize, training = jc.quantize, jc.quantize.training
TUNING = Training(epochs=6, learning_rate=2e-3, weight_decay=0.0)
STARTED = 512
"""Images from which ranges of data begin."""

FIRST, LAST, BLOCKS = "Conv_0/kernel", "Dense_0/kernel", "Block_*/kernel"
INT8, UINT8 = quantize.int8(), quantize.formats.uint8(per="tensor")
FOUR = Integers(4, -8, 7, symmetric=True)
TWO = Integers(2, -2, 1, symmetric=True)


class Form(NamedTuple):
    """How weights are trained, and by rules how data are; none of data for floats."""

    weights: Companion
    data: jc.Rules | None


def learned(levels: Integers, unsigned: jc.QuantSpec) -> Form:
    """Learned steps of weights and of data, which are not negative within blocks."""
    step = training.data.learned_step
    weights = {FIRST: INT8, LAST: INT8, BLOCKS: jc.QuantSpec(levels, Channel())}
    data = {
        FIRST: step(quantize.int8(per="tensor")),
        LAST: step(UINT8),
        BLOCKS: step(unsigned),
    }
    return Form(training.learned_steps(jc.Rules(weights)), jc.Rules(data))


INSIDE = jc.matching(BLOCKS)
FORMS: dict[str, Form] = {
    "W4A4": learned(FOUR, quantize.formats.uint4(per="tensor")),
    "W2A2": learned(TWO, quantize.formats.uint2(per="tensor")),
    "TTQ": Form(training.trained_ternary(select=INSIDE), None),
    "TWN": Form(training.ternary_weights(select=INSIDE), None),
}


def begun(form: Form, dense: Functional, images: Array) -> tuple[PyTree, Callable]:
    """What is trained, and (function, trained, x) to its outputs."""
    weights = form.weights.init(dense.params)
    if form.data is None:
        return {"model": dense.params, "weights": weights, "data": {}}, plainly(form)
    seen = form.weights.view(dense.params, weights)
    ranges = training.learned_activations(dense.fn, form.data).init(seen, images)
    return {"model": dense.params, "weights": weights, "data": ranges}, on_codes(form)


def plainly(form: Form) -> Callable:
    """The model on weights as training sees them."""

    def model(fn: Callable, trained: PyTree, x: Array) -> PyTree:
        return fn(form.weights.view(trained["model"], trained["weights"]), x)

    return model


def on_codes(form: Form) -> Callable:
    """The same on data in codes."""

    def model(fn: Callable, trained: PyTree, x: Array) -> PyTree:
        params = form.weights.view(trained["model"], trained["weights"])
        return training.learned_activations(fn, form.data).model(params, trained["data"], x)

    return model


def tuned(model: Callable, start: PyTree, dense: Functional, images: Images, seed: int) -> PyTree:
    """What is trained, after the epochs of tuning."""

    def objective(trained: PyTree, batch: tuple, key: Key) -> tuple[Array, PyTree]:
        x, labels = batch
        logits, after = model(
            lambda params, x: dense.train_fn(params, x, key=key), trained, augmented(x, key)
        )
        statistics = {"batch_stats": after["batch_stats"]}
        loss = jc.distill.outputs.hard_targets(logits, labels).mean()
        return loss, trained | {"model": trained["model"] | statistics}

    trainable = jc.none_of(jc.matching("model/batch_stats/*"))
    data = images.images, images.labels
    return train(objective, start, data, TUNING, seed=seed, trainable=trainable)


def shipped(form: Form, trained: PyTree, dense: Functional) -> tuple[Model, Params]:
    """The model and params that are shipped."""
    fn = jc.materialized(dense.fn)
    if form.data is not None:
        frozen = training.learned_activations(dense.fn, form.data).freeze(trained["data"])
        fn = quantize.fake_quantize_activations(fn, frozen)
    return fn, form.weights.freeze(trained["model"], trained["weights"])


def measure(options: argparse.Namespace, name: str, seed: int) -> dict[str, Any]:
    """Accuracy of the float model and of a form, on images never chosen by."""
    parts = splits(options.data)
    dense = trained_floats(parts, seed, options.trained)
    images = parts["train"]
    if name == FLOAT:
        start = {"model": dense.params}
        model = lambda fn, trained, x: fn(trained["model"], x)  # noqa: E731
        found = dense.fn, tuned(model, start, dense, images, 100 + seed)["model"]
    else:
        form = FORMS[name]
        start, model = begun(form, dense, jnp.asarray(images.images[:STARTED]))
        found = shipped(form, tuned(model, start, dense, images, 100 + seed), dense)
    validation = parts["val"]
    judging = {
        "chosen by": Images(validation.images[:CHOSEN_BY], validation.labels[:CHOSEN_BY]),
        "further": Images(validation.images[CHOSEN_BY:], validation.labels[CHOSEN_BY:]),
        "test": parts["test"],
    }
    if options.choosing:
        judging = {"chosen by": judging["chosen by"]}
    models = {"float": (dense.fn, dense.params), name: found}
    figures = {part: judged(models, each) for part, each in judging.items()}
    size = jc.storage.size(found[1], coders=jc.storage.coders.SMALLEST).disk
    accuracies = {part: each[name]["accuracy"] for part, each in figures.items()}
    print(name, seed, accuracies, size, flush=True)
    return {**figures, "file_bytes": size}


FLOAT = "float, trained on"
NAMES = (FLOAT, *FORMS)


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The records of all forms and seeds, those that are there already as they are."""
    return [
        runner.record(
            "low_bit_resnet",
            functools.partial(measure, options, name, seed),
            settings={"form": name, "tuning": TUNING._asdict()},
            seed=seed,
            out=options.out,
        )
        for seed in options.seeds
        for name in options.forms
    ]


def main() -> None:
    """Runs what has no record yet, then prints means over seeds."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--forms", nargs="+", default=list(NAMES), choices=NAMES)
    parser.add_argument("--trained", type=pathlib.Path, help="folder of trained params")
    parser.add_argument("--choosing", action="store_true", help="leave what is told unopened")
    options = parser.parse_args()
    records = run(options)
    for part in ("chosen by",) if options.choosing else ("further", "test"):
        for name in ("float", *options.forms):
            own = [each["figures"][part] for each in records]
            found = [each[name]["accuracy"] for each in own if name in each]
            mean = runner.summary(found)
            print(f"{part:8} {name:20} {mean.mean:.2%} ± {mean.standard_error:.2%}")


if __name__ == "__main__":
    main()
