"""The demo over seeds: bytes of each file, and its accuracy against the dense model's.

    python -m benchmarks.demo [--seeds 5] [--linen] [--data DIR]

One process per seed, since a run holds what it compiled.
"""

import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile

from benchmarks import plots, runner
from jaxcompress.demo.recipe import Recipe


def measure(recipe: Recipe, data: pathlib.Path | None) -> dict:
    """The figures of one run of the `jaxcompress demo` command."""
    with tempfile.TemporaryDirectory() as scratch:
        out = pathlib.Path(scratch)
        recipe.save(out / "asked.json")
        command = [sys.executable, "-m", "jaxcompress", "demo", "--out", str(out)]
        command += ["--recipe", str(out / "asked.json")]
        command += ["--data", str(data)] if data else []
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        report = json.loads((out / "report.json").read_text())
        on_disk = {path.name: path.stat().st_size for path in out.glob("*.safetensors")}
    return {
        "models": report["models"],
        "file_bytes": on_disk,
        "identical_in_a_fresh_process": report["identical_in_a_fresh_process"],
        "sensitivities": report["sensitivities"],
        "times": report["times"],
    }


def summarized(records: list[dict]) -> dict[str, dict]:
    """Per model, over seeds: file bytes, share of dense, accuracy and its change."""
    found = {}
    for name in records[0]["figures"]["models"]:
        models = [record["figures"]["models"][name] for record in records]
        found[name] = {
            "file_bytes": runner.summary([m["file_bytes"] for m in models])._asdict(),
            "share_of_dense": runner.summary(
                [
                    m["file_bytes"] / record["figures"]["models"]["dense"]["size"]["dense"]
                    for m, record in zip(models, records, strict=True)
                ]
            )._asdict(),
            "accuracy": runner.summary([m["accuracy"] for m in models])._asdict(),
            "accuracy_difference": runner.summary(
                [m["comparison"]["accuracy_difference"] for m in models]
            )._asdict(),
        }
    return found


def picture(path: pathlib.Path, models: dict[str, dict]) -> None:
    """Bytes against the change of accuracy, with its interval over seeds, as a PNG."""
    points = {}
    for name in ("dense", *(name for name in models if name != "dense")):
        figures = models[name]
        change = figures["accuracy_difference"]
        ends = (100 * change[key] for key in ("mean", "low", "high"))
        points[name] = (figures["file_bytes"]["mean"], *ends)
    plots.sizes(path, points, change="change of test accuracy, points, 95 %")


def main() -> None:
    """Runs every seed that has no record yet, then prints and stores the summary."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--linen", action="store_true")
    parser.add_argument("--mnist", action="store_true", help="the MNIST files of --data")
    options = parser.parse_args()
    recipe = Recipe(framework="linen" if options.linen else "nnx")
    data = options.data / "mnist" if options.mnist else None
    name = "demo_mnist" if options.mnist else "demo"
    settings = {**dataclasses.asdict(recipe), "data": "mnist" if data else "digits"}
    del settings["seed"]
    records = [
        runner.record(
            name,
            lambda seed=seed: measure(dataclasses.replace(recipe, seed=seed), data),
            settings=settings,
            seed=seed,
            out=options.out,
        )
        for seed in range(options.seeds)
    ]
    models = summarized(records)
    picture(options.out / f"{name}.png", models)
    for model, figures in models.items():
        size, share = figures["file_bytes"]["mean"], figures["share_of_dense"]["mean"]
        change = figures["accuracy_difference"]
        print(
            f"{model:28s} {size:10,.0f} bytes  {share:6.2%} of dense  "
            f"accuracy {figures['accuracy']['mean']:.2%}, change {100 * change['mean']:+.2f} "
            f"[{100 * change['low']:+.2f}, {100 * change['high']:+.2f}] points"
        )


if __name__ == "__main__":
    main()
