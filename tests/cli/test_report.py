"""`report`: one page about a folder of results."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

import jaxcompress as jc
from jaxcompress import cli
from jaxcompress.report import save_card
from jaxcompress.validate import Card, compare, evaluate

LABELS = np.arange(40, dtype=np.int32) % 4


def evaluation(scale: float, wrong: int = 0):
    """Of a model that has all but the first few right."""
    answers = np.where(np.arange(40) < wrong, (LABELS + 1) % 4, LABELS)
    logits = scale * np.eye(4, dtype=np.float32)[answers]
    return evaluate(lambda params, x: x @ params, logits, np.eye(40, dtype=np.float32), LABELS)


@pytest.fixture
def folder(tmp_path):
    """Two models, evaluations of both, their comparison, a card, and something else."""
    place = tmp_path / "results"
    place.mkdir()
    params = {"kernel": jnp.linspace(-1, 1, 256).reshape(16, 16)}
    small, _ = jc.quantize.quantize(params, jc.quantize.int8())
    jc.storage.save(place / "dense.safetensors", params)
    jc.storage.save(place / "int8.safetensors", small)
    save_file({"other.weight": np.ones(3)}, place / "foreign.safetensors")
    dense, int8 = evaluation(9.0), evaluation(8.0, wrong=3)
    for name, record in {
        "dense": dense.to_json(),
        "int8": int8.to_json(),
        "pair": compare(dense, int8).to_json(),
        "settings": {"seed": 3},
    }.items():
        (place / f"{name}.json").write_text(json.dumps(record))
    save_card(Card("Digits"), place)
    for ending in ("html", "md"):
        (place / f"card.{ending}").unlink()
    return place


def test_the_page_tells_what_is_in_the_folder(folder, capsys):
    before = {path.name for path in folder.iterdir()}
    assert cli.main(["report", str(folder), "--reference", "dense", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["read"]) == before - {"settings.json"}
    assert told["left_out"] == {"settings.json": "it holds no results that are known."}
    after = {path.name for path in folder.iterdir()}
    assert after - before == {"report.html", "card.html", "card.md"}
    page = (folder / "report.html").read_text(encoding="utf-8")
    for text in (
        "37",
        "−7.50",
        "0.25",
        "foreign.safetensors",
        "pair.json",
        "settings.json",
        "<svg",
    ):
        assert text in page, text
    for name in ("dense", "int8"):
        assert f"{(folder / f'{name}.safetensors').stat().st_size:,}" in page
    verdict = compare(evaluation(9.0), evaluation(8.0, wrong=3)).verdict
    # Under the headline, on the model's card, in the table, of the comparison's file.
    assert page.replace("\N{NO-BREAK SPACE}", " ").count(verdict) == 4
    assert "-7.50" not in page


def test_it_is_written_again_alike_and_elsewhere(folder, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert cli.main(["report", str(folder)]) == 0
    first = (folder / "report.html").read_bytes()
    assert "not read: settings.json" in capsys.readouterr().out
    out.write_text("old")
    assert cli.main(["report", str(folder), "--out", str(out)]) == 0
    assert out.read_bytes() == first


def refused(words: list, capsys) -> str:
    assert cli.main(["report", *map(str, words)]) == 1
    return capsys.readouterr().err


def test_what_is_no_folder_of_results_is_refused(folder, tmp_path, capsys):
    assert "there is no folder" in refused([tmp_path / "missing"], capsys)
    assert "is a file. Name the folder" in refused([folder / "pair.json"], capsys)
    (tmp_path / "empty").mkdir()
    assert "nothing in" in refused([tmp_path / "empty"], capsys)
    assert not list((tmp_path / "empty").iterdir())
    told = refused([folder, "--reference", "int4"], capsys)
    assert "is no evaluation" in told
    assert "dense, int8" in told
    for name in ("dense", "int8"):
        (folder / f"{name}.json").unlink()
    assert "It holds none: leave --reference out." in refused([folder, "--reference", "x"], capsys)
    assert "there is no folder" in refused([folder, "--out", tmp_path / "a" / "b.html"], capsys)


def changed(name: str, **fields) -> str:
    """The record of a comparison or evaluation with other values in some fields."""
    ends = {"accuracy_interval": [0, 0], "accuracy_difference": 0, "mcnemar_p": 1, "n": 1}
    whole = {
        "dense.json": {"scores": {}, "fingerprints": [], "target_fingerprints": []},
        "pair.json": ends | {"verdict": "same"},
    }[name]
    return json.dumps(whole | fields)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("dense.json", "{", "it is not JSON"),
        (
            "dense.json",
            changed("dense.json", scores={"loss": {}}),
            "not as it was written: 'value'",
        ),
        ("dense.json", changed("dense.json", scores=None), "it is not as it was written"),
        ("dense.json", changed("dense.json", fingerprints=None), "it is not as it was written"),
        ("pair.json", changed("pair.json", mcnemar_p=None), "'mcnemar_p' is null"),
        ("card.json", '{"title": 3}', "it is not as it was written"),
        ("card.json", "[]", "it is not as it was written"),
    ],
)
def test_a_damaged_record_is_listed_and_the_rest_is_told(name, content, said, folder, capsys):
    (folder / name).write_text(content)
    assert cli.main(["report", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert said in told["left_out"][name]
    assert name not in told["read"]
    assert {"dense.safetensors", "int8.json"} <= set(told["read"])
    assert f"{name}: it is not" in (folder / "report.html").read_text(encoding="utf-8")


def test_a_folder_of_damaged_records_alone_is_refused_and_nothing_is_written(tmp_path, capsys):
    (tmp_path / "dense.json").write_text("{")
    assert "can be reported. It reads" in (told := refused([tmp_path], capsys))
    assert "dense.json: it is not JSON" in told
    assert [each.name for each in tmp_path.iterdir()] == ["dense.json"]


def test_a_damaged_model_is_listed_and_the_rest_is_told(folder, capsys):
    path = folder / "int8.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert cli.main(["report", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "truncated" in told["left_out"]["int8.safetensors"]
    assert "int8.safetensors" not in told["read"]
    assert "truncated" in (folder / "report.html").read_text(encoding="utf-8")


def test_files_of_an_index_count_once(tmp_path, capsys):
    jc.storage.save_shards(
        tmp_path / "model.safetensors.index.json", {"a": np.ones(9), "b": np.ones(9)}
    )
    assert cli.main(["report", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["read"] == ["model.safetensors.index.json"]
