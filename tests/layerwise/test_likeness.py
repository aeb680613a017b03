"""Likeness: equal for equations that compute the same, for no others."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.layerwise.likeness import equation_likeness

X = jnp.ones((2, 3))


@jax.custom_jvp
def squared(x):
    return x * x


squared.defjvp(lambda primals, tangents: (squared(*primals), 2 * primals[0] * tangents[0]))


@jax.custom_jvp
def cubed(x):
    return x * x * x


cubed.defjvp(lambda primals, tangents: (cubed(*primals), 3 * primals[0] ** 2 * tangents[0]))


def looped(turn, length=2):
    return lambda x: jax.lax.scan(lambda x, _: (turn(x), None), x, None, length=length)[0]


ALIKE = {
    "one primitive": (jnp.sin, jnp.sin),
    "custom derivatives": (squared, lambda x: squared(x)),
    "rematerialized": (jax.checkpoint(jnp.tanh), jax.checkpoint(lambda x: jnp.tanh(x))),
    "loops": (looped(jnp.cos), looped(lambda x: jnp.cos(x))),
    "branches": tuple(
        functools.partial(lambda turn, x: jax.lax.cond(x[0, 0] > 0, turn, jnp.cos, x), turn)
        for turn in (jnp.sin, lambda x: jnp.sin(x))
    ),
    "nested calls": (jax.jit(squared), jax.jit(squared)),
}
UNLIKE = {
    "primitives": (jnp.sin, jnp.cos),
    "literals": (lambda x: x * 0.0, lambda x: x * -0.0),
    "sides": (lambda x: x - 1.0, lambda x: 1.0 - x),
    "parameters": (lambda x: jnp.sum(x, axis=0), lambda x: jnp.sum(x, axis=1)),
    "dtypes": (lambda x: x.astype(jnp.int32), lambda x: x.astype(jnp.int8)),
    "bodies of custom derivatives": (squared, cubed),
    "loops": (looped(jnp.cos), looped(jnp.sin)),
    "lengths": (looped(jnp.cos), looped(jnp.cos, length=3)),
    "wiring": (looped(lambda x: x - jnp.sin(x)), looped(lambda x: jnp.sin(x) - x)),
    "callables": tuple(
        functools.partial(lambda call, x: jax.pure_callback(call, x, x), call)
        for call in (np.sin, np.cos)
    ),
}


def last(fn, x=X):
    """The last equation of a function: the one that holds the rest."""
    return equation_likeness(jax.make_jaxpr(fn)(x).jaxpr.eqns[-1])


@pytest.mark.parametrize("name", ALIKE)
def test_what_computes_the_same_is_alike(name):
    first, second = map(last, ALIKE[name])
    assert first == second
    assert hash(first) == hash(second)


@pytest.mark.parametrize("name", UNLIKE)
def test_what_computes_another_thing_is_not(name):
    first, second = map(last, UNLIKE[name])
    assert first != second


def test_types_of_operands_count():
    assert last(jnp.sin) != last(jnp.sin, X.astype(jnp.bfloat16))
    assert last(jnp.sin) != last(jnp.sin, X[:1])
