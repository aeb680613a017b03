"""Sensitivities: measured against separate runs, predicted against exact curvature."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from scipy import stats

import jaxcompress as jc
from jaxcompress.auto import linearity, predicted_sensitivity, second_order
from jaxcompress.auto.parts import Part
from jaxcompress.core.sensitivities import Sensitivities
from jaxcompress.quantize import execution, fake_quantize_activations, formats, int4, int8
from tests.inputs import on_device

RANDOM = np.random.default_rng(0)


def normal(*shape):
    return on_device(RANDOM.normal(size=shape))


def model(params, x):
    x = jnp.tanh(x @ params["in"])
    x, _ = jax.lax.scan(lambda x, w: (x + jnp.tanh(x @ w), None), x, params["layers"])
    return x @ params["out"]


def cross_entropy(logits, labels):
    return jc.validate.cross_entropy(logits, labels)


@pytest.fixture(scope="module")
def trained():
    """A net of a scanned stack that learned to tell four clusters apart."""
    centers = RANDOM.normal(size=(4, 6))
    labels = RANDOM.integers(0, 4, 256)
    x = jnp.asarray(centers[labels] + RANDOM.normal(size=(256, 6)), jnp.float32)
    params = {"in": normal(6, 10) / 2, "layers": normal(4, 10, 10) / 3, "out": normal(10, 4) / 3}
    optimizer = optax.adam(1e-2)

    def step(carry, _):
        params, state = carry
        grads = jax.grad(lambda p: cross_entropy(model(p, x), labels).mean())(params)
        updates, state = optimizer.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), None

    train = jax.jit(lambda params: jax.lax.scan(step, (params, optimizer.init(params)), None, 80))
    return train(params)[0][0], x, labels


def test_parts_specs_and_data_are_those_of_separate_runs(trained):
    params, x, labels = trained
    examples = jc.validate.Examples(x, labels)
    axes = jc.graph.axes(model, params, x)
    specs = [int4(), jc.Rules({"layers": formats.int2()})]
    data = execution.dynamic(formats.int2())
    traces = []

    def counted(params, x):
        traces.append(1)
        return model(params, x)

    table = jc.auto.sensitivity(counted, params, [*specs, data], examples, axes=axes)
    # Six parts, four layers and three sites cost no more programs than one of each.
    assert len(traces) <= 12
    before = examples.judge(model, params)
    rows = {(row.part, row.choice): row for row in table if not row.reason}
    layers = [f"layers[{i}]" for i in range(4)]
    four, two = "int4 per channel", "int2 per channel"
    expected = {(part, four) for part in ("in", "out", *layers)} | {(part, two) for part in layers}
    assert rows.keys() == expected | {(site, f"data as {two}") for site in params}
    assert {(row.name, row.reason) for row in table if row.reason} == {
        ("in", "no rule"),
        ("out", "no rule"),
    }
    specs_by_name = {four: int4(), two: formats.int2()}

    def alone(row):
        stored, _ = jc.quantize.quantize(params, specs_by_name[row.choice], axes=axes)
        whole = jc.materialize(stored)[row.name]
        if row.layer:
            whole = params[row.name].at[row.layer].set(whole[row.layer])
        return {**params, row.name: whole}

    of_weights = [row for row in rows.values() if row.choice in specs_by_name]
    found = list(zip(of_weights, examples.judge_each(model, map(alone, of_weights)), strict=True))
    for row in rows.values():
        if row not in of_weights:
            fn = fake_quantize_activations(model, jc.Rules({row.name: data}))
            found.append((row, examples.judge(fn, params)))
    for row, after in found:
        paired = jc.validate.compare_scores(before, after, "loss")
        np.testing.assert_allclose(row.loss_increase, paired.difference, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(row.intervals["loss"], paired.interval, rtol=1e-3, atol=1e-6)
        assert set(row.intervals) == {"loss", "accuracy"}
    known = [row.loss_increase for row in table if not row.reason]
    assert known == sorted(known, reverse=True)
    again = Sensitivities.from_json(json.loads(json.dumps(table.to_json())))
    assert again == table
    assert str(again) == str(table)
    assert "layers[3]" in str(table)


def exact_traces(params, x, labels):
    """By leaf the diagonal of the whole Hessian, the plainest way."""
    flat, unflatten = ravel_pytree(params)

    def loss(flat):
        return cross_entropy(model(unflatten(flat), x), labels).mean()

    return unflatten(jnp.diag(jax.jit(jax.hessian(loss))(flat)))


def test_traces_are_those_of_the_exact_hessian(trained):
    params, x, labels = trained
    batches = [(x[:40], labels[:40]), (x[40:64], labels[40:64])]
    found = second_order(model, params, cross_entropy, batches, jax.random.key(0), probes=50)
    diagonal = exact_traces(params, x[:64], labels[:64])
    assert len(found.coefficients) == 6
    for part, each in found.coefficients.items():
        own = np.asarray(diagonal[part.name])[part.mask(params[part.name].shape)]
        # Ends are two standard errors away; the mean lies within four.
        assert abs(each.value - own.mean() / 2) <= each.high - each.low, part


def test_predictions_rank_as_measured(trained):
    params, x, labels = trained
    axes = jc.graph.axes(model, params, x)
    specs = [int8(), int4(), formats.int3()]
    rises = jc.auto.sensitivity(model, params, specs, jc.validate.Examples(x, labels), axes=axes)
    divergence = [jc.validate.metrics.kl_divergence()]
    float_logits = jc.validate.Examples(x, np.asarray(model(params, x)), divergence)
    moved = jc.auto.sensitivity(model, params, specs, float_logits, axes=axes)
    key = jax.random.key(1)
    curvatures = (
        second_order(model, params, cross_entropy, [(x, labels)], key, probes=50),
        linearity(model, params, [x], key, sizes=(0.05,) * 8),
    )
    for curvature, measured in zip(curvatures, (rises, moved), strict=True):
        table = predicted_sensitivity(curvature, params, specs, axes=axes)
        predicted = {(row.part, row.choice): row.changes[curvature.metric] for row in table}
        pairs = [
            (row.changes[measured.metric], predicted[row.part, row.choice]) for row in measured
        ]
        assert len(pairs) == 18
        correlation, _ = np.asarray(stats.spearmanr(np.array(pairs)))
        assert correlation >= 0.8, curvature.method
        low, high = table[0].intervals[curvature.metric]
        assert low <= table[0].changes[curvature.metric] <= high


def dense(params, x):
    return x @ params["kernel"]


def squares(outputs, targets):
    return jnp.sum((outputs - targets) ** 2, axis=-1)


def test_a_linear_model_has_the_coefficients_of_its_data():
    params, x = {"kernel": normal(40, 30)}, normal(200, 40)
    exact = float(jnp.mean(jnp.sum(x**2, axis=-1))) / 40  # E|x|² / inputs, for each output
    part = Part("kernel")
    found = linearity(dense, params, [x[:150], x[150:]], jax.random.key(0), divergence=squares)
    each = found.coefficients[part]
    assert abs(each.value - exact) <= each.high - each.low
    np.testing.assert_allclose(each.value, exact, rtol=0.1)  # 1200 weights: sqrt(2 / 1200) = 0.04
    batches = [(x, jnp.zeros((200, 30)))]
    traced = second_order(dense, params, squares, batches, jax.random.key(0), probes=50)
    np.testing.assert_allclose(traced.coefficients[part].value, exact, rtol=0.1)


def test_what_is_not_known_is_named():
    params = {"kernel": normal(4, 4), "zeros": jnp.zeros((4, 4)), "away": normal(3, 3)}

    def fn(params, x):
        return x @ params["kernel"] + x @ params["zeros"]

    found = linearity(fn, params, [normal(8, 4)], jax.random.key(0), divergence=squares)
    assert found.left_out == {"zeros": "it is all zeros"}
    table = predicted_sensitivity(found, params, int8())
    reasons = {row.name: row.reason for row in table}
    assert reasons == {
        "zeros": "it is all zeros",
        "away": "its curvature was not looked for",
        "kernel": "",
    }


def test_curvature_of_what_an_explicit_mesh_splits_is_that_of_one_device(mesh):
    devices = mesh(rows=2, columns=4, axis_type=AxisType.Explicit)
    key, x = jax.random.key(0), normal(8, 4)

    def fn(params, x):
        return jax.lax.scan(lambda _, w: (None, jnp.tanh(x @ w)), None, params["layers"])[1].sum(0)

    def found(params, x):
        curvatures = (
            linearity(fn, params, [x], key, divergence=squares, sizes=(0.1, 0.2)),
            second_order(fn, params, squares, [(x, 0 * x)], key, probes=2),
        )
        tables = [predicted_sensitivity(each, params, int4()) for each in curvatures]
        return [[(row.part, *row.changes.values()) for row in table] for table in tables]

    params = {"layers": normal(2, 4, 4)}
    place = NamedSharding(devices, PartitionSpec(None, None, "columns"))
    split = {"layers": jax.device_put(params["layers"], place)}
    rows = jax.device_put(x, NamedSharding(devices, PartitionSpec("rows")))
    for one, other in zip(found(split, rows), found(params, x), strict=True):
        assert [name for name, _ in one] == [name for name, _ in other]
        np.testing.assert_allclose(
            [rise for _, rise in one], [rise for _, rise in other], rtol=1e-3
        )


EXAMPLES = jc.validate.Examples(jnp.eye(2), jnp.arange(2))
EYE = {"kernel": jnp.eye(2)}
X, Y = EXAMPLES[:2]
PAIRS = [(jnp.eye(2), jnp.zeros((2, 2)))]
KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: jc.auto.sensitivity(dense, EYE, [], EXAMPLES), r"sensitivity\(spec=\[\]\) has n"),
        (
            lambda: jc.auto.sensitivity(dense, EYE, int8(), jc.validate.Examples(X[:0], Y[:0])),
            r"^sensitivity\(examples.inputs\) holds no examples",
        ),
        (lambda: second_order(dense, EYE, squares, PAIRS, KEY, probes=1), "probes=1"),
        (lambda: second_order(dense, EYE, squares, [], KEY), "holds no batch"),
        (lambda: second_order(lambda p, x: x, EYE, squares, PAIRS, KEY), "no real weight meets"),
        (
            lambda: second_order(dense, EYE, lambda o, t: o[:, 0] * jnp.nan, PAIRS, KEY),
            r"loss=...\) is not finite on a batch",
        ),
        (lambda: linearity(dense, EYE, [jnp.eye(2)], KEY, sizes=(0.1,)), "needs two or more"),
        (lambda: linearity(dense, EYE, [jnp.eye(2)], KEY, sizes=(0.1, 0.0)), "sizes=0.0"),
        (
            lambda: linearity(dense, EYE, [jnp.eye(2)], KEY, sizes=(1e-7, 0.1)),
            r"^linearity\(sizes=1e-07\) must be at least 0.0004",
        ),
        (
            lambda: predicted_sensitivity(
                second_order(dense, EYE, squares, PAIRS, KEY, probes=2),
                {"kernel": jnp.full((2, 2), jnp.nan)},
                int8(),
            ),
            "^predicted_sensitivity: leaf 'kernel' holds 4 values that are not finite",
        ),
        (
            lambda: linearity(dense, EYE, [jnp.eye(2) * jnp.inf], KEY),
            "not finite with noise in leaf 'kernel'",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
