"""The order of the demo: data, training, variants, proof, table, files."""

import json
import pathlib
import sys
import time

from jaxcompress import auto, quantize, report, storage, validate
from jaxcompress.demo import fresh
from jaxcompress.demo.card import card
from jaxcompress.demo.data import bundled_digits, mnist_folder
from jaxcompress.demo.folder import whole
from jaxcompress.demo.page import page, variants
from jaxcompress.demo.plan import changed_groups, plan
from jaxcompress.demo.proof import judged, latency, prove
from jaxcompress.demo.recipe import Recipe
from jaxcompress.demo.results import Results
from jaxcompress.demo.table import results_table
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
        _write(results, folder)
    print()
    report.show(results_table(results.to_json()), sys.stdout)
    took = time.perf_counter() - begin
    print(f"\nEverything is in {out}/: report.html, report.json, card.html, card.json, card.md,")
    print(f"pareto.png, recipe.json and the model files. It took {took:.0f} s.")
    return results


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


def _results(shop: Workshop, made: tuple[Variant, ...], drawn: str, out: pathlib.Path) -> Results:
    test, validation = shop.splits.test, shop.splits.validation
    dense = judged(made[0], test)
    proofs = {v.name: prove(v, dense, test, out) for v in made}
    return Results(
        title=f"{len(test)} test images of {shop.splits.source}, {shop.recipe.framework}",
        recipe=shop.recipe,
        variants=made,
        proofs=proofs,
        identical=fresh.check(list(made), test.images, out),
        timings=latency(list(made), test.images),
        sensitivities=auto.sensitivity(
            shop.model.fn,
            shop.model.params,
            quantize.int4(),
            validate.Examples(validation.images, validation.labels),
            axes=shop.axes,
        ),
        card=card(made, proofs, shop.splits, drawn, out),
    )


def _write(results: Results, out: pathlib.Path) -> None:
    record = results.to_json()
    points = [variant.point for variant in variants(record)]
    report.pareto(points, out / "pareto.png", title="Bytes against accuracy")
    results.recipe.save(out / "recipe.json")
    (out / "report.json").write_text(json.dumps(record, indent=2) + "\n")
    files = {v.file_name: storage.breakdown(out / v.file_name) for v in results.variants}
    html = report.page(record["title"], page(record, files))
    (out / "report.html").write_text(html, encoding="utf-8")
    report.save_card(results.card, out)
