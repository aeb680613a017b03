"""What removed units still said, added where it was read: exact for constants."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxcompress import graph
from jaxcompress.graph import surgery
from tests.inputs import on_device


def normal(seed: int, *shape: int) -> jax.Array:
    return on_device(np.random.default_rng(seed).normal(size=shape))


GONE = [1, 4]
"""Units whose weights are zeroed while their biases and shifts stay alive."""


def silenced(kernel):
    return kernel.at[..., jnp.array(GONE)].set(0)


def dense(params, x):
    return jax.nn.relu(x @ params["in"] + params["bias"][None]) @ params["out"]


def compiled(params, x):
    return jax.checkpoint(jax.jit(dense))(params, x)


def convolved(params, x):
    """SAME padding: a constant plane is not constant behind it."""
    options = {"window_strides": (1, 1), "dimension_numbers": ("NHWC", "HWIO", "NHWC")}
    x = lax.conv_general_dilated(x, params["in"], padding="SAME", **options)
    x = jnp.tanh(x + params["bias"][None, None, None])
    return lax.conv_general_dilated(x, params["out"], padding="SAME", **options).sum(3)


def heads(params, x):
    """Two contracted axes, of which one loses indices; experts as a batch axis."""
    x = jnp.einsum("bi,eihk->ebhk", x, params["in"]) + params["bias"][None, None, None]
    return jnp.einsum("ebhk,ehko->bo", x, params["out"])


DENSE = {"in": silenced(normal(0, 3, 6)), "bias": normal(1, 6) + 2, "out": normal(2, 6, 2)}
MODELS = {
    "dense": (dense, DENSE, (5, 3)),
    "compiled": (compiled, DENSE, (5, 3)),
    "convolved": (
        convolved,
        {
            "in": silenced(normal(3, 3, 3, 2, 6)),
            "bias": normal(1, 6),
            "out": normal(4, 3, 3, 6, 5),
        },
        (2, 7, 6, 2),
    ),
    "heads": (
        heads,
        {
            "in": silenced(normal(5, 2, 3, 2, 6)),
            "bias": normal(1, 6),
            "out": normal(6, 2, 2, 6, 4),
        },
        (5, 3),
    ),
}


def removal(fn, params, x):
    family = next(f for f in graph.couplings(fn, params, x).families if f.size == 6)
    return graph.couplings(fn, params, x).removal({family.name: GONE})


@pytest.mark.parametrize("name", MODELS)
def test_units_that_say_a_constant_are_compensated_exactly(name):
    fn, params, shape = MODELS[name]
    x = normal(7, *shape)
    small = surgery.compensate(fn, params, removal(fn, params, x), x)
    assert small.without > 0.05
    assert small.to_whole <= 1e-6
    assert [consumer.spread <= 1e-6 for consumer in small.consumers] == [True]
    assert not small.left_out
    more = normal(8, 3, *shape[1:])
    run = jax.jit(small.fn)
    np.testing.assert_allclose(run(small.params, more), fn(params, more), rtol=1e-4, atol=1e-5)


def test_by_hand():
    x = normal(7, 5, 3)
    small = surgery.compensate(dense, DENSE, removal(dense, DENSE, x), x)
    gone = np.array(GONE)
    said = np.maximum(DENSE["bias"][gone], 0) @ DENSE["out"][gone]
    np.testing.assert_allclose(small.params["compensation"]["0"], said[None], rtol=1e-6)
    assert small.params["params"]["in"].shape == (3, 4)


def test_what_varies_is_replaced_by_its_mean_and_the_spread_is_told():
    params = DENSE | {"in": normal(0, 3, 6)}
    x = normal(7, 200, 3)
    small = surgery.compensate(dense, params, removal(dense, params, x), x)
    said = jax.nn.relu(x @ params["in"] + params["bias"][None])[:, np.array(GONE)]
    np.testing.assert_allclose(small.consumers[0].spread, np.std(said, axis=0).max(), rtol=1e-5)
    np.testing.assert_allclose(
        small.fn(small.params, x).mean(0), dense(params, x).mean(0), rtol=1e-4, atol=1e-5
    )
    assert small.to_whole < small.without


def test_gradients_reach_the_compensation():
    x = normal(7, 5, 3)
    small = surgery.compensate(dense, DENSE, removal(dense, DENSE, x), x)
    slope = jax.grad(lambda params: small.fn(params, x).sum())(small.params)
    np.testing.assert_allclose(slope["compensation"]["0"], np.full((1, 2), 5.0))


def test_what_is_not_compensated_is_told():
    def fn(params, x):
        x = x @ params["in"]
        scores = x @ x.T
        _, total = lax.scan(lambda carry, row: (carry, row @ params["out"]), 0.0, x)
        return scores @ total

    x = normal(7, 5, 3)
    params = {"in": normal(0, 3, 6), "out": normal(1, 6, 2)}
    small = surgery.compensate(fn, params, removal(fn, params, x), x)
    assert not small.consumers
    assert [equation.split(" (")[0] for equation in small.left_out] == ["dot_general"] * 2
    np.testing.assert_allclose(small.without, small.to_whole)


def test_images_of_another_size_are_refused():
    fn, params, shape = MODELS["convolved"]
    x = normal(7, *shape)
    small = surgery.compensate(fn, params, removal(fn, params, x), x)
    with pytest.raises(ValueError, match=r"compensate: .*measured on inputs of another size"):
        small.fn(small.params, normal(8, 2, 9, 9, 2))
