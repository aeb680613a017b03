"""Learned rate: gradients by formula, what is shipped, and codes made shorter."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcompress as jc
from jaxcompress.quantize.companions import learned_rate

RANDOM = np.random.default_rng(0)
STACKED = {"kernel": jc.LeafAxes(contracting=(1,), output=(2,), batch=(0,))}


def laplace(*shape: int) -> np.ndarray:
    return RANDOM.laplace(size=shape).astype(np.float32)


TECHNIQUES = {
    "one step": learned_rate(),
    "a step for each output": learned_rate(jc.quantize.int4(), start=0.8),
    "groups": learned_rate(jc.quantize.int8(group_size=4)),
    "stacked": learned_rate(axes=STACKED),
}


def params_of(name: str):
    return {"kernel": laplace(3, 8, 6) if name == "stacked" else laplace(8, 6)}


def steps(technique, params):
    """The step of each weight, of its shape."""
    companion = np.exp(technique.init(params)["kernel"])
    kernel = params["kernel"]
    if companion.ndim > kernel.ndim:  # groups along the inputs
        return np.broadcast_to(companion, (2, 4, 6)).reshape(kernel.shape)
    return np.broadcast_to(companion, kernel.shape)


@pytest.mark.parametrize("name", TECHNIQUES)
def test_steps_begin_as_a_share_of_the_mean_magnitude(name):
    technique, params = TECHNIQUES[name], params_of(name)
    kernel = params["kernel"]
    kernel[..., 0, :] = 0.0  # pruned weights do not count
    alive = np.ma.masked_equal(np.abs(kernel), 0)
    share = 0.8 if name == "a step for each output" else 0.4
    axis = {"one step": None, "a step for each output": 0, "stacked": (1, 2)}
    if name == "groups":
        mean = np.repeat(alive.reshape(2, 4, 6).mean(1), 4, axis=0)
    else:
        mean = alive.mean(axis[name], keepdims=True)
    expected = np.broadcast_to(share * mean, kernel.shape)
    np.testing.assert_allclose(steps(technique, params), expected, rtol=1e-5)


@pytest.mark.parametrize("name", TECHNIQUES)
def test_what_is_shipped_is_what_the_view_shows(name):
    technique, params = TECHNIQUES[name], params_of(name)
    companions = technique.init(params)

    @jax.jit
    def both(params, companions):
        shipped = technique.freeze(params, companions)
        return technique.view(params, companions)["kernel"], jc.materialize(shipped)["kernel"]

    shown, shipped = both(params, companions)
    np.testing.assert_array_equal(np.asarray(shown).view(int), np.asarray(shipped).view(int))
    step, highest = steps(technique, params), 7 if name == "a step for each output" else 127
    codes = np.clip(np.round(params["kernel"] / step), -highest, highest)
    np.testing.assert_allclose(shown, codes * step, rtol=1e-6)


@pytest.mark.parametrize("name", TECHNIQUES)
def test_gradients_are_those_of_the_paper(name):
    """To weights straight through; to steps the error of rounding, or the last code."""
    technique, params = TECHNIQUES[name], params_of(name)
    params["kernel"][..., 1, 2] = 1e3 if name != "one step" else 4.0
    pull = laplace(*params["kernel"].shape)

    def pulled(params, companions):
        return jnp.sum(technique.view(params, companions)["kernel"] * pull)

    companions = technique.init(params)
    by_params, by_steps = jax.grad(pulled, (0, 1))(params, companions)
    step, highest = steps(technique, params), 7 if name == "a step for each output" else 127
    ratio = params["kernel"] / step
    inside = np.abs(ratio) <= highest
    codes = np.clip(np.round(ratio), -highest, highest)
    np.testing.assert_allclose(by_params["kernel"], np.where(inside, pull, 0), rtol=1e-5)
    # The companion is the logarithm of the step.
    of_each = np.where(inside, codes - ratio, codes) * step * pull
    shape = companions["kernel"].shape
    if name == "groups":
        of_each = of_each.reshape(2, 4, 6)
    axes = tuple(i for i, size in enumerate(shape) if size == 1)
    expected = of_each.sum(axes, keepdims=True).reshape(shape)
    np.testing.assert_allclose(by_steps["kernel"], expected, rtol=1e-3, atol=1e-3)


def test_the_penalty_is_that_of_the_paper():
    technique, params = learned_rate(offset=0.05), {"kernel": laplace(8, 6)}
    companions = technique.init(params)
    x = params["kernel"] / np.exp(companions["kernel"])
    expected = np.sum(np.log((np.abs(x) + 0.05) / 0.05))
    np.testing.assert_allclose(technique.penalty(params, companions), expected, rtol=1e-5)
    zeros = {"kernel": jnp.zeros((8, 6))}
    assert technique.penalty(zeros, technique.init(zeros)) == 0


def bits(codes) -> float:
    _, counts = np.unique(codes, return_counts=True)
    return float(np.sum(counts * np.log2(np.size(codes) / counts))) / np.size(codes)


def test_training_makes_codes_shorter_where_the_loss_allows():
    """Of 16 inputs 4 matter much; with the penalty the others cost next to nothing."""
    matters = np.arange(16) < 4
    x = laplace(128, 16)
    truth = np.where(matters[:, None], laplace(16, 4), 0.1 * laplace(16, 4))
    target = x @ truth
    technique = learned_rate()

    def trained(weight: float):
        both = {"kernel": 0.3 * laplace(16, 4)}, technique.init({"kernel": laplace(16, 4)})
        optimizer = optax.adam(0.02)

        def loss(both):
            outputs = x @ technique.view(*both)["kernel"]
            return jnp.mean((outputs - target) ** 2) + weight * technique.penalty(*both)

        def step(carry, _):
            both, state = carry
            updates, state = optimizer.update(jax.grad(loss)(both), state)
            return (optax.apply_updates(both, updates), state), None

        (both, _), _ = jax.lax.scan(step, (both, optimizer.init(both)), None, 400)
        leaf = technique.freeze(*both)["kernel"]
        error = np.mean((x @ np.asarray(leaf.materialize()) - target) ** 2)
        return bits(leaf.unpacked_codes), error, np.asarray(leaf.materialize())

    (plain, _, before), (short, error, values) = trained(0.0), trained(6e-3)
    assert short < 0.7 * plain
    assert error < 0.02 * np.mean(target**2)
    assert np.mean(values[~matters] == 0) > 0.5 > np.mean(before[~matters] == 0)


def test_pruned_weights_stay_zero_and_other_leaves_as_they_are():
    params = {"kernel": laplace(8, 6), "bias": laplace(6)}
    params["kernel"][2:5] = 0.0
    technique = learned_rate()
    companions = technique.init(params)
    shipped = technique.freeze(params, companions)
    assert list(companions) == ["kernel"]
    assert shipped["bias"] is params["bias"]
    assert not np.any(np.asarray(shipped["kernel"].materialize())[2:5])


@pytest.mark.parametrize(
    ("error", "message", "make"),
    [
        (TypeError, "spec", lambda: learned_rate(4)),
        (ValueError, "integers around zero", lambda: learned_rate(jc.quantize.formats.nf4())),
        (ValueError, "integers around zero", lambda: learned_rate(jc.quantize.formats.uint4())),
        (
            ValueError,
            "float32 scales",
            lambda: learned_rate(jc.quantize.int8(scales="power_of_two")),
        ),
        (ValueError, "start", lambda: learned_rate(start=0.0)),
        (ValueError, "offset", lambda: learned_rate(offset=-1.0)),
        (
            ValueError,
            "Begin with init",
            lambda: learned_rate().view({"kernel": jnp.ones((2, 2))}, {}),
        ),
        (
            ValueError,
            "shape",
            lambda: learned_rate().freeze({"kernel": jnp.ones((2, 2))}, {"kernel": jnp.ones(3)}),
        ),
        (
            ValueError,
            "no leaf 'other'",
            lambda: learned_rate().penalty({"kernel": jnp.ones((2, 2))}, {"other": jnp.ones(3)}),
        ),
    ],
)
def test_what_is_refused(error, message, make):
    with pytest.raises(error, match=message):
        make()
