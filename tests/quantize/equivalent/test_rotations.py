"""Rotations before rounding: the same outputs in floats, smaller errors in codes."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress import graph, quantize
from jaxcompress.graph import symmetries
from jaxcompress.quantize.equivalent import learn_rotations, rotate
from jaxcompress.quantize.equivalent.learning import cayley

RANDOM = np.random.default_rng(0)
WIDTH, OUTLIER = 64, 20.0


def normal(*shape: int) -> np.ndarray:
    return (RANDOM.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)


def norm(x, scale):
    return x / jnp.sqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6) * scale[None]


def fn(params, x):
    """A residual stream with two blocks, read at the end."""
    x = x @ params["in"]
    for block in params["blocks"]:
        x = x + jax.nn.relu(norm(x, block["scale"]) @ block["up"]) @ block["down"]
    return norm(x, params["scale"]) @ params["out"]


# Two channels of the stream are far larger than all others; readers weigh them less.
LARGE = np.ones(WIDTH, np.float32)
LARGE[[3, 20]] = OUTLIER


def reader(outputs: int) -> np.ndarray:
    return normal(WIDTH, outputs) / LARGE[:, None]


PARAMS = {
    "in": normal(8, WIDTH) * LARGE[None],
    "blocks": [
        {"scale": 1 + 0.1 * normal(WIDTH), "up": reader(24), "down": normal(24, WIDTH)}
        for _ in range(2)
    ],
    "scale": 1 + 0.1 * normal(WIDTH),
    "out": reader(6),
}
X = normal(8, 64).T
INT4 = quantize.int4()
READERS = jc.Rules({"blocks/*": INT4, "out": INT4})
DYNAMIC = quantize.execution.dynamic(INT4)
DATA = jc.Rules({"blocks/*": DYNAMIC, "out": DYNAMIC})


@pytest.fixture(scope="module")
def rotated():
    return rotate(fn, PARAMS, X)


def error(model, params, exact) -> float:
    """Relative error of the outputs with data in 4 bits where the stream is read."""
    coarse = quantize.fake_quantize_activations(model, DATA)
    outputs = jax.jit(coarse)(params, X)
    return float(jnp.linalg.norm(outputs - exact) / jnp.linalg.norm(exact))


def test_outliers_cost_less_once_rotated(rotated):
    params, report = rotated
    model = jax.jit(fn)
    exact = model(PARAMS, X)
    np.testing.assert_allclose(
        model(params, X), exact, rtol=0, atol=1e-5 * float(jnp.abs(exact).max())
    )
    assert error(fn, params, exact) < 0.6 * error(fn, PARAMS, exact)
    axes = graph.axes(fn, PARAMS, X)
    view = jax.jit(quantize.fake_quantize(READERS, axes=axes))
    whole, spread = (view(each) for each in (PARAMS, params))
    assert error(fn, spread, exact) < 0.8 * error(fn, whole, exact)
    actions = {row.name: row.action for row in report.leaves}
    assert actions == {
        "in": "axis 1 by in:1",
        "blocks/0/scale": "folded into blocks/0/up",
        "blocks/0/up": "axis 0 by in:1",
        "blocks/0/down": "axis 1 by in:1",
        "blocks/1/scale": "folded into blocks/1/up",
        "blocks/1/up": "axis 0 by in:1",
        "blocks/1/down": "axis 1 by in:1",
        "scale": "folded into out",
        "out": "axis 0 by in:1",
    }
    reasons = {row.name: row.reason for row in report.leaves}
    assert reasons["blocks/0/up"].startswith("axis 1: max (")
    # The line of whoever called relu first: jax 0.8 keeps its trace.
    assert re.fullmatch(r"axis 1: max \(test_\w+\.py:\d+ \(\w+\)\)", reasons["blocks/0/up"])


def test_a_seed_gives_its_own_matrices_again(rotated):
    again, _ = rotate(fn, PARAMS, X)
    jax.tree.map(np.testing.assert_array_equal, again, rotated[0])
    other, _ = rotate(fn, PARAMS, X, seed=5)
    assert not np.array_equal(other["in"], again["in"])


def test_a_model_without_rotations_stays_and_says_why():
    def recurrent(params, x):
        return jnp.tanh(x @ params["in"]) @ params["out"]

    params = {"in": normal(8, 4), "out": normal(4, 2)}
    same, report = rotate(recurrent, params, X)
    jax.tree.map(np.testing.assert_array_equal, same, params)
    assert not any(row.changed for row in report.leaves)
    assert "tanh (" in report.leaves[0].reason


def direct(params, x):
    return norm(x @ params["in"], params["scale"]) @ params["out"]


def centred(params, x):
    """A stream whose mean is taken away, so that a rotation must keep the ones."""
    x = x @ params["in"]
    return norm(x - x.mean(-1, keepdims=True), params["scale"]) @ params["out"]


SMALL = {name: PARAMS[name] for name in ("in", "scale", "out")}


def test_rotated_params_are_reconstructed_to_a_smaller_error():
    exact, errors = direct(SMALL, X), []
    for each in (SMALL, rotate(direct, SMALL, X)[0]):
        closed, _ = quantize.reconstruct(direct, each, [X], jc.Rules({"out": INT4}))
        coarse = quantize.fake_quantize_activations(direct, jc.Rules({"out": DYNAMIC}))
        outputs = jax.jit(coarse)(jc.materialize(closed), X)
        errors.append(float(jnp.sum((outputs - exact) ** 2)))
    assert errors[1] < 0.6 * errors[0]


@pytest.mark.parametrize("model", [direct, centred])
def test_learned_rotations_lower_the_loss_and_keep_the_model(model):
    params = SMALL
    start, _ = rotate(model, params, X)
    found = symmetries.rotations(model, start, X)
    coarse = quantize.fake_quantize_model(
        model, jc.Rules({"out": INT4}), jc.Rules({"out": DYNAMIC})
    )

    def loss(params, batch):
        return jnp.mean((coarse(params, batch[0]) - batch[1]) ** 2)

    batches = [(x, model(params, x)) for x in (X[:32], X[32:])]
    learned, report = learn_rotations(start, found, batches, loss, steps=30, learning_rate=0.2)
    before, after = (
        sum(float(loss(each, batch)) for batch in batches) for each in (start, learned)
    )
    assert after < before
    assert "after step" in report.title
    exact = model(params, X)
    np.testing.assert_allclose(
        model(learned, X), exact, rtol=0, atol=1e-5 * float(jnp.abs(exact).max())
    )


def test_steps_stay_on_orthogonal_matrices_and_go_down():
    target = np.linalg.qr(RANDOM.normal(size=(2, 5, 5)))[0].astype(np.float32)
    # Turns reach matrices of determinant 1 alone.
    target[:, 0] *= np.sign(np.linalg.det(target))[:, None]
    matrix = jnp.broadcast_to(jnp.eye(5), (2, 5, 5))
    step = jax.jit(cayley)
    distances = []
    for _ in range(60):
        gradient = matrix - target
        distances.append(float(jnp.sum(gradient**2)))
        matrix = step(matrix, gradient, jnp.float32(0.1))
    product = matrix @ jnp.swapaxes(matrix, -1, -2)
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(5), (2, 5, 5)), atol=1e-6)
    assert distances[-1] < 0.1 * distances[0]
    still = step(jnp.eye(3), jnp.zeros((3, 3)), jnp.float32(1.0))
    np.testing.assert_array_equal(still, np.eye(3))


def test_what_cannot_be_learned_is_refused():
    found = symmetries.rotations(centred, PARAMS, X)
    nothing = symmetries.Rotations((), found.blocked)
    with pytest.raises(ValueError, match="nothing of this model may be rotated"):
        learn_rotations(PARAMS, nothing, [X], lambda params, x: jnp.zeros(()))
    with pytest.raises(ValueError, match=r"of shape \(64, 6\); it must give one number"):
        learn_rotations(PARAMS, found, [X], centred)
    with pytest.raises(ValueError, match="is nan before the first step"):
        learn_rotations(PARAMS, found, [X * np.nan], lambda params, x: centred(params, x).sum())
    with pytest.raises(ValueError, match="batches"):
        learn_rotations(PARAMS, found, [], lambda params, x: jnp.zeros(()))
    assert graph.symmetries.rotations is symmetries.rotations
