"""What a format for each leaf wins over one format for all, at equal bytes.

    python -m benchmarks.mixed_precision [--data DIR] [--seeds 0 1 2]

LeNet-5 on MNIST, quantized without training, a scale for each output. The file with
every weight in as many bits sets the budget in bytes; `mixed_precision` then chooses
among 2 to 8 bits for each of the four weights, by what each alone changes of the loss
on validation images, measured or predicted from curvature. Test images were opened
twice per seed: after the first figures fewer bits were made to count for no better than
more, as chance had chosen them.
"""

import functools
from typing import Any

import jax
import optax

import jaxcompress as jc
from benchmarks import runner
from benchmarks.lenets import NETS, cross_entropy, splits, trained
from jaxcompress.core.sensitivities import Sensitivities
from jaxcompress.core.types import Params
from jaxcompress.demo.data import Images

SEEDS, BITS, BUDGETS = (0, 1, 2), (8, 6, 5, 4, 3, 2), (4, 3)
SETTINGS = {"net": "LeNet-5", "epochs": 5, "rate": 1e-3, "batch": 100, "probes": 50, "curved": 500}
FORMATS = {bits: getattr(jc.quantize.formats, f"int{bits}")() for bits in BITS}
FN, INITIAL = NETS["LeNet-5"]


def file_bytes(tree: Params) -> int:
    """Bytes of the file that `save` writes."""
    return jc.storage.size(tree).disk


def judged(params: Params, images: Images) -> dict[str, float]:
    """Bytes of the file, loss and error."""
    found = jc.validate.evaluate(jc.materialized(FN), params, images.images, images.labels)
    return {
        "bytes": file_bytes(params),
        "loss": found.mean_loss,
        "error": 1 - found.accuracy,
    }


def tables(params: Params, images: Images, axes: jc.Axes) -> dict[str, Sensitivities]:
    """What each weight alone changes of the loss, measured and predicted."""
    specs = list(FORMATS.values())
    examples = jc.validate.Examples(images.images, images.labels)
    some = images[: SETTINGS["curved"]]
    curvature = jc.auto.second_order(
        FN,
        params,
        jc.validate.cross_entropy,
        [(some.images, some.labels)],
        jax.random.key(0),
        probes=SETTINGS["probes"],
    )
    return {
        "measured": jc.auto.sensitivity(FN, params, specs, examples, axes=axes),
        "predicted": jc.auto.predicted_sensitivity(curvature, params, specs, axes=axes),
    }


def measure(data, seed: int) -> dict[str, Any]:
    """Bytes, losses and errors on the test images of one trained network."""
    sets = splits(data, seed)
    dense, _ = trained(
        cross_entropy(FN),
        INITIAL(seed),
        optax.adam(SETTINGS["rate"]),
        sets.train,
        epochs=SETTINGS["epochs"],
        batch_size=SETTINGS["batch"],
        border=0,
        seed=seed,
    )
    axes = jc.graph.axes(FN, dense, sets.validation.images[:1])
    known = tables(dense, sets.validation, axes)
    figures: dict[str, Any] = {"float": judged(dense, sets.test)}
    for bits in BUDGETS:
        uniform, _ = jc.quantize.quantize(dense, FORMATS[bits], axes=axes)
        budget = file_bytes(uniform)
        figures[f"{bits} bits, uniform"] = judged(uniform, sets.test)
        for name, table in known.items():
            chosen = jc.auto.mixed_precision(
                table, dense, list(FORMATS.values()), budget=budget, axes=axes, size=file_bytes
            )
            mixed, _ = jc.quantize.quantize(dense, chosen.rules, axes=axes)
            widths = {leaf.name: leaf.spec.bits for leaf in chosen.leaves if leaf.spec}
            figures[f"{bits} bits, {name}"] = judged(mixed, sets.test) | {"widths": widths}
    return figures


def main() -> None:
    """Every seed that has no record yet, then means over seeds."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    options = parser.parse_args()
    records = [
        runner.record(
            "mixed_precision",
            functools.partial(measure, options.data, seed),
            settings=SETTINGS | {"formats": list(BITS)},
            seed=seed,
            out=options.out,
        )
        for seed in options.seeds
    ]
    for name in records[0]["figures"]:
        means = {
            key: runner.summary([each["figures"][name][key] for each in records]).mean
            for key in ("bytes", "loss", "error")
        }
        print(f"{name:20} {means['bytes']:9,.0f} bytes, loss {means['loss']:.4f}, ", end="")
        print(f"error {means['error']:.2%}")


if __name__ == "__main__":
    main()
