"""Every method on every kind of base: values, gradients, running apart, shipping."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcompress as jc
from tests.adapt.table import CASES, EPSILON, METHODS, ORACLES, built, matrices, moved, normal

every_method = pytest.mark.parametrize("method", METHODS)
every_case = pytest.mark.parametrize("name", CASES)


@functools.cache
def found(method: str, name: str) -> dict[str, Any]:
    """All that a method gives for a case, by one program."""
    case, technique = CASES[name], built(method, CASES[name])
    pulls = normal(*case.weight.shape, seed=9), normal(*outputs_of(case).shape, seed=8)

    def seen(adapters, params):
        shown = jc.materialize(technique.view(params, adapters)["w"])
        return jnp.sum(shown * pulls[0]), shown

    def answers(fn, given, adapters, params):
        outputs = fn(given(params, adapters), case.x)
        return jnp.sum(outputs * pulls[1]), outputs

    models = {
        "view": functools.partial(answers, jc.materialized(case.fn), technique.view),
        "run": functools.partial(answers, jc.adapt.run(case.fn), technique.apart),
    }

    @jax.jit
    def everything(params, adapters):
        begun = technique.init(params)
        both = {
            name: jax.value_and_grad(each, has_aux=True)(adapters, params)
            for name, each in models.items()
        }
        return both | {
            "begun": begun,
            "first": technique.merge(params, begun),
            "seen": jax.value_and_grad(seen, has_aux=True)(adapters, params),
            "shipped": technique.freeze(params, adapters),
            "merged": technique.merge(params, adapters),
        }

    return everything(case.params, moved(technique, case)) | {"pull": pulls[0]}


def outputs_of(case) -> Any:
    return jax.eval_shape(jc.materialized(case.fn), case.params, case.x)


@every_method
@every_case
def test_the_model_begins_as_it_is(method, name):
    case, given = CASES[name], found(method, name)
    first, plain = given["first"], jc.materialize(case.params)
    assert list(given["begun"]) == ["w"]
    np.testing.assert_array_equal(first["bias"], plain["bias"])
    assert (first["w"].shape, first["w"].dtype) == (plain["w"].shape, plain["w"].dtype)
    # Of DoRA a norm is divided by itself, which may be summed in another order.
    room = {"lora": 0, "dora": 4 * EPSILON}[method]
    np.testing.assert_allclose(first["w"], plain["w"], rtol=room, atol=0)


@every_method
@every_case
def test_values_and_gradients_are_those_of_the_formula(method, name):
    case, given = CASES[name], found(method, name)
    (_, shown), grads = given["seen"]
    adapter = moved(built(method, case), case)["w"]
    expected = ORACLES[method](case.weight, adapter, given["pull"], case.axes)
    # Sums of at most 64 products of numbers below 8.
    np.testing.assert_allclose(matrices(shown, case.axes), expected.seen, atol=1e-4)
    for part, grad in grads["w"].items():
        assert grad.shape == adapter[part].shape
        wanted = expected.grads[part].reshape(grad.shape)
        np.testing.assert_allclose(grad, wanted, atol=5e-4)


@every_method
@every_case
def test_running_apart_equals_what_is_seen(method, name):
    given = found(method, name)
    (_, outputs), grads = given["run"]
    (_, expected), wanted = given["view"]
    # Outputs are sums of at most 36 products, their gradients of at most 72 outputs.
    np.testing.assert_allclose(outputs, expected, rtol=2e-5, atol=2e-5)
    for part, grad in grads["w"].items():
        size = float(np.abs(wanted["w"][part]).max())
        np.testing.assert_allclose(grad, wanted["w"][part], atol=5e-5 * size)


@every_method
@every_case
def test_no_rows_give_no_outputs(method, name):
    case, technique = CASES[name], built(method, CASES[name])
    apart = technique.apart(case.params, moved(technique, case))
    found = jax.eval_shape(jc.adapt.run(case.fn), apart, case.x[:0])
    assert found.shape == (0, *outputs_of(case).shape[1:])


@every_method
@every_case
def test_what_is_shipped_is_what_was_seen(method, name):
    case, given = CASES[name], found(method, name)
    (_, seen), _ = given["seen"]
    shipped = given["shipped"]["w"]
    np.testing.assert_array_equal(jax.jit(jc.materialize)(shipped), seen)
    np.testing.assert_array_equal(given["merged"]["w"], seen)
    if isinstance(case.weight, jc.QTensor) and method == "lora":
        assert isinstance(shipped, jc.Corrected)
        np.testing.assert_array_equal(shipped.base.codes, case.weight.codes)
    else:
        assert isinstance(shipped, jax.Array)


@every_method
@pytest.mark.parametrize("name", ["dense", "convolution", "nf4", "int8"])
def test_running_apart_forms_neither_the_sum_nor_its_gradient(method, name):
    case, technique = CASES[name], built(method, CASES[name])

    def loss(adapters):
        return jnp.sum(jc.adapt.run(case.fn)(technique.apart(case.params, adapters), case.x))

    traced = jax.make_jaxpr(jax.grad(loss))(moved(technique, case))
    formed = {"add", "add_any", "dot_general", "conv_general_dilated", "scatter-add"}
    made = [eqn.outvars[0].aval for eqn in equations(traced.jaxpr) if eqn.primitive.name in formed]
    floats = [sorted(each.shape) for each in made if jnp.issubdtype(each.dtype, jnp.floating)]
    assert floats
    assert sorted(case.weight.shape) not in floats


def equations(jaxpr):
    """All equations, those of inner programs among them."""
    for eqn in jaxpr.eqns:
        yield eqn
        for inner in jax.tree.leaves(list(eqn.params.values()), is_leaf=is_program):
            if is_program(inner):
                yield from equations(getattr(inner, "jaxpr", inner))


def is_program(value) -> bool:
    return hasattr(value, "eqns") or hasattr(value, "jaxpr")


@every_method
@pytest.mark.parametrize("name", ["dense", "stack", "nf4 table"])
def test_pruned_weights_stay_zero_and_the_merged_are_the_trained(method, name):
    case = CASES[name]
    weight = np.asarray(jc.materialize(case.weight))
    keep = np.abs(weight) > 0.5
    case = case._replace(weight=np.where(keep, weight, 0))
    masked, free = built(method, case, masks={"w": keep, "bias": True}), built(method, case)
    adapters = moved(masked, case)

    @jax.jit
    def everything(params, adapters):
        def seen(adapters):
            shown = masked.view(params, adapters)["w"]
            return shown.sum(), shown

        (_, shown), grads = jax.value_and_grad(seen, has_aux=True)(adapters)
        merged, filled = (each.merge(params, adapters)["w"] for each in (masked, free))
        outputs = jc.adapt.run(case.fn)(masked.apart(params, adapters), case.x)
        return shown, grads, merged, filled, outputs, case.fn({"w": merged}, case.x)

    shown, grads, merged, filled, outputs, expected = everything(case.params, adapters)
    np.testing.assert_array_equal(merged, shown)
    np.testing.assert_array_equal(np.asarray(merged)[~keep], 0)
    assert np.all(np.asarray(merged)[keep] != 0)
    assert np.all(np.asarray(filled)[~keep] != 0)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    if method == "lora":
        np.testing.assert_allclose(np.asarray(filled)[keep], np.asarray(merged)[keep], atol=1e-6)
        by_hand = ORACLES["lora"](case.weight, adapters["w"], 1.0 * keep, case.axes).grads
        for part, grad in grads["w"].items():
            np.testing.assert_allclose(grad, by_hand[part].reshape(grad.shape), atol=1e-4)


@every_method
@pytest.mark.parametrize("keep", [True, False])
def test_a_mask_of_one_entry_keeps_the_parts_apart(method, keep):
    case = CASES["nf4"]
    technique = built(method, case, masks={"w": np.full((1, 1), keep), "bias": True})
    adapters = moved(technique, case)

    @jax.jit
    def both(params, adapters):
        apart = technique.apart(params, adapters)
        assert not isinstance(apart["w"], jax.Array)
        return jc.adapt.run(case.fn)(apart, case.x), technique.merge(params, adapters)["w"]

    outputs, merged = both(case.params, adapters)
    np.testing.assert_allclose(outputs, case.fn({"w": merged}, case.x), atol=1e-5)
    assert np.array_equal(found(method, "nf4")["merged"]["w"], merged) is keep


@every_method
@pytest.mark.parametrize("name", ["nf4 stack", "nf4 table", "convolution"])
def test_an_optimizer_moves_the_adapters_in_one_trace(method, name):
    case = CASES[name]
    technique, optimizer, traces = built(method, case), optax.adam(1e-2), []
    adapters, target = found(method, name)["begun"], 0.1 * normal(*outputs_of(case).shape, seed=8)

    @jax.jit
    def step(params, adapters, state):
        traces.append(name)

        def loss(adapters):
            outputs = jc.adapt.run(case.fn)(technique.apart(params, adapters), case.x)
            return jnp.mean((outputs - target) ** 2)

        value, grads = jax.value_and_grad(loss)(adapters)
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(grads, state, adapters)
            return optax.apply_updates(adapters, updates), state, value

    state, values = jax.jit(optimizer.init)(adapters), []
    for _ in range(20):
        adapters, state, value = step(case.params, adapters, state)
        values.append(float(value))
    assert len(traces) == 1
    assert values[-1] < values[0]
    assert np.any(np.asarray(adapters["w"]["left"]) != 0)


@every_method
@pytest.mark.parametrize("name", ["stack", "convolution", "nf4", "nf4 table"])
def test_a_step_lowers_for_accelerators(method, name):
    case, technique = CASES[name], built(method, CASES[name])

    def loss(adapters, params, x):
        return jnp.sum(jc.adapt.run(case.fn)(technique.apart(params, adapters), x))

    traced = jax.jit(jax.grad(loss)).trace(moved(technique, case), case.params, case.x)
    for platform in ("tpu", "cuda"):
        assert traced.lower(lowering_platforms=(platform,)).as_text()
