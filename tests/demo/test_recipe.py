import dataclasses
import json

import pytest

from jaxcompress.demo.recipe import Recipe


def test_a_saved_recipe_is_the_same(tmp_path):
    recipe = dataclasses.replace(Recipe(), seed=3, framework="linen", sparsity=0.5)
    recipe.save(tmp_path / "recipe.json")
    assert Recipe.load(tmp_path / "recipe.json") == recipe


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"framework": "torch"}, r"Recipe\(framework='torch'\)"),
        ({"sparsity": 1.0}, r"Recipe\(sparsity=1.0\)"),
        ({"dense_steps": 0}, r"Recipe\(dense_steps=0\)"),
        ({"colour": "red"}, r"unknown fields \['colour'\]"),
    ],
)
def test_wrong_fields_are_named(tmp_path, fields, message):
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(fields))
    with pytest.raises(ValueError, match=message):
        Recipe.load(path)


def test_a_recipe_that_is_not_json(tmp_path):
    path = tmp_path / "recipe.json"
    path.write_text("seed = 3")
    with pytest.raises(ValueError, match="is not JSON"):
        Recipe.load(path)
