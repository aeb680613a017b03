"""The order of the demo: data, training, variants, proof, table, files."""

import dataclasses
import json
import pathlib
import sys
import time

import jax

from jaxcompress import auto, quantize, report, validate
from jaxcompress.core.sensitivities import Sensitivities
from jaxcompress.core.timing import Timing
from jaxcompress.demo import fresh
from jaxcompress.demo.card import card
from jaxcompress.demo.data import Splits, bundled_digits, mnist_folder
from jaxcompress.demo.folder import whole
from jaxcompress.demo.plan import changed_groups, plan
from jaxcompress.demo.proof import LATENCY_BATCHES, Proof, judged, latency, prove
from jaxcompress.demo.recipe import Recipe
from jaxcompress.demo.variants import (
    Variant,
    Workshop,
    deep_compression,
    distilled,
    distilled_pruned_int4,
    int4_in_groups,
    int8_weights_and_activations,
    pruned,
    pruned_int8,
    rate_distortion,
    workshop,
)
from jaxcompress.report import Column, Table

COLUMNS = (
    Column("model", "model"),
    Column("file", "file", ",d"),
    Column("smaller", "smaller", ".1f"),
    Column("memory", "memory", ",d"),
    Column("peak", "peak", ",d"),
    Column("accuracy", "accuracy [95 %]"),
    Column("difference", "difference, points [95 %]"),
    Column("p", "McNemar p", ".2g"),
    *(Column(f"ms {batch}", f"ms, batch {batch}", ".3f") for batch in LATENCY_BATCHES),
    Column("verdict", "verdict"),
)


@dataclasses.dataclass(frozen=True)
class Results:
    """All results of the demo.

    Attributes:
      recipe: what was asked for.
      variants: the dense model first.
      proofs: the figures of each variant, by name.
      identical: whether each file gave the same bits in a fresh process, by name.
      timings: per batch size and variant name.
      sensitivities: of the dense model's leaves to 4 bits, most sensitive first.
      card: what was tested of each variant, and what was not.
    """

    recipe: Recipe
    variants: tuple[Variant, ...]
    proofs: dict[str, Proof]
    identical: dict[str, bool]
    timings: dict[int, dict[str, Timing]]
    sensitivities: Sensitivities
    card: validate.Card


def run(recipe: Recipe, *, out: pathlib.Path, data: pathlib.Path | None = None) -> Results:
    """Trains, compresses, proves, saves; prints one table and where the files are.

    Args:
      recipe: all choices.
      out: folder for the model files and reports, made where missing; after an error
        it is as it was.
      data: folder with the four MNIST files; without it the digits of scikit-learn.

    Returns:
      Results; the same seed gives the same ones, times aside.

    Raises:
      ImportError: scikit-learn or matplotlib is missing.
      ValueError: the data are not in the MNIST format, sets overlap, or a choice of the
        recipe does not fit the networks; before anything is trained.
      OSError: `out` cannot be written.
    """
    begin = time.perf_counter()
    if data is None:
        splits = bundled_digits(fractions=recipe.fractions, seed=recipe.seed)
        drawn = f"split at random by class with seed {recipe.seed}"
    else:
        splits = mnist_folder(data, seed=recipe.seed)
        drawn = f"as published; validation is a tenth of training, seed {recipe.seed}"
    planned = plan(recipe, splits)
    print(
        f"{splits.source}: {len(splits.train)} images to train on, {len(splits.validation)} to "
        f"validate, {len(splits.test)} to test; no image is in two sets."
    )
    for line in changed_groups(recipe, planned):
        print(line)
    with whole(out) as folder:
        shop = workshop(recipe, splits, planned)
        results = _results(shop, _variants(shop), drawn, folder)
        _write(results, splits, folder)
    table = results_table(results, splits)
    print()
    report.show(table, sys.stdout)
    took = time.perf_counter() - begin
    print(f"\nEverything is in {out}/: report.html, report.json, card.html, card.json, card.md,")
    print(f"pareto.png, recipe.json and the model files. It took {took:.0f} s.")
    return results


def results_table(results: Results, splits: Splits) -> Table:
    """The table that is printed, and stands in the report."""
    rows = [_row(variant, results) for variant in results.variants]
    title = f"{len(splits.test)} test images of {splits.source}, {results.recipe.framework}"
    return report.table(rows, columns=COLUMNS, title=title, captions=_captions(results))


def _variants(shop: Workshop) -> tuple[Variant, ...]:
    sparse, student = pruned(shop), distilled(shop)
    return (
        shop.dense,
        int8_weights_and_activations(shop),
        int4_in_groups(shop),
        pruned_int8(shop, sparse),
        deep_compression(shop, sparse),
        rate_distortion(shop, sparse),
        student,
        distilled_pruned_int4(shop, student),
    )


def _results(
    shop: Workshop, variants: tuple[Variant, ...], drawn: str, out: pathlib.Path
) -> Results:
    test, validation = shop.splits.test, shop.splits.validation
    dense = judged(variants[0], test)
    proofs = {v.name: prove(v, dense, test, out) for v in variants}
    return Results(
        recipe=shop.recipe,
        variants=variants,
        proofs=proofs,
        identical=fresh.check(list(variants), test.images, out),
        timings=latency(list(variants), test.images),
        sensitivities=auto.sensitivity(
            shop.model.fn,
            shop.model.params,
            quantize.int4(),
            validate.Examples(validation.images, validation.labels),
            axes=shop.axes,
        ),
        card=card(variants, proofs, shop.splits, drawn, out),
    )


def _row(variant: Variant, results: Results) -> dict:
    proof, dense = results.proofs[variant.name], results.proofs["dense"]
    comparison, (low, high) = proof.comparison, proof.evaluation["accuracy"].interval()
    against = variant.name != "dense"
    below, above = comparison.accuracy_interval
    times = {
        f"ms {batch}": 1e3 * timing[variant.name].median_seconds
        for batch, timing in results.timings.items()
    }
    return {
        "model": variant.name,
        "file": proof.file_bytes,
        "smaller": dense.size.dense / proof.file_bytes,
        "memory": proof.size.memory,
        "peak": proof.peak_bytes,
        "accuracy": f"{proof.evaluation.accuracy:.2%} [{low:.2%}, {high:.2%}]",
        "difference": f"{100 * comparison.accuracy_difference:+.2f} "
        f"[{100 * below:+.2f}, {100 * above:+.2f}]"
        if against
        else None,
        "p": comparison.mcnemar_p if against else None,
        "verdict": comparison.verdict if against else "the reference",
        **times,
    }


def _captions(results: Results) -> list[str]:
    """Notes that explain the figures, and what was not compressed."""
    wrong = [name for name, same in results.identical.items() if not same]
    identical = (
        "Every file was read in a fresh process and gave identical outputs."
        if not wrong
        else f"NOT identical in a fresh process: {', '.join(wrong)}."
    )
    worst = next(row for row in results.sensitivities if not row.reason)
    return [
        identical,
        "file, memory and peak are bytes; 'smaller' is the dense model at 4 bytes per number "
        "against the file; peak is that of a call on 64 images, where codes become arrays.",
        f"Times are medians of interleaved calls on {jax.devices()[0].device_kind}; sites where "
        "integers were measured to be slower run on arrays held in memory.",
        f"Most sensitive layer: {worst.name}, whose rounding to 4 bits alone changes the "
        f"validation loss by {worst.loss_increase:+.4f}.",
        *_stages(results),
        *_not_compressed(results),
    ]


def _stages(results: Results) -> list[str]:
    """One line for each variant whose file is entropy coded: bytes stage by stage."""
    lines = []
    for name, proof in results.proofs.items():
        if proof.stage_bytes:
            stages = proof.stage_bytes | {"entropy coded": proof.file_bytes}
            told = ", ".join(f"{stage} {count:,}" for stage, count in stages.items())
            lines.append(f"Bytes of {name}, stage by stage: {told}.")
    return lines


def _not_compressed(results: Results) -> list[str]:
    """One line per reason for which leaves stayed as they were."""
    reasons: dict[str, list[str]] = {}
    for variant in results.variants:
        for leaf in variant.report.kept:
            names = reasons.setdefault(leaf.reason, [])
            if leaf.name not in names:
                names.append(leaf.name)
    return [f"Not compressed ({reason}): {', '.join(names)}." for reason, names in reasons.items()]


def _write(results: Results, splits: Splits, out: pathlib.Path) -> None:
    points = [
        report.Point(
            name,
            proof.file_bytes,
            proof.evaluation.accuracy,
            *proof.evaluation["accuracy"].interval(),
        )
        for name, proof in results.proofs.items()
    ]
    picture = report.pareto(points, out / "pareto.png", title="Bytes against accuracy")
    results.recipe.save(out / "recipe.json")
    (out / "report.json").write_text(json.dumps(_json(results), indent=2) + "\n")
    sections = [
        results_table(results, splits),
        report.Picture(picture, "Bytes on disk against test accuracy", "Bars are 95 % intervals."),
        *_report_sections(results),
    ]
    page = report.page("jaxcompress: what compression cost", sections)
    (out / "report.html").write_text(page, encoding="utf-8")
    report.save_card(results.card, out)


def _report_sections(results: Results) -> list:
    sections: list = [report.Heading("How sensitive each layer is")]
    columns = [
        Column("name", "leaf"),
        Column("loss_increase", "loss increase", "+.4f"),
        Column("accuracy_change", "accuracy change", "+.2%"),
    ]
    rows = [
        {column.key: getattr(row, column.key) for column in columns}
        for row in results.sensitivities
    ]
    title = "Each leaf alone rounded to 4 bits, on the validation images"
    sections.append(report.table(rows, columns=columns, title=title))
    sections.append(report.Heading("What was done to each leaf"))
    for variant in results.variants:
        if variant.report.leaves:
            sections.append(report.Preformatted(f"{variant.name}\n{variant.report}"))
    return sections


def _json(results: Results) -> dict:
    return {
        "recipe": results.recipe.to_json(),
        "models": {name: proof.to_json() for name, proof in results.proofs.items()},
        "identical_in_a_fresh_process": results.identical,
        "sensitivities": [row._asdict() for row in results.sensitivities],
        "leaves": {v.name: v.report.to_json() for v in results.variants},
        "times": {
            "device": jax.devices()[0].device_kind,
            "batches": {
                batch: {name: timing._asdict() for name, timing in timings.items()}
                for batch, timings in results.timings.items()
            },
        },
    }
