"""Couplings: families by hand, reasons of what is pinned, how they read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend.core import primitives

from jaxcompress import graph
from jaxcompress.graph.surgery.axis_rules import RULES
from tests.graph import vision, zoo
from tests.graph.zoo import normal

X = normal(0, 5, 8)


def found(fn, params, *inputs):
    return graph.couplings(fn, params, *inputs)


def of(make):
    model = make()
    return found(model.fn, model.params, *model.inputs)


def places(couplings) -> dict[str, set]:
    return {
        family.name: {(place.leaf, place.axis) for place in family.places}
        for family in couplings.families
    }


def test_two_layers():
    def fn(params, x):
        return jax.nn.relu(x @ params["in"] + params["bias"][None]) @ params["out"]

    params = {"in": normal(1, 8, 6), "bias": normal(2, 6), "out": normal(3, 6, 2)}
    couplings = found(fn, params, X)
    assert places(couplings) == {"in:1": {("in", 1), ("bias", 0), ("out", 0)}}
    assert couplings.units == {"in:1": 6}
    (family,) = couplings.families
    assert [primitive.split()[0] for primitive in family.reductions] == ["dot_general"]
    assert "test_couplings.py" in family.reductions[0]
    assert {family.name: family.pins for family in couplings.pinned} == {
        "in:0": ("axis 1 of the input [0]",),
        "out:1": ("axis 1 of the output",),
    }


def test_attention_has_three_kinds_of_unit():
    """Heads, what queries and keys are multiplied along, and what values bring."""
    couplings = of(zoo.tied_gpt)
    assert couplings.units == {
        "embed:1": 8,
        "layers/0/qkv:1": 2,
        "layers/0/qkv:1#2": 4,
        "layers/0/qkv:1#3": 4,
        "layers/0/up:1": 16,
        "layers/1/qkv:1": 2,
        "layers/1/qkv:1#2": 4,
        "layers/1/qkv:1#3": 4,
        "layers/1/up:1": 16,
    }
    heads, along, values = couplings.families[1:4]
    assert [place.leaf for place in heads.places] == ["layers/0/qkv", "layers/0/out"]
    np.testing.assert_array_equal(
        heads.places[0].positions[1], [*range(4, 8), *range(12, 16), *range(20, 24)]
    )
    np.testing.assert_array_equal(along.places[0].positions[0], [0, 4, 8, 12])
    np.testing.assert_array_equal(values.places[0].positions[0], [16, 20])
    np.testing.assert_array_equal(values.places[1].positions[3], [3, 7])


def test_grouped_queries_rotary_halves_and_gates():
    couplings = of(zoo.llama)
    assert couplings.units == {
        "embed:1": 8,
        "layers/qkv:2": 2,  # queries of the one group of keys
        "layers/qkv:2#2": 2,  # pairs that rotate together
        "layers/qkv:2#3": 4,
        "layers/gate_up:2": 12,
    }
    pairs = couplings.families[2]
    np.testing.assert_array_equal(pairs.places[0].positions[0], [0, 2, 4, 6, 8, 10])
    assert [family.layers for family in couplings.families] == [0, 2, 0, 2, 2]


@pytest.mark.parametrize(
    ("make", "sizes"),
    [
        (vision.lenet, [4, 6, 10, 8]),
        (vision.linen_resnet, [4, 6, 6, 8]),
        (vision.densenet, [4, 4, 4, 6]),
        (vision.mobilenet, [4, 2, 2, 2, 2]),
        (vision.unet, [2, 2, 6, 4, 2]),
        (vision.gpt, [8, 2, 4, 12]),
        (vision.gru, [5]),
        (zoo.linen_lstm, [6]),
        (zoo.experts, [3, 8]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_families_of_models(make, sizes):
    assert sorted(of(make).units.values()) == sorted(sizes)


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        (lambda x: jnp.cumsum(x, axis=1), "cumsum"),
        (lambda x: jnp.sort(x, axis=1), "sort"),
        (lambda x: lax.top_k(x, 3)[0] @ jnp.ones((3, 6)), "top_k"),
        (lambda x: jnp.abs(jnp.fft.fft(x, axis=1)), "fft"),
        (lambda x: x * jnp.argmax(x, axis=1, keepdims=True), "argmax"),
        (lambda x: x[:, jnp.array([3, 1, 0, 5, 4, 2])], "gather"),
        (lambda x: x.reshape(5, 2, 3).cumsum(1).reshape(5, 6), "cumsum"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_needs_an_axis_whole_pins_it(operation, reason):
    def fn(params, x):
        return operation(x @ params["in"]) @ params["out"]

    params = {"in": normal(1, 8, 6), "out": normal(2, 6, 2)}
    couplings = found(fn, params, X)
    pins = [pin for family in couplings.pinned for pin in family.pins if reason in pin]
    assert any("test_couplings.py" in pin for pin in pins)
    name = next(family.name for family in couplings.pinned if reason in family.pins[0])
    with pytest.raises(ValueError, match=f"these units must stay: needed whole by {reason}"):
        couplings.removal({name: [0]})


def test_a_roll_leaves_nothing_to_remove():
    def fn(params, x):
        x = x @ params["in"]
        return (x + jnp.roll(x, 1, axis=1)) @ params["out"]

    couplings = found(fn, {"in": normal(1, 8, 6), "out": normal(2, 6, 2)}, X)
    assert couplings.families == ()


def test_a_reshape_undone_at_once_still_forces_a_rectangle():
    def fn(params, x):
        x = x @ params["in"]
        return x.reshape(5, 2, 3).reshape(5, 6) @ params["out"]

    couplings = found(fn, {"in": normal(1, 8, 6), "out": normal(2, 6, 2)}, X)
    assert couplings.units == {"in:1": 2, "in:1#2": 3}


def test_a_leaf_that_meets_no_data_is_unused():
    couplings = found(lambda p, x: x @ p["in"], {"in": normal(1, 8, 2), "spare": normal(2, 7)}, X)
    assert [family.name for family in couplings.unused] == ["spare:0"]
    with pytest.raises(ValueError, match="no data meet these units"):
        couplings.removal({"spare:0": [1]})


def test_statistics_that_a_training_step_returns_are_no_output():
    def step(params, x):
        hidden = x @ params["in"]
        return hidden @ params["out"], {**params, "mean": hidden.mean(0)}

    params = {"in": normal(1, 8, 6), "mean": jnp.zeros(6), "out": normal(2, 6, 2)}
    assert places(found(step, params, X)) == {"in:1": {("in", 1), ("mean", 0), ("out", 0)}}


def test_layers_differ_only_where_nothing_but_their_own_leaves_is_met():
    def fn(params, x):
        scale = jnp.arange(1.0, 7.0)

        def layer(x, each):
            x = x + jnp.tanh(x @ each["up"]) @ each["down"]
            return x + jnp.tanh((x @ each["wide"]) * scale[None]) @ each["narrow"], None

        return lax.scan(layer, x, params)[0]

    params = {
        "up": normal(1, 3, 8, 6),
        "down": normal(2, 3, 6, 8),
        "wide": normal(3, 3, 8, 6),
        "narrow": normal(4, 3, 6, 8),
    }
    couplings = found(fn, params, X)
    assert {family.name: family.layers for family in couplings.families} == {"up:2": 3, "wide:2": 0}
    with pytest.raises(ValueError, match="one sequence, or one for each of 3 layers"):
        couplings.removal({"up:2": [[0], [1]]})


@pytest.mark.parametrize(
    ("units", "message"),
    [
        (
            {"hidden": [0]},
            r"removal\(\{'hidden': ...\}\): no family has this name. Families are: in:1.",
        ),
        ({"in:1": [6]}, r"removal\(\{'in:1': \[6\]\}\): indices must be in \[0, 6\)"),
        ({"in:1": [-1]}, r"indices must be in \[0, 6\)"),
        ({"in:1": [2, 2]}, "an index is there twice"),
        ({"in:1": range(6)}, "at least one of 6 units must stay"),
        ({"in:0": [0]}, r"these units must stay: axis 1 of the input \[0\]"),
        ({"out:1": [0]}, r"these units must stay: axis 1 of the output"),
        ({"in:1": [0.5]}, r"indices must be whole numbers"),
        ({"in:1": [[0], [1, 2]]}, r"indices must be whole numbers, equally many for every layer"),
    ],
)
def test_units_that_cannot_go(units, message):
    params = {"in": normal(1, 8, 6), "out": normal(2, 6, 2)}
    couplings = found(lambda p, x: jnp.tanh(x @ p["in"]) @ p["out"], params, X)
    with pytest.raises(ValueError, match=message):
        couplings.removal(units)


def test_shapes_are_enough():
    params = {
        "in": jax.ShapeDtypeStruct((8, 6), jnp.float32),
        "out": jax.ShapeDtypeStruct((6, 2), jnp.float32),
    }
    x = jax.ShapeDtypeStruct((5, 8), jnp.float32)
    assert found(lambda p, x: x @ p["in"] @ p["out"], params, x).units == {"in:1": 6}


def test_reads_like_an_explanation():
    text = str(of(zoo.tied_gpt))
    assert max(map(len, text.splitlines())) <= 110
    assert text.startswith("9 families of units can go, 2 axes must stay whole.")
    assert (
        "layers/*/up:1: 2 families of 16 units\n"
        "    layers/*/up axis 1, layers/*/down axis 0\n"
        "    reduced by dot_general (zoo.py:" in text
    )
    assert "    layers/*/qkv axis 1 [unit 0: 0:13:4]\n" in text
    assert "needed whole by gather (zoo.py:" in text
    assert "axis 2 of the output: embed axis 0" in text


PINNED_ON_PURPOSE = frozenset(
    [
        "after_all",
        "all_gather",
        "all_to_all",
        "axis_index",
        "create_token",
        "custom_lin",
        "get",
        "pmax",
        "pmin",
        "ppermute",
        "psum",
        "ragged_all_to_all",
        "random_fold_in",
        "random_gamma",
        "random_seed",
        "random_split",
        "rng_bit_generator",
        "select_and_scatter",
        "shard_map",
        "swap",
        "threefry2x32",
        "xla_pmap",
    ]
)
"""Keys, collectives and what they are in, references, windows of any function."""

SEEN = [
    "checkpoint",
    "closed_call",
    "core_call",
    "optimization_barrier",
    "ragged_dot_general",
    "shard_map",
    "stack",
    "tile",
    "unstack",
]
"""Primitives that programs hold but the public list leaves out."""


def test_every_primitive_is_classed():
    public = {value.name for name, value in vars(primitives).items() if name.endswith("_p")}
    assert public | set(SEEN) <= RULES.keys() | PINNED_ON_PURPOSE
    assert not RULES.keys() & PINNED_ON_PURPOSE
