"""What does not fit is found before anything is trained, and nothing is left behind."""

import importlib.util

import numpy as np
import pytest

from jaxcompress import cli
from jaxcompress.core.formats.sharing import Channel, Group
from jaxcompress.demo import plan, training
from jaxcompress.demo.data import Images, Splits
from jaxcompress.demo.recipe import Recipe
from jaxcompress.quantize import int4, int8
from tests.demo import files


def splits(*image: int, classes: int = 10) -> Splits:
    part = Images(np.zeros((classes, *image, 1), np.float32), np.arange(classes, dtype=np.int32))
    return Splits("zeros", part, part, part)


@pytest.mark.parametrize("framework", ["nnx", "linen"])
def test_the_default_recipe_fits_images_of_mnist(framework):
    recipe = Recipe(framework=framework)
    planned = plan.plan(recipe, splits(28, 28))
    assert {name: spec.sharing for name, spec in planned.student.int4.pairs} == {
        "conv1/kernel": Channel(),
        "conv2/kernel": Group(16),
        "hidden/kernel": Group(32),
        "head/kernel": Group(64),
    }
    assert plan.changed_groups(recipe, planned) == [
        "student, hidden/kernel: groups of 32, since 64 does not divide its inputs."
    ]


def test_the_default_recipe_stays_as_it_is_on_the_digits():
    recipe = Recipe()
    assert plan.changed_groups(recipe, plan.plan(recipe, splits(8, 8))) == []


TINY = {"widths": (4, 4, 8), "student_widths": (4, 4, 8)}
UNFIT = {
    "a group with no divisor": (
        {"int4_rules": (("*", int4(group_size=3)),)},
        "'conv1/kernel' has 1 weights along its last contracting axis.*spec per channel",
    ),
    "an 8-bit group that does not divide": (
        {"int8_rules": (("*", int8(group_size=7)),)},
        "int8 in groups of 7 does not divide",
    ),
    "a rule without a leaf": ({"int8_rules": (("dense/*", int8()),)}, "'dense/.' matches nothing"),
    "a rule that is never used": (
        {"int4_rules": (("*", int8()), ("head/*", int4()))},
        "'head/.' is never used",
    ),
    "fewer than two pixels": ({"image": (1, 8)}, "images of 1×8 leave the hidden layer nothing"),
}


@pytest.mark.parametrize(("fields", "message"), UNFIT.values(), ids=UNFIT)
def test_what_does_not_fit_is_refused(fields, message):
    image = fields.get("image", (8, 8))
    recipe = Recipe(**(TINY | {k: v for k, v in fields.items() if k != "image"}))
    with pytest.raises(ValueError, match=message):
        plan.plan(recipe, splits(*image))


def test_a_missing_package_is_named_before_training(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"matplotlib: pip install 'jaxcompress\[demo\]'"):
        plan.plan(Recipe(), splits(8, 8))


def failing(*_, **__):
    raise OSError("the disk is full")


@pytest.mark.parametrize("where", ["deep/er/out", "old"])
def test_a_failing_run_leaves_nothing(tmp_path, monkeypatch, capsys, where):
    data, place = files.write(tmp_path, size=24), tmp_path / "place"
    (place / "old").mkdir(parents=True)
    (place / "old" / "mine.txt").write_text("kept")
    before = sorted(place.rglob("*"))
    recipe = tmp_path / "recipe.json"
    Recipe(**TINY).save(recipe)
    monkeypatch.setattr(training, "train", failing)
    command = ["demo", "--data", str(data), "--out", str(place / where), "--recipe", str(recipe)]
    assert cli.main(command) == 1
    assert "the disk is full" in capsys.readouterr().err
    assert sorted(place.rglob("*")) == before


def test_a_file_in_place_of_the_folder_is_named_before_training(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(training, "train", failing)
    (tmp_path / "out").write_text("")
    recipe = tmp_path / "recipe.json"
    Recipe(**TINY).save(recipe)
    data = files.write(tmp_path, size=24)
    command = ["demo", "--data", str(data), "--out", str(tmp_path / "out" / "deeper")]
    assert cli.main([*command, "--recipe", str(recipe)]) == 1
    assert "is a file. Name another folder" in capsys.readouterr().err
