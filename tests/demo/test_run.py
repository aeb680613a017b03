import hashlib
import json
import pathlib

import jax
import numpy as np
import pytest

from jaxcompress import cli, report, validate
from jaxcompress.core.names import named_leaves
from jaxcompress.demo import page, proof, run, table
from jaxcompress.demo.models import Architecture, network
from jaxcompress.demo.recipe import Recipe
from jaxcompress.report.units import unbroken
from tests import commands
from tests.demo import files

SMALL = Recipe(
    widths=(16, 16, 64),
    student_widths=(16, 16, 64),
    dense_steps=3,
    prune_steps=3,
    distill_steps=3,
    combined_steps=3,
)
CODED = ["deep compression", "rate-distortion"]
"""Variants whose files are entropy coded."""
NAMES = [
    *("dense", "int8", "int4", "pruned + int8"),
    *CODED,
    *("distilled", "distilled + pruned + int4"),
]


def architecture(framework: str, size: int = 8) -> Architecture:
    return Architecture(framework, (4, 8, 16), (size, size, 1), 10)


@pytest.mark.parametrize("size", [8, 28])
def test_both_frameworks_name_and_shape_their_leaves_alike(size):
    shapes = []
    for framework in ("nnx", "linen"):
        model = network(architecture(framework, size), seed=0)
        leaves = named_leaves(model.params)
        shapes.append({name.removeprefix("batch_stats/"): x.shape for name, x in leaves.items()})
        x = np.zeros((2, size, size, 1), np.float32)
        assert model.fn(model.params, x).shape == (2, 10)
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("image", [(8, 8, 1), (28, 28, 1)])
def test_the_dense_model_has_the_promised_size(image):
    recipe = Recipe()
    for framework in ("nnx", "linen"):
        params = network(Architecture(framework, recipe.widths, image, 10), seed=0).params
        assert 100_000 <= sum(leaf.size for leaf in jax.tree.leaves(params)) <= 500_000


def digits(out: pathlib.Path):
    """A small recipe on the bundled digits, in NNX."""
    pytest.importorskip("sklearn")
    return run.run(SMALL, out=out)


def mnist(out: pathlib.Path):
    """README's command, in Linen, on files like those of MNIST, with a small recipe."""
    SMALL.save(out.parent / "small.json")
    data = files.write(out.parent)
    line = commands.starting("README.md", ".venv/bin/jaxcompress demo")
    words = commands.filled(line, DIR=data, OUT=out)[1:]
    assert "--linen" in words
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "run", lambda *args, run=run.run, **kw: found.append(run(*args, **kw)))
        assert cli.main([*words, "--recipe", str(out.parent / "small.json")]) == 0
    return found[0]


@pytest.fixture(scope="module", params=[digits, mnist])
def results(request, tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proof, "ROUNDS", 2)
        return request.param(out), out


@pytest.mark.slow
def test_files_of_mnist_serve_nnx_too(tmp_path):
    data = files.write(tmp_path)
    found = run.run(SMALL, out=tmp_path / "out", data=data)
    assert found.identical == dict.fromkeys(NAMES, True)


def test_every_promised_file_is_there(results):
    found, out = results
    names = {path.name for path in out.iterdir()}
    assert {"report.html", "report.json", "pareto.png", "recipe.json"} <= names
    assert {"card.html", "card.json", "card.md"} <= names
    assert {variant.file_name for variant in found.variants} <= names
    for variant in found.variants:
        path = out / variant.file_name
        assert path.stat().st_size == found.proofs[variant.name].file_bytes
        assert found.proofs[variant.name].size.disk == path.stat().st_size


def test_a_fresh_process_decodes_the_same_bits(results):
    found, _ = results
    assert found.identical == dict.fromkeys(NAMES, True)


def test_compressed_files_are_smaller(results):
    found, _ = results
    size = {name: found.proofs[name].file_bytes for name in NAMES}
    assert size["int8"] < size["dense"] / 3
    assert size["int4"] < size["int8"]
    assert size["pruned + int8"] < size["int8"]
    assert size["distilled + pruned + int4"] < size["int4"]


def test_entropy_coding_takes_off_bytes_at_each_stage(results):
    found, _ = results
    captions = " ".join(table.captions(found.to_json()))
    for name in CODED:
        stages = [*found.proofs[name].stage_bytes.values(), found.proofs[name].file_bytes]
        assert len(stages) == 3
        assert stages == sorted(stages, reverse=True)
        assert stages[-1] < found.proofs["pruned + int8"].file_bytes
        assert f"Bytes of {name}, stage by stage: pruned {stages[0]:,}, " in captions


def test_the_card_says_what_was_tested_and_what_was_not(results):
    found, out = results
    card = validate.Card.from_json(json.loads((out / "card.json").read_text()))
    assert card == found.card
    assert (out / "card.md").read_text() == card.to_markdown()
    assert [model.name for model in card.models] == NAMES
    for variant, model in zip(found.variants, card.models, strict=True):
        content = (out / variant.file_name).read_bytes()
        assert model.sha256 == hashlib.sha256(content).hexdigest()
        assert model.size_bytes == found.proofs[variant.name].file_bytes
    tested = {(finding.topic, finding.about) for finding in card.findings}
    for name in NAMES:
        for topic in ("held-out performance", "subgroups", "membership"):
            assert (topic, f"{name} on test") in tested
        compared = ("comparison with the original", f"{name} on test") in tested
        assert compared == (name != "dense")
    (apart,) = (finding for finding in card.findings if finding.topic == "data leakage")
    assert apart.verdict == "holds"
    not_tested = [topic.name for topic in card.not_tested]
    assert "external data" in not_tested
    assert "What was not tested" in (out / "card.html").read_text()


def test_the_report_says_what_was_not_compressed(results):
    found, out = results
    html = (out / "report.html").read_text()
    left_out = {name for names in page.left_out(found.to_json()).values() for name in names}
    assert f"{len(left_out)} leaves were not compressed, and why" in html
    for name in left_out:
        assert name.replace("/", "/<wbr>") in html
    figures = json.loads((out / "report.json").read_text())
    assert list(figures["models"]) == NAMES
    assert figures["models"]["dense"]["comparison"]["verdict"] == "no difference on these examples"
    assert Recipe.load(out / "recipe.json") == found.recipe


def test_the_report_begins_with_what_was_won_and_what_it_cost(results):
    found, out = results
    html = (out / "report.html").read_text()
    first = report.summary(page.variants(found.to_json()), examples="images")[0]
    _, _, begin = html.partition("</h1>")
    assert begin.lstrip().startswith(f'<p class="headline">{unbroken(first.text)}</p>')
    for name in NAMES:
        assert f"<h3>{name}</h3>" in html
        assert f"<summary>{name}, {found.proofs[name].file_bytes:,} bytes</summary>" in html
    assert "After this stage" in html


def test_inspect_describes_a_file(results, capsys):
    line = commands.starting("README.md", ".venv/bin/jaxcompress inspect")
    assert cli.main(commands.filled(line, OUT=results[1])[1:]) == 0
    assert "int8" in capsys.readouterr().out


def test_figures_repeat(results, tmp_path, monkeypatch):
    found, out = results
    if found.recipe.framework == "linen":
        pytest.skip("One framework is enough; the other takes as long again.")
    # Times do not repeat, so they are not measured again.
    monkeypatch.setattr(run, "latency", lambda variants, images: found.timings)
    run.run(found.recipe, out=tmp_path)
    first, again = (json.loads((folder / "report.json").read_text()) for folder in (out, tmp_path))
    for figures in (first, again):
        del figures["times"]
    assert first == again
    for variant in found.variants:
        assert (out / variant.file_name).read_bytes() == (tmp_path / variant.file_name).read_bytes()


def test_a_foreign_file_is_refused_with_a_message(tmp_path, capsys):
    path = pathlib.Path(tmp_path / "text.safetensors")
    path.write_text("hello")
    assert cli.main(["inspect", str(path)]) == 1
    assert str(path) in capsys.readouterr().err


def test_a_missing_data_folder_is_named(tmp_path, capsys):
    assert cli.main(["demo", "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "train-images-idx3-ubyte" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_command_report_tells_the_same_figures(results, tmp_path, capsys):
    found, out = results
    assert cli.main(["report", str(out), "--out", str(tmp_path / "page.html"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {"report.json", "card.json"} < set(told["read"])
    assert {variant.file_name for variant in found.variants} < set(told["read"])
    assert set(told["left_out"]) == {"recipe.json"}
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert html.startswith((out / "report.html").read_text("utf-8").partition("\n</main>")[0])
    for name, each in found.proofs.items():
        low, high = each.evaluation["accuracy"].interval()
        for text in (name, f"{each.file_bytes:,}", f"[{100 * low:.2f}, {100 * high:.2f}]"):
            assert text in html
        assert unbroken(each.comparison.verdict) in html or name == "dense"
    for variant in found.variants:
        for leaf in variant.report.leaves:
            assert leaf.name.replace("/", "/<wbr>") in html
    card = (out / "card.html").read_text(encoding="utf-8")
    assert card == report.card_page(found.card)
