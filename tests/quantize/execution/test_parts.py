"""Leaves in leaves where they meet data: against NumPy, and at all kinds of sites."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.core.hadamard import largest_block
from jaxcompress.quantize import fake_quantize_activations, int4, int8, quantize, run
from jaxcompress.quantize.execution import dynamic, outliers, static
from tests.inputs import COMPOSED, corrected, rotated
from tests.quantize.execution.test_run import BY_NAME, EPS, planned

KINDS = {
    "corrected": lambda leaf, axes: corrected(leaf, axes),
    "rotated": lambda leaf, axes: rotated(leaf, axes, block(leaf, axes)),
    "both": lambda leaf, axes: rotated(corrected(leaf, axes), axes, block(leaf, axes)),
    "not quantized": lambda leaf, axes: rotated(leaf.materialize(), axes, block(leaf, axes)),
}


def block(leaf, axes):
    return largest_block(int(np.prod([leaf.shape[axis] for axis in axes.contracting])), 8)


def composed(model, kind, spec=int8()):
    axes = jc.graph.axes(model.fn, model.params, model.x)
    leaf = jax.jit(lambda params: quantize(params, spec, axes=axes)[0]["w"])(model.params)
    return {"w": KINDS[kind](leaf, axes["w"])}


SITES = [
    (BY_NAME[name], "both") for name in ("heads merged", "experts", "scanned", "conv", "gather")
]
SITES += [(BY_NAME["transposed"], "not quantized")]


@pytest.mark.parametrize(("model", "kind"), SITES, ids=lambda part: getattr(part, "name", part))
def test_the_program_by_parts_is_the_program_on_the_array(model, kind):
    params = composed(model, kind)
    plan = planned(model, params, "materialized")
    fast = run(model.fn, plan)

    @jax.jit
    def outputs(params, x):
        array = jc.materialize(params)
        sizes = jax.tree.map(jnp.abs, (array, x))
        return fast(params, x), model.fn(array, x), jnp.max(model.fn(*sizes))

    found, expected, size = outputs(params, model.x)
    tolerance = 64 * EPS * float(size)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
    if kind == "not quantized":
        assert plan.choices[0].reason == "rotated, and no codes"


def of_data(x: np.ndarray, highest: int) -> np.ndarray:
    """Rounds each row to symmetric codes, in the plainest way."""
    scale = np.abs(x).max(-1, keepdims=True) / highest
    return np.round(x / scale) * scale


@pytest.mark.parametrize("kind", ["corrected", "rotated", "both"])
def test_rounded_data_meet_the_codes(kind):
    """What is rounded are rotated rows; factors meet them as they are."""
    model = BY_NAME["dense"]
    params = composed(model, kind)
    [leaf], x = params.values(), np.asarray(model.x, np.float64)
    if kind != "corrected":
        x = np.asarray(leaf.rotated_rows(model.x), np.float64)
        leaf = leaf.leaf
    correction = 0.0
    if kind != "rotated":
        correction = x @ np.asarray(leaf.correction.materialize(), np.float64)
        leaf = leaf.base
    expected = of_data(x, 127) @ np.asarray(leaf.materialize(), np.float64) + correction
    # A number near the middle of two codes may round to either: one step of one input.
    step = np.abs(x).max() / 127 * np.abs(np.asarray(leaf.materialize())).max()
    coarse = jax.jit(fake_quantize_activations(model.fn, dynamic()))(params, model.x)
    plan = planned(model, params, "integer")
    assert plan.choices[0].form == "integer"
    codes = jax.jit(run(model.fn, plan))(params, model.x)
    for found in (coarse, codes):
        off = np.abs(np.asarray(found) - expected)
        assert off.max() <= 1.01 * step
        assert np.median(off) <= 64 * EPS * np.abs(expected).max()


def test_rotated_data_lose_less_to_an_outlier():
    x = np.random.default_rng(0).normal(size=(16, 64)).astype(np.float32)
    x[:, 3] *= 50
    stored = jnp.asarray(np.random.default_rng(1).normal(size=(64, 8)), jnp.float32)
    leaf, fn = rotated(stored, jc.LeafAxes((0,), (1,)), 64), BY_NAME["dense"].fn
    coarse = fake_quantize_activations(fn, dynamic(int4()))

    @jax.jit
    def errors(leaf):
        array = leaf.materialize()
        return [jnp.linalg.norm(coarse({"w": w}, x) - x @ array) for w in (leaf, array)]

    by_parts, on_array = errors(leaf)
    assert by_parts < on_array / 2


def test_the_gradient_is_that_of_the_array():
    model = BY_NAME["dense"]
    params = composed(model, "both")
    plan = planned(model, params, "integer")
    fast = run(model.fn, plan)

    @jax.jit
    def gradients(params, x):
        calls = (lambda x: fast(params, x), lambda x: model.fn(jc.materialize(params), x))
        return [jax.grad(lambda x, call=call: jnp.sum(call(x)[:, 0]))(x) for call in calls]

    by_parts, on_array = gradients(params, model.x)
    tolerance = 64 * EPS * float(jnp.max(jnp.abs(on_array)))
    np.testing.assert_allclose(by_parts, on_array, rtol=0, atol=tolerance)


def test_ranges_of_data_that_are_not_rotated_say_nothing_of_rotated_ones():
    model = BY_NAME["dense"]
    params = composed(model, "rotated")
    whole = jc.graph.calibrate(model.fn, model.params, [model.x], jc.quantize.ranges.min_max())
    by_feature = jc.graph.calibrate(
        model.fn, model.params, [model.x], jc.quantize.ranges.min_max(None, (-2,))
    )
    for activations in (static(whole), outliers(dynamic(), readings=by_feature)):
        message = r"site 'w' is rotated, .*not rotated; take dynamic\(\)"
        with pytest.raises(ValueError, match=message):
            fake_quantize_activations(model.fn, activations)(params, model.x)
    plan = planned(model, params, "integer", static(whole))
    assert plan.choices[0].form == "materialized"
    assert "not rotated" in str(plan)
    # Of a correction they do, and of an array that is formed.
    coarse = fake_quantize_activations(model.fn, static(whole))
    assert jax.eval_shape(coarse, composed(model, "corrected"), model.x).shape == (3, 6)


def test_rotated_along_other_axes_the_array_is_formed():
    leaf = COMPOSED["rotated"]()
    fn, x = lambda params, x: x @ params["w"].T, jnp.ones((2, 5))
    plan = jc.quantize.plan_execution(
        fn, {"w": leaf}, x, probe=lambda functions: dict.fromkeys(functions, 1.0)
    )
    assert plan.choices[0].reason.startswith("rotated along other axes")
    fast = run(fn, plan)
    found, expected = jax.jit(lambda w: (fast({"w": w}, x), x @ w.materialize().T))(leaf)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
