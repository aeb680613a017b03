"""The tiny model that valid calls of several rooms share."""

import functools

import jax.numpy as jnp

import jaxcompress as jc

X = jnp.ones((2, 3))
PARAMS = {"in": jnp.ones((3, 4)), "out": jnp.full((4, 2), 0.5)}


def fn(params, x):
    return jnp.tanh(x @ params["in"]) @ params["out"]


def loss(outputs, targets):
    return jnp.sum((outputs - targets) ** 2, axis=-1)


BATCHES = [(X, jnp.ones((2, 2)))]


@functools.cache
def program():
    return jc.graph.trace(fn, PARAMS, X)


@functools.cache
def couplings():
    return jc.graph.couplings(fn, PARAMS, X)


@functools.cache
def axes():
    return jc.graph.axes(fn, PARAMS, X)
