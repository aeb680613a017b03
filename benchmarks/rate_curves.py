"""What bytes buy: trained networks in fewer bits after training, by two methods.

    python -m benchmarks.rate_curves run [--nets GPT] [--seeds 0 1 2] [--trained DIR]
    python -m benchmarks.rate_curves show

The network of `benchmarks.structured_resnet` on the subset of CIFAR-10 and the
character transformer of `benchmarks.one_shot_gpt`: each matrix is rounded on training
data.
GPTQ gives codes of 4, 3 and 2 bits with a scale for each output; rate-distortion
rounding gets the bytes that each of these files takes and chooses its slope by them.
The same coders write all files, and a fresh process decodes each to the same outputs.
What was chosen was chosen by the first 2,500 validation images and by validation text.
Images and text to judge on were opened twice: the first figures showed that slopes in
raw output energy give up leaves with small outputs.
"""

import argparse
import functools
import itertools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

import jaxcompress as jc
from benchmarks import files, one_shot_gpt, plots, quantized_gpt, quantized_resnet, runner
from benchmarks.shakespeare import gpt, loss, text, windows
from benchmarks.structured_resnet import WIDTHS, ResNet, splits
from jaxcompress.core.types import Array, Model, Params
from jaxcompress.quantize.rounding import Rounding

BITS, TRIALS = (4, 3, 2), 6
SMALLEST = jc.storage.coders.SMALLEST
quantize = jc.quantize
GPTQ = quantize.rounding.gptq(ranges=quantize.ranges.mean_squared_error)


class Subject(NamedTuple):
    """A trained network and how it is judged.

    Attributes:
      answers: (params, inputs) to outputs.
      params: trained.
      batches: of training data, on which weights are rounded.
      chosen: which leaves get codes, by the format.
      judge: (model, params) to figures by name, the first of which is drawn.
    """

    answers: Model
    params: Params
    batches: list[Array]
    chosen: Callable[[jc.QuantSpec], Any]
    judge: Callable[[Model, Params], dict[str, float]]


def resnet(params: Params, images: Array) -> Any:
    """Logits of the network on CIFAR-10: (n, 32, 32, 3) to (n, 10)."""
    network = ResNet(WIDTHS[0], tuple((width, width) for width in WIDTHS))
    return network.apply(params, images, train=False)


def resnet_subject(options: argparse.Namespace, seed: int) -> Subject:
    """The network of a seed, judged on images that nothing was chosen by."""
    parts = splits(options.data)
    params = quantized_resnet.trained(parts, seed, options.trained).params
    seen = parts["train"].images[: quantized_resnet.CALIBRATION]
    batches = np.split(seen, len(seen) // quantized_resnet.BATCH)
    first = slice(None, quantized_resnet.CHOSEN_BY)
    judging = parts["val"][first] if options.part == "validation" else parts["test"]

    def judge(fn: Model, params: Params) -> dict[str, float]:
        found = jc.validate.evaluate(fn, params, judging.images, judging.labels)
        return {"error": 1 - found.accuracy}

    return Subject(
        resnet, params, [jnp.asarray(each) for each in batches], lambda spec: spec, judge
    )


def gpt_subject(options: argparse.Namespace, seed: int) -> Subject:
    """The transformer of a seed; the tables of characters and places stay whole."""
    params, parts = one_shot_gpt.trained(options.data, seed, options.trained), text(options.data)
    seen = windows(parts.train, one_shot_gpt.CALIBRATION)[:, :-1]
    batches = np.split(seen, len(seen) // one_shot_gpt.BATCH)
    held_out = jnp.asarray(windows(getattr(parts, options.part), one_shot_gpt.JUDGED))

    def judge(fn: Model, params: Params) -> dict[str, float]:
        del fn
        return {"loss": float(jc.materialized(loss)(params, held_out))}

    return Subject(
        gpt, params, [jnp.asarray(each) for each in batches], quantized_gpt.of_matrices, judge
    )


NETS = {"ResNet": resnet_subject, "GPT": gpt_subject}


def rounded(subject: Subject, spec: jc.QuantSpec, rounding: Rounding) -> Params:
    """The params with codes, matrix after matrix on the inputs that it meets."""
    chosen = subject.chosen(spec)
    return quantize.reconstruct(subject.answers, subject.params, subject.batches, chosen, rounding)[
        0
    ]


def within(subject: Subject, budget: int) -> Params:
    """Rate-distortion rounding at the slope whose file takes a budget of bytes."""

    @functools.cache
    def at(slope: float) -> Params:
        rounding = quantize.rounding.rate_distortion(slope)
        return rounded(subject, quantize.int8(per="tensor"), rounding)

    def size_at(slope: float) -> int:
        return jc.storage.size(at(slope), coders=SMALLEST).disk

    return at(quantize.rates.slope_for(budget, size_at, start=1e-6, trials=TRIALS))


def measure(options: argparse.Namespace, net: str, seed: int) -> dict[str, Any]:
    """Bytes and figures of the float model and of each method at each width."""
    subject = NETS[net](options, seed)
    models = {"float": subject.params}
    for bits in BITS:
        codes = rounded(subject, getattr(quantize.formats, f"int{bits}")(), GPTQ)
        budget = jc.storage.size(codes, coders=SMALLEST).disk
        models |= {f"int{bits}": codes, f"rate-distortion{bits}": within(subject, budget)}
    inputs = np.asarray(subject.batches[0])
    fn = jc.materialized(subject.answers)
    return {
        name: {"bytes": files.written(params, SMALLEST, subject.answers, inputs)}
        | subject.judge(fn, params)
        for name, params in models.items()
    }


def settings(net: str, part: str) -> dict[str, Any]:
    """All that a run depends on but the seed."""
    return {"net": net, "part": part, "bits": BITS, "trials": TRIALS}


def run(options: argparse.Namespace) -> None:
    """Every run that has no record yet."""
    for net, seed in itertools.product(options.nets, options.seeds):
        found = runner.record(
            "rate_curves",
            functools.partial(measure, options, net, seed),
            settings=settings(net, options.part),
            seed=seed,
            out=options.out,
        )["figures"]
        for name, figures in found.items():
            told = ", ".join(
                f"{key} {value:.4g}" for key, value in figures.items() if key != "bytes"
            )
            print(f"{net} {seed} {name:20} {figures['bytes']:9,} B {told}", flush=True)


METHODS = {"GPTQ, 2 to 4 bits": "int", "rate-distortion": "rate-distortion"}
"""By label in a picture the name in records, before the bits."""


def show(options: argparse.Namespace) -> None:
    """Means over seeds, and a picture of each net."""
    records = runner.read(options.out / "rate_curves.json")
    for net in options.nets:
        known = runner.json_text(settings(net, options.part))
        figures = [
            each["figures"] for each in records if runner.json_text(each["settings"]) == known
        ]
        if not figures:
            continue
        (judged,) = (key for key in figures[0]["float"] if key != "bytes")
        for name in figures[0]:
            size = runner.summary([each[name]["bytes"] for each in figures])
            value = runner.summary([each[name][judged] for each in figures])
            print(
                f"{net:8} {name:20} {size.mean:10,.0f} B "
                f"{judged} {value.mean:.4f} ± {value.standard_error:.4f} ({size.count} seeds)"
            )
        plots.curves(
            options.out / f"rate_curves_{net.lower()}.png",
            {
                label: drawn(figures, [f"{method}{bits}" for bits in BITS], judged)
                for label, method in METHODS.items()
            },
            x="kilobytes of the file",
            y=f"{net}: {judged}",
            level=float(np.mean([each["float"][judged] for each in figures])),
            logarithmic=net == "GPT",
        )


def drawn(
    figures: list[dict[str, Any]], names: list[str], judged: str
) -> tuple[np.ndarray, np.ndarray]:
    """Mean kilobytes (points,) and values (seeds, points)."""
    of = lambda key: np.array([[each[name][key] for name in names] for each in figures])  # noqa: E731
    return of("bytes").mean(0) / 1000, of(judged)


def main() -> None:
    """Runs or shows."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("run", "show"))
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=range(3))
    parser.add_argument("--part", choices=("validation", "test"), default="test")
    parser.add_argument("--trained", type=pathlib.Path, help="folder of trained params")
    options = parser.parse_args()
    {"run": run, "show": show}[options.what](options)


if __name__ == "__main__":
    main()
