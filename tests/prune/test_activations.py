"""Wanda: the size of a weight times that of what it meets, by NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.prune import wanda


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def model(params, x):
    x = jax.nn.relu(x @ params["in"])
    x, _ = jax.lax.scan(lambda x, kernel: (x @ kernel, None), x, params["layers"])
    y = jnp.einsum("bd,dhk->bhk", x, params["split"])
    return jnp.einsum("bhk,hkd->bd", y, params["join"]) + params["bias"]


PARAMS = {
    "in": random(3, 4, seed=1),
    "layers": random(2, 4, 4, seed=2),
    "split": random(4, 2, 3, seed=3),
    "join": random(2, 3, 5, seed=4),
    "bias": jnp.zeros(()),
}
BATCHES = [random(6, 3, seed=5), (random(6, 3, seed=6),)]


def expected_scores() -> dict:
    leaves = {name: np.asarray(leaf, np.float64) for name, leaf in PARAMS.items()}
    x = np.concatenate([BATCHES[0], BATCHES[1][0]]).astype(np.float64)

    def norms(x):
        return np.sqrt(np.mean(x**2, axis=0))

    scores = {"in": np.abs(leaves["in"]) * norms(x)[:, None]}
    x = np.maximum(x @ leaves["in"], 0)
    layers = []
    for kernel in leaves["layers"]:
        layers.append(np.abs(kernel) * norms(x)[:, None])
        x = x @ kernel
    scores["layers"] = np.stack(layers)
    scores["split"] = np.abs(leaves["split"]) * norms(x)[:, None, None]
    x = np.einsum("bd,dhk->bhk", x, leaves["split"])
    scores["join"] = np.abs(leaves["join"]) * norms(x)[..., None]
    return scores


def test_scores_equal_the_oracle():
    scores = wanda(model, PARAMS, BATCHES).score((), PARAMS)
    for name, expected in expected_scores().items():
        assert scores[name].dtype == jnp.float32
        # Four layers of sums of at most six terms in float32.
        np.testing.assert_allclose(scores[name], expected, rtol=4 * 12 * 2**-22, atol=1e-6)


def test_a_leaf_that_meets_no_data_in_a_dot_is_refused():
    table = {"table": jnp.ones((4, 2))}
    criterion = wanda(lambda params, ids: params["table"][ids], table, [jnp.arange(3)])
    with pytest.raises(ValueError, match=r"leaf 'table' of shape \(4, 2\) meets data in no dot"):
        criterion.score((), table)


def test_no_batch_is_refused():
    with pytest.raises(ValueError, match=r"wanda\(batches=\[\]\) holds no batch"):
        wanda(model, PARAMS, [])
