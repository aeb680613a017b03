"""Which sites meet inputs: through loops, branches, lookups and sums."""

import jax
import jax.numpy as jnp
import pytest

import jaxcompress as jc
from jaxcompress.graph.entrances import entrances

SQUARE = jnp.eye(3)


def chain(params, x):
    normed = (x - x.mean()) * params["gain"][None]
    return jax.nn.relu(normed @ params["a"] + x) @ params["b"] + x @ params["c"]


def recurrent(params, x):
    def cell(state, x):
        return jnp.tanh(x @ params["a"] + state @ params["b"]), x @ params["c"]

    state, outputs = jax.lax.scan(cell, jnp.zeros(3), x)
    return state, outputs @ params["d"]


def stacked(params, x):
    return jax.lax.scan(lambda x, w: (x @ w, None), x, params["a"])[0] @ params["b"]


def embedded(params, tokens):
    return params["a"][tokens] @ params["b"]


def looped(params, x):
    def body(state):
        count, x = state
        return count + 1, x @ params["a"]

    return jax.lax.while_loop(lambda state: state[0] < 3, body, (0, x))[1] @ params["b"]


def branching(params, x):
    def one(x):
        return x @ params["a"]

    return jax.lax.cond(x.sum() > 0, one, lambda x: 2 * x, x) @ params["b"]


def nested(params, x):
    hidden = jax.jit(jax.checkpoint(lambda x: jax.nn.relu(x @ params["a"])))(x)
    return jax.vmap(lambda row: row @ params["b"])(hidden)


CASES = {
    chain: {"a", "c"},
    recurrent: {"a", "c"},
    stacked: set(),
    embedded: {"a"},
    looped: set(),
    branching: {"a"},
    nested: {"a"},
}


@pytest.mark.parametrize("fn", CASES, ids=lambda fn: fn.__name__)
def test_entrances(fn):
    params = dict.fromkeys("abcd", SQUARE) | {"gain": jnp.ones(3)}
    if fn is stacked:
        params["a"] = jnp.stack([SQUARE] * 2)
    x = jnp.asarray([0, 2]) if fn is embedded else jnp.ones((3, 3))
    assert entrances(jc.graph.trace(fn, params, x)) == CASES[fn]


def test_products_of_inputs_are_entrances_too():
    def fn(params, x):
        scores = jnp.einsum("qd,kd->qk", x, x)
        hidden = scores @ params["a"]
        return jnp.einsum("qd,kd->qk", hidden, hidden)

    found = entrances(jc.graph.trace(fn, {"a": SQUARE}, SQUARE))
    assert found == {"@qd,kd->qk", "a"}
