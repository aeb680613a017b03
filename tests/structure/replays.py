"""What every structural verb makes of one model, for tests that make it again."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress import Rules, materialized
from jaxcompress.core.types import Params
from jaxcompress.graph import Divisors
from jaxcompress.graph.surgery import compensate, compensated
from jaxcompress.quantize import int8, quantize
from jaxcompress.structure import (
    Cut,
    amounts,
    factorize,
    importance,
    iterative,
    remove,
    remove_blocks,
    remove_layers,
    replay,
    run_low_rank,
)
from tests.graph.zoo import normal

HALF = amounts.fraction(0.5)
MAGNITUDE = importance.magnitude()


def model(params, x):
    """Two residual blocks, of which one has heads, a stack of layers, and a norm."""
    heads = params["heads"]
    query, key, value = (jnp.einsum("btd,dhk->bthk", x, heads[name]) for name in "qkv")
    scores = jax.nn.softmax(jnp.einsum("bqhk,bthk->bhqt", query, key))
    x = x + jnp.einsum("bhqt,bthk,hkd->bqd", scores, value, heads["out"])
    x = x + jnp.tanh(x @ params["wide"]["up"]) @ params["wide"]["down"]

    def layer(x, each):
        return x + jnp.tanh(x @ each["up"]) @ each["down"], None

    x, _ = jax.lax.scan(layer, x, params["layers"])
    hidden = jax.nn.relu(x @ params["in"]["kernel"] + params["in"]["bias"][None, None])
    hidden = hidden / jnp.sqrt(jnp.mean(hidden**2, axis=-1, keepdims=True) + 0.1)
    return hidden @ params["out"]


PARAMS = {
    "heads": {name: normal(i, 4, 4, 2) for i, name in enumerate("qkv")}
    | {"out": normal(3, 4, 2, 4)},
    "wide": {"up": normal(4, 4, 6), "down": normal(5, 6, 4)},
    "layers": {"up": normal(6, 3, 4, 6), "down": normal(7, 3, 6, 4)},
    "in": {"kernel": normal(8, 4, 8), "bias": normal(9, 8)},
    "out": normal(10, 8, 3),
}
X = normal(11, 2, 5, 4)
SHAPES = jax.eval_shape(lambda: PARAMS)


class Smaller(NamedTuple):
    """What one verb made of the model, and what was removed on the way."""

    fn: Callable
    params: Params
    removal: Any


@functools.cache
def units() -> Smaller:
    """Heads, and units of layers that lose different ones among them."""
    return Smaller(*remove(model, PARAMS, MAGNITUDE, X, cut=HALF)[:3])


def new_divisors() -> Smaller:
    cut = Cut(HALF, families=["in/kernel:1"], divisors=Divisors.NEW)
    return Smaller(*remove(model, PARAMS, MAGNITUDE, X, cut=cut)[:3])


def rounds() -> Smaller:
    cuts = [Cut(amounts.count(1), families=["wide/up:1", "layers/up:2"])] * 2
    fine_tune = lambda fn, params, turn: jax.tree.map(lambda x: 0.9 * x, params)  # noqa: E731
    return Smaller(*iterative(model, PARAMS, MAGNITUDE, X, cuts=cuts, fine_tune=fine_tune)[:3])


@functools.cache
def layers() -> Smaller:
    scores = lambda *_: {"layers/down": jnp.array([2.0, 0.0, 1.0])}  # noqa: E731
    return Smaller(*remove_layers(model, PARAMS, scores, X, count=1)[:3])


def blocks(fn=model, params=PARAMS) -> Smaller:
    scores = lambda *_: {"heads": jnp.array(1.0), "wide": jnp.array(0.0)}  # noqa: E731
    return Smaller(*remove_blocks(fn, params, scores, X, count=1)[:3])


def one_after_another() -> Smaller:
    first = layers()
    second = blocks(first.fn, first.params)
    cut = Cut(HALF, families=["heads/q:1"])
    third = remove(second.fn, second.params, MAGNITUDE, X, cut=cut)
    return Smaller(third.fn, third.params, (first.removal, second.removal, third.removal))


def factors() -> Smaller:
    fn, params, removal = units()
    params, _ = factorize(params, rank=1, select=lambda tree: _only(tree, "out"))
    return Smaller(run_low_rank(fn), params, removal)


def codes() -> Smaller:
    fn, params, removal = units()
    params, _ = quantize(params, Rules({"out": int8()}))
    return Smaller(materialized(fn), params, removal)


def means() -> Smaller:
    removal = units().removal
    small = compensate(model, PARAMS, removal, X)
    return Smaller(small.fn, small.params, removal)


def _only(tree, name: str):
    return {key: jax.tree.map(lambda _, key=key: key == name, each) for key, each in tree.items()}


def replayed(removals):
    return replay(model, SHAPES, X, removal=removals).fn


class Verb(NamedTuple):
    """How a smaller model is made, and made again from what was removed."""

    make: Callable[[], Smaller]
    again: Callable = replayed


VERBS = {
    "units": Verb(units),
    "new divisors": Verb(new_divisors),
    "rounds": Verb(rounds),
    "layers": Verb(layers),
    "blocks": Verb(blocks),
    "one after another": Verb(one_after_another),
    "factors": Verb(factors, lambda removals: run_low_rank(replayed(removals))),
    "codes": Verb(codes, lambda removals: materialized(replayed(removals))),
    "means": Verb(means, lambda removals: compensated(model, *removals)),
}
