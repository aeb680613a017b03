"""A smaller model made again from the whole one and what was removed from it."""

import copy
import dataclasses
import json
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import jaxcompress as jc
from jaxcompress.graph import Divisors, Removal
from jaxcompress.graph.surgery import masked, shrink, slice_params, without_blocks, without_layers
from jaxcompress.graph.surgery.removal import LeafCut
from jaxcompress.structure import replay
from tests.structure.replays import PARAMS, SHAPES, X, model

OF_UNITS = jc.graph.couplings(model, SHAPES, X).removal(
    {"in/kernel:1": [1, 6], "layers/up:2": [[0, 1], [2, 5], [0, 4]]}
)
OF_BLOCKS = without_blocks(model, SHAPES, ["wide"], X)[1]
OF_LAYERS = without_layers(model, SHAPES, {"layers/down": [0]}, X)[1]


def test_shapes_give_the_template_of_the_smaller_params():
    again = replay(model, SHAPES, X, removal=[OF_LAYERS, OF_BLOCKS])
    assert again.params["layers"]["up"].shape == (2, 4, 6)
    assert again.params["wide"]["up"].shape == (0, 6)
    params = replay(model, PARAMS, X, removal=[OF_LAYERS, OF_BLOCKS]).params
    assert jax.eval_shape(lambda: params) == again.params
    assert replay(model, PARAMS, X, removal=[]) == (model, PARAMS, ())


def narrow(params, x):
    """Another function of the same params, which gives the units themselves."""
    return jnp.tanh(x @ params["in"]["kernel"])


def in_turn(params, x):
    """The same model without its loop."""
    for layer in range(3):
        each = jax.tree.map(lambda x, layer=layer: x[layer], params["layers"])
        x = x + jnp.tanh(x @ each["up"]) @ each["down"]
    return x


def joined(params, x):
    """A block of the same name that reads more leaves."""
    return x + jnp.tanh(x @ params["wide"]["up"] + params["wide"]["bias"]) @ params["wide"]["down"]


WIDE = {"up": jnp.ones((4, 6)), "down": jnp.ones((6, 4)), "bias": jnp.ones((2, 5, 6))}
MISFITS = {
    "another function": (narrow, PARAMS, OF_UNITS, "an axis must stay whole"),
    "no loop": (in_turn, PARAMS, OF_LAYERS, "no stack of layers is named 'layers/down'. .* none"),
    "no block": (narrow, PARAMS, OF_BLOCKS, "no block is named 'wide'"),
    "a larger block": (joined, {"wide": WIDE}, OF_BLOCKS, "its parts have other leaves"),
    "other widths": (
        model,
        PARAMS | {"out": jnp.ones((7, 3))},
        OF_UNITS,
        r"'out' has shape \(7, 3\)",
    ),
    "a leaf is missing": (model, {"out": PARAMS["out"]}, OF_UNITS, "'in/bias', which the params"),
    "twice": (model, PARAMS, [OF_LAYERS, OF_LAYERS], "made for 3 indices along axis 0"),
    "fewer layers": (model, PARAMS, [OF_LAYERS, OF_UNITS], "along axis 1 in each of 3 layers"),
}


@pytest.mark.parametrize(("fn", "params", "removal", "message"), MISFITS.values(), ids=MISFITS)
def test_a_removal_that_does_not_fit_is_refused(fn, params, removal, message):
    with pytest.raises(ValueError, match=rf"^replay\b.*{message}"):
        replay(fn, params, X, removal=removal)


@pytest.mark.parametrize("removal", [OF_BLOCKS, OF_LAYERS])
def test_blocks_and_layers_have_no_masked_program(removal):
    with pytest.raises(
        ValueError, match=r"^masked: the removal is of .*, not of units. with_block_gates"
    ):
        masked(model, removal)(PARAMS, X)


def test_params_of_other_sizes_are_refused_when_the_model_is_called():
    small = slice_params(PARAMS, OF_UNITS)
    for name, shape, message in [
        ("up", (3, 4, 5), r"'layers/up' has size 5 along axis 2; .* 4 of 6 in each of 3 layers"),
        ("up", (2, 4, 4), r"'layers/up' has size 4 along axis 2; .* 4 of 6 in each of 3 layers"),
        ("down", (3,), r"'layers/down' has size none along axis 1"),
    ]:
        layers = small["layers"] | {name: jnp.ones(shape)}
        with pytest.raises(ValueError, match=message):
            shrink(model, OF_UNITS)(small | {"layers": layers}, X)


@pytest.mark.parametrize("removal", [None, "layers", 3, [None], {"a": 1}])
def test_what_is_no_removal_is_refused(removal):
    with pytest.raises(TypeError, match=r"replay\(removal=...\) must be what verbs .* not "):
        replay(model, PARAMS, X, removal=removal)


def _with(place: tuple, value) -> Any:
    """The removal of units as plain values with one of them replaced."""
    fields: Any = copy.deepcopy(OF_UNITS.to_json())
    inner = fields
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return fields


FORGED = {
    "no dict": ([], "fields"),
    "a field is missing": ({"cuts": []}, "fields"),
    "a field more": (OF_UNITS.to_json() | {"more": 1}, "fields"),
    "no list of cuts": (_with(("cuts",), {}), "cuts"),
    "no cut": (_with(("cuts", 0), 3), "cuts"),
    "a short cut": (_with(("cuts", 0), ["in/bias", 0, 8]), "cuts"),
    "a leaf that is no text": (_with(("cuts", 0, 0), 3), "cuts"),
    "an axis that is a truth value": (_with(("cuts", 0, 1), True), "cuts"),
    "a negative axis": (_with(("cuts", 0, 1), -1), "cuts"),
    "a size that is no number": (_with(("cuts", 0, 2), "8"), "cuts"),
    "a size below the indices": (_with(("cuts", 0, 2), 6), "cuts"),
    "indices that are not there": (_with(("cuts", 0, 3), 2), "cuts"),
    "negative place of indices": (_with(("cuts", 0, 3), -1), "cuts"),
    "one axis twice": (_with(("cuts", 1), OF_UNITS.to_json()["cuts"][0]), "cuts"),
    "indices that are no list": (_with(("indices", 0), 1), "indices"),
    "no indices": (_with(("indices", 0), []), "indices"),
    "falling indices": (_with(("indices", 0), [6, 1]), "indices"),
    "an index twice": (_with(("indices", 0), [6, 6]), "indices"),
    "a negative index": (_with(("indices", 0), [-1, 6]), "indices"),
    "an index that is a fraction": (_with(("indices", 0), [1.0, 6]), "indices"),
    "layers of different counts": (_with(("indices", 1, 0), [1]), "indices"),
    "layers and none": (_with(("indices", 1, 0), 1), "indices"),
    "layers of layers": (_with(("indices", 1, 0, 0), [1]), "indices"),
    "unknown divisors": (_with(("divisors",), "old"), "divisors"),
    "divisors that are no text": (_with(("divisors",), ["new"]), "divisors"),
    "blocks that are no texts": (_with(("blocks",), [["wide"]]), "blocks"),
    "a block twice": (_with(("blocks",), ["wide", "wide"]), "blocks"),
    "layers that are no dict": (_with(("layers",), [["a", [1]]]), "layers"),
    "layers that are no indices": (_with(("layers",), {"a": 3}), "indices"),
    "blocks and layers": (OF_BLOCKS.to_json() | {"layers": {"a": [1]}}, "layers"),
}


@pytest.mark.parametrize(("fields", "name"), FORGED.values(), ids=FORGED)
def test_fields_that_no_removal_has_are_refused(fields, name):
    with pytest.raises(ValueError, match=rf"^Removal.from_json\({name}=.*\) must be ") as caught:
        Removal.from_json(fields)
    assert len(str(caught.value)) < 400


def test_a_removal_is_told_in_a_line():
    assert str(OF_UNITS) == "units of 5 axes of 5 leaves"
    assert str(dataclasses.replace(OF_UNITS, divisors=Divisors.NEW)).endswith("by the new width")
    assert (str(OF_BLOCKS), str(OF_LAYERS)) == ("blocks wide", "layers 0 of layers/down")


def test_indices_that_many_leaves_lose_are_listed_once():
    cuts = tuple(LeafCut(f"{i}", 0, 100, tuple(range(50))) for i in range(30))
    removal = Removal(cuts, Divisors.NEW)
    assert len(json.dumps(removal.to_json())) < 30 * 20 + 50 * 4 + 100
    assert Removal.from_json(removal.to_json()) == removal
    assert hash(removal) == hash(dataclasses.replace(removal))
