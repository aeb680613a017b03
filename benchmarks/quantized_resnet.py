"""What a small ResNet loses when weights and data become 8 or 4 bits after training.

    python -m benchmarks.quantized_resnet [--seeds 0 1 2] [--data DIR]

The network and training of `benchmarks.structured_resnet` on the subset of CIFAR-10.
Weights are rounded layer by layer on training images; the data that meet them become
8-bit codes whose range, one for each layer, was calibrated on the same images. Choices
were made on the first 2,500 validation images; accuracy is told on the other 2,500 and
on the 1,000 test images, opened once per seed, with paired intervals.
"""

import argparse
import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp

import jaxcompress as jc
from benchmarks import runner
from benchmarks.structured_resnet import DENSE, WIDTHS, ResNet, bridged, fitted, splits
from jaxcompress.bridges.functional import Functional
from jaxcompress.core.types import Array, Model, Params
from jaxcompress.demo.data import Images
from jaxcompress.quantize.rounding import Rounding

CALIBRATION, BATCH, CHOSEN_BY = 2000, 250, 2500
quantize = jc.quantize
CHANNEL_8, CHANNEL_4 = quantize.int8(), quantize.int4()
NEAREST = quantize.rounding.nearest()
GPTQ = quantize.rounding.gptq(ranges=quantize.ranges.mean_squared_error)
FORMS = {
    "W8A8": (CHANNEL_8, NEAREST),
    "W4A8, nearest": (CHANNEL_4, NEAREST),
    "W4A8, gptq": (CHANNEL_4, GPTQ),
}


def trained(parts: dict[str, Images], seed: int, folder: pathlib.Path | None) -> Functional:
    """The network of a seed, from the folder where an earlier run has left it."""
    network = ResNet(WIDTHS[0], tuple((width, width) for width in WIDTHS))
    variables = network.init(jax.random.key(seed), parts["train"].images[:1], train=False)
    path = None if folder is None else folder / f"resnet{seed}.safetensors"
    if path is not None and path.exists():
        return bridged(network, jc.storage.load(path, like=variables))
    params = fitted(bridged(network, variables), parts["train"], DENSE, seed)
    if path is not None:
        jc.storage.save(path, params)
    return bridged(network, params)


def quantized(
    dense: Functional,
    batches: list[Array],
    spec: jc.QuantSpec,
    rounding: Rounding,
) -> tuple[Model, Params]:
    """The model on codes, and its params."""
    params, _ = quantize.reconstruct(dense.fn, dense.params, batches, spec, rounding)
    fn = jc.materialized(dense.fn)
    readings = jc.graph.calibrate(fn, params, batches, quantize.ranges.min_max())
    return quantize.fake_quantize_activations(fn, quantize.execution.static(readings)), params


def measure(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Accuracy of the float model and of every form, on images never chosen by."""
    parts = splits(options.data)
    dense = trained(parts, seed, options.trained)
    seen = parts["train"].images[:CALIBRATION]
    batches = [jnp.asarray(seen[i : i + BATCH]) for i in range(0, CALIBRATION, BATCH)]
    validation = parts["val"]
    judging = {
        "further": Images(validation.images[CHOSEN_BY:], validation.labels[CHOSEN_BY:]),
        "test": parts["test"],
    }
    models = {"float": (dense.fn, dense.params)}
    models |= {name: quantized(dense, batches, *form) for name, form in FORMS.items()}
    return {part: judged(models, images) for part, images in judging.items()}


def judged(models: dict[str, tuple[Model, Params]], images: Images) -> dict[str, Any]:
    """Accuracy of every model, beside that of the float one."""
    evaluations = {
        name: jc.validate.evaluate(fn, params, images.images, images.labels)
        for name, (fn, params) in models.items()
    }
    return {
        name: {
            "accuracy": each.accuracy,
            "difference": jc.validate.compare(evaluations["float"], each).to_json(),
        }
        for name, each in evaluations.items()
    }


def main() -> None:
    """Runs every seed that has no record yet, then prints means over seeds."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=range(3))
    parser.add_argument("--trained", type=pathlib.Path, help="folder of trained params")
    options = parser.parse_args()
    settings = {"widths": WIDTHS, "dense": DENSE._asdict(), "calibration": CALIBRATION}
    records = [
        runner.record(
            "quantized_resnet",
            functools.partial(measure, options, seed),
            settings=settings | {"forms": list(FORMS)},
            seed=seed,
            out=options.out,
        )
        for seed in options.seeds
    ]
    for part in ("further", "test"):
        for name in records[0]["figures"][part]:
            found = [record["figures"][part][name]["accuracy"] for record in records]
            mean = runner.summary(found)
            print(f"{part:8} {name:16} {mean.mean:.2%} ± {mean.standard_error:.2%}")


if __name__ == "__main__":
    main()
