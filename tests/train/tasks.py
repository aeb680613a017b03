"""What the tests of training share: a small model, its data, and recipes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxcompress as jc


def model(params, x):
    """Two layers, (n, 3)."""
    return jnp.tanh(x @ params["hidden"]) @ params["out"]


def initial(key=None):
    first, second = jax.random.split(jax.random.key(1) if key is None else key)
    return {
        "hidden": jax.random.normal(first, (4, 6)),
        "out": jax.random.normal(second, (6, 3)),
    }


def examples(n, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, 4)).astype(np.float32)
    return x, np.argmax(x[:, :3], axis=1).astype(np.int32)


def recipe(optimizer=None, **fields):
    objective = jc.train.objectives.supervised(model, jc.distill.outputs.hard_targets)
    return jc.train.Recipe(objective, optimizer or optax.adam(0.05), **fields)


def squared(outputs, targets):
    return (outputs - targets) ** 2
