"""Every importance against a plain loop, by finite differences, or by hand."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import graph
from jaxcompress.core.names import named_leaves
from jaxcompress.core.selectors import everything, matching
from jaxcompress.graph import surgery
from jaxcompress.graph.surgery import with_unit_gates
from jaxcompress.structure import importance
from tests.inputs import on_device

EPS = float(jnp.finfo(jnp.float32).eps)


def normal(seed: int, *shape: int) -> jax.Array:
    scale = shape[-2] ** -0.5 if len(shape) > 1 else 1.0
    return on_device(np.random.default_rng(seed).normal(scale=scale, size=shape))


class Model(NamedTuple):
    fn: Callable
    params: dict
    batches: list


def mlp() -> Model:
    def fn(params, x):
        return jax.nn.relu(x @ params["in"] + params["bias"][None]) @ params["out"]

    params = {"in": normal(1, 5, 6), "bias": normal(2, 6), "out": normal(3, 6, 3)}
    return Model(fn, params, batches(normal(4, 4, 5), normal(5, 4, 3)))


def lenet() -> Model:
    """Two convolutions with pooling, flattened into a dense layer."""

    def convolution(x, kernel, bias):
        y = jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        pooled = jax.lax.reduce_window(
            y + bias[None, None, None], -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"
        )
        return jax.nn.relu(pooled)

    def fn(params, x):
        x = convolution(x, params["kernel1"], params["bias1"])
        x = convolution(x, params["kernel2"], params["bias2"])
        hidden = jax.nn.relu(x.reshape(x.shape[0], -1) @ params["dense"])
        return hidden @ params["head"]

    params = {
        "kernel1": normal(1, 3, 3, 1, 4),
        "bias1": normal(2, 4),
        "kernel2": normal(3, 3, 3, 4, 6) / 3,
        "bias2": normal(4, 6),
        "dense": normal(5, 24, 8),
        "head": normal(6, 8, 3),
    }
    return Model(fn, params, batches(normal(7, 4, 14, 14, 1), normal(8, 4, 3), first=2))


def transformer() -> Model:
    """Two scanned layers: fewer key than query heads, a gate, a norm."""

    def norm(x):
        return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6)

    def layer(x, params):
        query, key, value = (
            jnp.einsum("btd,dhk->bthk", norm(x), params[name]) for name in ("query", "key", "value")
        )
        key, value = (jnp.repeat(each, 2, axis=2) for each in (key, value))
        weights = jax.nn.softmax(jnp.einsum("bqhk,bshk->bhqs", query, key), axis=-1)
        x = x + jnp.einsum("bhqs,bshk,hkd->bqd", weights, value, params["out"])
        hidden = jax.nn.silu(norm(x) @ params["gate"]) * (norm(x) @ params["up"])
        return x + hidden @ params["down"], None

    def fn(params, x):
        x, _ = jax.lax.scan(layer, x @ params["embed"], params["layers"])
        return (norm(x) @ params["head"])[:, -1]

    layers = {
        "query": normal(1, 2, 6, 4, 2),
        "key": normal(2, 2, 6, 2, 2),
        "value": normal(3, 2, 6, 2, 2),
        "out": normal(4, 2, 4, 2, 6),
        "gate": normal(5, 2, 6, 5),
        "up": normal(6, 2, 6, 5),
        "down": normal(7, 2, 5, 6),
    }
    params = {"embed": normal(8, 3, 6), "head": normal(9, 6, 3), "layers": layers}
    return Model(fn, params, batches(normal(10, 4, 3, 3), normal(11, 4, 3), first=2))


def scanned() -> Model:
    """A stream, and two scanned layers that are wider inside."""

    def layer(x, params):
        hidden = jnp.tanh(x @ params["up"] + params["bias"][None])
        return x + hidden @ params["down"], None

    def fn(params, x):
        return jax.lax.scan(layer, x @ params["embed"], params["layers"])[0] @ params["head"]

    layers = {"up": normal(1, 2, 4, 5), "bias": normal(2, 2, 5), "down": normal(3, 2, 5, 4)}
    params = {"embed": normal(4, 3, 4), "head": normal(5, 4, 3), "layers": layers}
    return Model(fn, params, batches(normal(6, 4, 3), normal(7, 4, 3)))


def batches(x, targets, first: int = 3) -> list:
    """Of sizes 3 and 1, so that means must weigh them; equal ones compile once."""
    return [(x[:first], targets[:first]), (x[first:], targets[first:])]


def loss(outputs, targets):
    return ((outputs - targets) ** 2).sum(-1)


def mean_loss(fn, params, found):
    losses = [loss(fn(params, x), targets) for x, targets in found]
    return np.concatenate(losses).mean(dtype=np.float64)


MODELS = {model.__name__: model() for model in (mlp, lenet, scanned, transformer)}
COUPLINGS = {
    name: graph.couplings(model.fn, model.params, model.batches[0][0])
    for name, model in MODELS.items()
}


HEADS = dataclasses.replace(
    COUPLINGS["transformer"],
    all=tuple(
        family
        for family in COUPLINGS["transformer"].families
        if family.size == 2 and family.layers == 2 and len(family.places) == 4
    ),
)
"""Each key head with the query heads that read it, and its rows of the output."""


class Case(NamedTuple):
    name: str
    importance: importance.Importance


def cases(found: list) -> list[Case]:
    return [
        Case("exact", importance.exact(loss, found, chunk=3)),
        Case("taylor", importance.taylor(loss, found)),
        Case("taylor squared", importance.taylor_squared(loss, found)),
        Case("linearized", importance.linearized(loss, found)),
        Case("second order", importance.second_order(loss, found)),
        Case("l1 magnitude", importance.magnitude(order=1)),
        Case("l2 magnitude", importance.magnitude()),
        Case("activation", importance.activation([x for x, _ in found])),
        Case("nonzero", importance.activation([x for x, _ in found], importance.nonzero)),
        Case("random", importance.random(jax.random.key(0))),
        Case("normalized", importance.normalized(importance.magnitude())),
    ]


NAMES = [case.name for case in cases(MODELS["scanned"].batches)]


@pytest.mark.parametrize("index", range(len(NAMES)), ids=NAMES)
def test_one_finite_number_per_unit_of_every_family(index):
    model, found = MODELS["scanned"], COUPLINGS["scanned"]
    scores = cases(model.batches)[index].importance(model.fn, model.params, found)
    assert {name: score.shape for name, score in scores.items()} == {
        "embed:1": (4,),
        "layers/up:2": (2, 5),
    }
    for score in scores.values():
        assert score.dtype == jnp.float32
        assert jnp.isfinite(score).all()


FROM_BATCHES = {
    "exact": lambda batches: importance.exact(loss, batches),
    "taylor": lambda batches: importance.taylor(loss, batches),
    "linearized": lambda batches: importance.linearized(loss, batches),
    "activation": lambda batches: importance.activation(x for x, _ in batches),
}


@pytest.mark.parametrize("name", FROM_BATCHES)
def test_a_generator_of_batches_serves_every_family_and_round(name):
    model, found = MODELS["mlp"], COUPLINGS["mlp"]
    generated = FROM_BATCHES[name](batch for batch in model.batches)
    first, second = (generated(model.fn, model.params, found) for _ in range(2))
    listed = FROM_BATCHES[name](model.batches)(model.fn, model.params, found)
    for scores in (first, second):
        assert scores.keys() == listed.keys()
        jax.tree.map(np.testing.assert_array_equal, scores, listed)


@pytest.mark.parametrize("name", ["mlp", "lenet", "scanned"])
def test_exact_scores_are_those_of_one_masked_program_per_unit(name):
    model = MODELS[name]
    found = COUPLINGS[name]
    scores = importance.exact(loss, model.batches, chunk=3)(model.fn, model.params, found)
    before = mean_loss(jax.jit(model.fn), model.params, model.batches)
    for family in found.families:
        for unit in () if family.layers else range(0, family.size, 3):
            masked = jax.jit(surgery.masked(model.fn, found.removal({family.name: [unit]})))
            rise = mean_loss(masked, model.params, model.batches) - before
            # Differences of losses of this size, each a sum of some hundred roundings.
            assert scores[family.name][unit] == pytest.approx(rise, abs=500 * EPS * before)


def test_exact_scores_of_scanned_layers_are_those_of_one_layer_alone():
    model, found = MODELS["scanned"], COUPLINGS["scanned"]
    scores = importance.exact(loss, model.batches)(model.fn, model.params, found)["layers/up:2"]
    program = jax.jit(model.fn)
    before = mean_loss(program, model.params, model.batches)
    layers = model.params["layers"]
    for layer, unit in np.ndindex(2, 5):
        silent = layers | {"down": layers["down"].at[layer, unit].set(0)}
        rise = mean_loss(program, model.params | {"layers": silent}, model.batches) - before
        assert scores[layer, unit] == pytest.approx(rise, abs=500 * EPS * before)


def test_exact_scores_of_grouped_heads_are_those_of_the_whole_group():
    model = MODELS["transformer"]
    (family,) = HEADS.families
    scores = importance.exact(loss, model.batches)(model.fn, model.params, HEADS)[family.name]
    program = jax.jit(model.fn)
    before = mean_loss(program, model.params, model.batches)
    layers = model.params["layers"]
    for layer, group in np.ndindex(2, 2):
        queries = slice(2 * group, 2 * group + 2)  # two query heads read each key head
        silent = layers | {"out": layers["out"].at[layer, queries].set(0)}
        rise = mean_loss(program, model.params | {"layers": silent}, model.batches) - before
        assert scores[layer, group] == pytest.approx(rise, abs=500 * EPS * before)


def slopes(model, family, step=1 / 64):
    """Per example, the slope of the loss in each gate, by central differences."""
    program = jax.jit(with_unit_gates(model.fn, [family]))
    x = jnp.concatenate([x for x, _ in model.batches])
    targets = jnp.concatenate([targets for _, targets in model.batches])

    def losses(unit, value):
        gate = jnp.ones(family.size).at[unit].set(value)
        return np.asarray(loss(program(model.params, x, gates={family.name: gate}), targets))

    found = [losses(unit, 1 + step) - losses(unit, 1 - step) for unit in range(family.size)]
    return np.stack(found, axis=1) / (2 * step)  # (examples, units)


SLOPES = {
    "taylor": lambda slopes: np.abs(slopes).mean(0),
    "taylor squared": lambda slopes: (3 * slopes[:3].mean(0) ** 2 + slopes[3:].mean(0) ** 2) / 4,
    "second order": lambda slopes: (slopes**2).mean(0) / 2,
}


@pytest.mark.parametrize("name", SLOPES)
def test_gradient_scores_are_those_of_finite_differences(name):
    # The loss is quadratic in the gates of a linear layer: differences are exact but
    # for rounding, which a step of 1 / 64 makes 64 times as large.
    model, found = MODELS["mlp"], COUPLINGS["mlp"]
    (family,) = found.families
    (case,) = [case for case in cases(model.batches) if case.name == name]
    scores = case.importance(model.fn, model.params, found)[family.name]
    expected = SLOPES[name](slopes(model, family))
    np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-4 * expected.max())


def test_linearized_scores_are_exact_where_outputs_are_linear_in_a_unit():
    model, found = MODELS["scanned"], COUPLINGS["scanned"]
    ways = (importance.exact(loss, model.batches), importance.linearized(loss, model.batches))
    whole, guessed = (way(model.fn, model.params, found) for way in ways)
    before = mean_loss(model.fn, model.params, model.batches)
    last = guessed["layers/up:2"][1]  # after it comes the head alone
    np.testing.assert_allclose(last, whole["layers/up:2"][1], atol=500 * EPS * before)
    assert not np.allclose(guessed["layers/up:2"][0], whole["layers/up:2"][0], rtol=0.01)


@pytest.mark.parametrize("name", ["mlp", "transformer"])
def test_linearized_scores_are_those_of_finite_differences(name):
    model, found = MODELS[name], COUPLINGS[name]
    family = found.families[0]
    program = jax.jit(with_unit_gates(model.fn, [family]))
    scores = importance.linearized(loss, model.batches)(model.fn, model.params, found)
    x, targets = (jnp.concatenate(each) for each in zip(*model.batches, strict=True))
    gate, step = jnp.ones(family.size), 1 / 64
    before = program(model.params, x, gates={family.name: gate})
    for unit in range(family.size):
        ends = [
            program(model.params, x, gates={family.name: gate.at[unit].add(sign * step)})
            for sign in (1, -1)
        ]
        slope = (ends[0] - ends[1]) / (2 * step)
        rise = float(jnp.mean(loss(before - slope, targets) - loss(before, targets)))
        # A difference of step h is off by h² times a third derivative.
        assert scores[family.name][unit] == pytest.approx(rise, rel=0.02, abs=1e-3)


def test_taylor_scores_of_a_residual_stream_count_every_place_it_is_summed_up():
    model, found = MODELS["transformer"], COUPLINGS["transformer"]
    (family,) = [family for family in found.families if family.name.startswith("embed")]
    scores = importance.taylor(loss, model.batches)(model.fn, model.params, found)
    # Not quadratic: a difference of step h is off by h² times a third derivative.
    expected = SLOPES["taylor"](slopes(model, family))
    np.testing.assert_allclose(scores[family.name], expected, rtol=0.02, atol=0.01 * expected.max())


@pytest.mark.parametrize("order", [1, 2])
def test_magnitude_is_the_norm_of_all_weights_that_a_removal_cuts(order):
    model, found = MODELS["lenet"], COUPLINGS["lenet"]
    scores = importance.magnitude(order=order, select=everything())(model.fn, model.params, found)
    leaves = named_leaves(model.params)
    for family in found.families:
        for unit in range(family.size):
            cut = [
                np.take(np.asarray(leaves[cut.leaf]), cut.indices, cut.axis)
                for cut in found.removal({family.name: [unit]}).cuts
            ]
            entries = np.concatenate([part.reshape(-1) for part in cut])
            assert scores[family.name][unit] == pytest.approx(
                np.linalg.norm(entries, order), rel=entries.size * EPS
            )


def test_activation_is_the_mean_of_what_the_next_layer_reads():
    model, found = MODELS["mlp"], COUPLINGS["mlp"]
    x = np.concatenate([np.asarray(x) for x, _ in model.batches])
    hidden = np.maximum(x @ np.asarray(model.params["in"]) + np.asarray(model.params["bias"]), 0)
    inputs = [x for x, _ in model.batches]
    mean = importance.activation(inputs)(model.fn, model.params, found)
    alive = importance.activation(inputs, importance.nonzero)(model.fn, model.params, found)
    np.testing.assert_allclose(mean["in:1"], np.abs(hidden).mean(0), rtol=100 * EPS)
    np.testing.assert_allclose(alive["in:1"], (hidden != 0).mean(0), rtol=100 * EPS)


def test_activation_of_an_image_is_the_mean_over_its_positions():
    model, found = MODELS["lenet"], COUPLINGS["lenet"]
    bias = jnp.arange(1.0, 5.0)
    params = model.params | {"kernel1": 0 * model.params["kernel1"], "bias1": bias}
    scores = importance.activation([x for x, _ in model.batches])(model.fn, params, found)
    np.testing.assert_allclose(scores["kernel1:3"], bias, rtol=100 * EPS)


def test_a_norm_scale_scores_the_channels_it_scales_and_no_others():
    def fn(params, x):
        hidden = jax.nn.relu((x @ params["first"]) * params["norm"]["scale"][None])
        return jax.nn.relu(hidden @ params["second"]) @ params["third"]

    params = {
        "first": normal(1, 3, 4),
        "norm": {"scale": jnp.array([1.0, -2.0, 0.0, 0.5])},
        "second": normal(2, 4, 5),
        "third": normal(3, 5, 2),
    }
    found = graph.couplings(fn, params, jnp.ones((1, 3)))
    scores = importance.norm_scale()(fn, params, found)
    assert {name: score.tolist() for name, score in scores.items()} == {
        "first:1": [1.0, 2.0, 0.0, 0.5]
    }


def test_normalized_scores_have_length_one_in_each_layer():
    model, found = MODELS["scanned"], COUPLINGS["scanned"]
    scores = importance.normalized(importance.magnitude())(model.fn, model.params, found)
    for score in scores.values():
        lengths = np.linalg.norm(score, axis=-1)
        np.testing.assert_allclose(lengths, np.ones_like(lengths), rtol=100 * EPS)


def test_normalized_leaves_zeros_alone():
    model, found = MODELS["mlp"], COUPLINGS["mlp"]
    zeros = importance.normalized(lambda *_: {"in:1": jnp.zeros(6)})
    assert zeros(model.fn, model.params, found)["in:1"].tolist() == [0.0] * 6


@pytest.mark.parametrize("name", MODELS)
def test_open_gates_change_nothing_and_closed_ones_remove(name):
    model, found = MODELS[name], COUPLINGS[name]
    x = model.batches[0][0]
    program = jax.jit(with_unit_gates(model.fn, found.families))
    opened = {family.name: jnp.ones(family.size) for family in found.families}
    dense = jax.jit(model.fn)(model.params, x)
    tolerance = 100 * EPS * float(jnp.abs(dense).max())
    np.testing.assert_allclose(program(model.params, x, gates=opened), dense, atol=tolerance)
    closed = {family: gate.at[0].set(0.0) for family, gate in opened.items()}
    masked = surgery.masked(model.fn, found.removal({name: [0] for name in closed}))
    np.testing.assert_allclose(
        program(model.params, x, gates=closed),
        jax.jit(masked)(model.params, x),
        atol=tolerance,
    )


def test_gates_work_where_a_maximum_and_a_custom_gradient_run_over_units():
    def fn(params, x):
        routes = jax.nn.softmax(x @ params["router"], axis=-1)
        return jnp.einsum("be,bi,eio->bo", routes, x, params["experts"])

    params = {"router": normal(1, 3, 4), "experts": normal(2, 4, 3, 2)}
    x = normal(3, 5, 3)
    found = graph.couplings(fn, params, x)
    (family,) = found.families
    program = jax.jit(with_unit_gates(fn, [family]))
    masked = jax.jit(surgery.masked(fn, found.removal({family.name: [1]})))
    gate = jnp.ones(4).at[1].set(0.0)
    closed = program(params, x, gates={family.name: gate})
    np.testing.assert_allclose(closed, masked(params, x), atol=10 * EPS)
    slope = jax.grad(lambda gate: program(params, x, gates={family.name: gate}).sum())(jnp.ones(4))
    step = 1 / 64
    for unit in range(4):
        ends = [
            program(params, x, gates={family.name: jnp.ones(4).at[unit].add(sign * step)}).sum()
            for sign in (1, -1)
        ]
        assert slope[unit] == pytest.approx(float(ends[0] - ends[1]) / (2 * step), abs=1e-3)


ERRORS = [
    (lambda: importance.exact(loss, [], chunk=0), r"exact\(chunk=0\)"),
    (lambda: importance.magnitude(order=3), r"magnitude\(order=3\)"),
    (lambda: scored(importance.exact(loss, [])), r"exact\(batches=\[\]\) holds no batch"),
    (lambda: scored(importance.activation([])), r"activation\(batches=\[\]\) holds no batch"),
    (
        lambda: scored(importance.taylor(loss, [(jnp.ones((3, 5)), jnp.ones((2, 3)))])),
        r"taylor\(batches=...\): axis 0 .* shapes are \(3, 5\), \(2, 3\)",
    ),
    (
        lambda: scored(importance.exact(lambda y, t: ((y - t) ** 2).mean(), MODELS["mlp"].batches)),
        r"exact\(loss=...\) gives shape \(\)",
    ),
    (
        lambda: scored(importance.magnitude(select=matching("none"))),
        r"matching\('none'\) selects no leaf",
    ),
    (
        lambda: opened({"up:1": jnp.ones(6)}),
        r"with_unit_gates\(gates=\{'up:1': ...\}\): families are: in:1",
    ),
    (lambda: opened({"in:1": jnp.ones(5)}), r"shape \(5,\)\}\) must have shape \(6,\)"),
]


PAIR = jnp.ones((3, 5)), jnp.ones((3, 3))


@pytest.mark.parametrize(
    "name",
    [
        *("taylor", "taylor_squared", "second_order", "exact", "linearized"),
        *("exact_blocks", "exact_layers"),
    ],
)
def test_a_pair_is_no_list_of_pairs(name):
    with pytest.raises(TypeError, match=rf"^{name}\(batches\): batch 0 is .* Pass \[\(inputs, tar"):
        getattr(importance, name)(loss, PAIR)


def test_integers_that_would_wrap_are_refused():
    with pytest.raises(ValueError, match=r"^taylor\(batches=...\) holds 4294967296, which JAX"):
        importance.taylor(loss, [(np.array([2**32]), PAIR[1])])


def scored(case):
    model = MODELS["mlp"]
    return case(model.fn, model.params, COUPLINGS["mlp"])


def opened(gates):
    model = MODELS["mlp"]
    program = with_unit_gates(model.fn, COUPLINGS["mlp"].families)
    return program(model.params, model.batches[0][0], gates=gates)


@pytest.mark.parametrize(("call", "message"), ERRORS)
def test_errors_name_the_mend(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def message_passing(params, nodes, senders, receivers):
    hidden = jnp.tanh(nodes @ params["in"])
    sums = jax.ops.segment_sum(hidden[senders], receivers, nodes.shape[0])
    return sums @ params["out"]


def over_time(params, x):
    """Of (time, rows, features)."""
    return jnp.tanh(x @ params["in"]).mean(0) @ params["out"]


def mean_squares(outputs, targets):
    return jnp.mean((outputs - targets) ** 2)


WHOLE = {
    "taylor": importance.taylor,
    "second_order": importance.second_order,
    "linearized": importance.linearized,
    "exact": importance.exact,
}
SHAPED = {
    "a graph": (message_passing, lambda: (jnp.eye(4), jnp.array([0, 1]), jnp.array([1, 3]))),
    "time first": (over_time, lambda: (jnp.arange(40.0).reshape(5, 2, 4) / 40,)),
}


@pytest.mark.parametrize("shape", SHAPED)
@pytest.mark.parametrize("name", WHOLE)
def test_a_loss_of_the_whole_batch_needs_no_axis_of_examples(name, shape):
    fn, made = SHAPED[shape]
    inputs = made()
    params = {"in": jnp.arange(12.0).reshape(4, 3) / 6 - 1, "out": jnp.array([[3.0], [1.0], [0.5]])}
    targets = jnp.ones((4 if shape == "a graph" else 2, 1))
    couplings = graph.couplings(fn, params, *inputs)
    loss = importance.BatchLoss(mean_squares)
    found = WHOLE[name](loss, [(inputs, targets)])(fn, params, couplings)["in:1"]
    gates = with_unit_gates(fn, couplings.families)

    def at(gate):
        return mean_squares(gates(params, *inputs, gates={"in:1": gate}), targets)

    gradient = jax.grad(at)(jnp.ones(3))
    without = jnp.stack([at(1.0 - jnp.eye(3)[unit]) for unit in range(3)]) - at(jnp.ones(3))
    expected = {
        "taylor": jnp.abs(gradient),
        "second_order": gradient**2 / 2,
        "linearized": without,  # what follows the units is linear
        "exact": without,
    }
    np.testing.assert_allclose(found, expected[name], rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match=r"must count the same examples, .*BatchLoss\(loss\)"):
        WHOLE[name](mean_squares, [(inputs, targets)])(fn, params, couplings)
    each = importance.BatchLoss(lambda outputs, targets: outputs[:, 0])
    with pytest.raises(ValueError, match=r"a loss of a whole batch is one number, of shape \(\)"):
        WHOLE[name](each, [(inputs, targets)])(fn, params, couplings)
