"""Small recipes and data for the tests of cross-validation."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.validate.cross_validation import Candidate

STEPS = 10


def regression(n, features=3, seed=0):
    """Inputs and a noisy linear target, float64."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, features))
    return x, x @ np.arange(1.0, features + 1) + random.normal(size=n)


def squares(predict):
    """An `evaluate` of squared errors."""
    return lambda model, examples: {"square": (predict(model, examples[0]) - examples[1]) ** 2}


def predicted(params, x):
    hidden = jnp.tanh(x @ params["in"] + params["bias"][None])
    return (hidden @ params["out"])[:, 0]


@jax.jit
def trained(examples, weights, key):
    """A perceptron after ten steps of gradient descent on all examples."""
    x, y = examples
    keys = jax.random.split(key)
    params = {
        "in": jax.random.normal(keys[0], (x.shape[1], 4), x.dtype),
        "bias": jnp.zeros(4, x.dtype),
        "out": jax.random.normal(keys[1], (4, 1), x.dtype),
    }

    def loss(params):
        return jnp.sum(weights * (predicted(params, x) - y) ** 2) / jnp.sum(weights)

    def step(_, params):
        return jax.tree.map(lambda p, g: p - 0.05 * g, params, jax.grad(loss)(params))

    return jax.lax.fori_loop(0, STEPS, step, params)


PERCEPTRON = Candidate(trained, squares(predicted))


def ridge(penalty):
    """Ridge regression without intercept, solved exactly."""

    def fit(examples, weights, key):
        x, y = examples
        weighted = x * weights[:, None]
        gram = weighted.T @ x + penalty * jnp.eye(x.shape[1], dtype=x.dtype)
        return jnp.linalg.solve(gram, weighted.T @ y)

    return Candidate(fit, squares(lambda weights, x: x @ weights))


def numpy_ridge(penalty):
    """The same on the host, which cannot be traced."""

    def fit(examples, weights, key):
        x, y = examples
        return np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)

    return Candidate(fit, squares(lambda weights, x: x @ weights))
