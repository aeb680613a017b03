import dataclasses
import json
import math

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
        ({"dense_steps": 2.5}, r"Recipe\(dense_steps=2.5\) must be at least 1, and an int"),
        ({"prune_steps": 1}, r"Recipe\(prune_steps=1\) must be at least 2"),
        ({"combined_steps": True}, r"Recipe\(combined_steps=True\)"),
        ({"batch_size": "64"}, r"Recipe\(batch_size='64'\)"),
        ({"widths": [32, 64]}, r"Recipe\(widths=\(32, 64\)\)"),
        ({"student_widths": [16, 0, 64]}, r"Recipe\(student_widths=0\)"),
        ({"temperature": 0.0}, r"Recipe\(temperature=0.0\)"),
        ({"temperature": "warm"}, r"Recipe\(temperature='warm'\) must be a finite number"),
        ({"soft_weight": 1.5}, r"Recipe\(soft_weight=1.5\)"),
        ({"learning_rate": math.inf}, r"Recipe\(learning_rate=inf\)"),
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
