"""Valid calls of the bridges that are installed, and which odd values they accept."""

import functools

import jax
import jax.numpy as jnp

import jaxcompress as jc
from tests.doors.table import Doors
from tests.doors.values import FUNCTION, TREE

X = jnp.ones((2, 3))


def half(functional):
    """What `structure.remove` makes of a model."""
    score, amount = jc.structure.importance.magnitude(), jc.structure.amounts.fraction(0.5)
    return jc.structure.remove(functional.fn, functional.params, score, X, cut=amount)


@functools.cache
def linen():
    from flax import linen

    class Net(linen.Module):
        hidden: int = 4

        @linen.compact
        def __call__(self, x):
            return linen.Dense(2)(linen.Dense(self.hidden)(x))

    module = Net()
    variables = module.init(jax.random.key(0), X)
    return module, variables, half(jc.bridges.linen.functional(module, variables))


@functools.cache
def nnx():
    from flax import nnx

    rngs = nnx.Rngs(0)
    model = nnx.Sequential(nnx.Linear(3, 4, rngs=rngs), nnx.Linear(4, 2, rngs=rngs))
    return model, half(jc.bridges.nnx.functional(model))


@functools.cache
def equinox():
    import equinox

    model = equinox.nn.MLP(3, 2, 4, 1, key=jax.random.key(0))
    return model, half(jc.bridges.equinox.functional(model))


@functools.cache
def equinox_with_state():
    import equinox

    class Net(equinox.Module):
        first: equinox.nn.Linear
        norm: equinox.nn.BatchNorm
        last: equinox.nn.Linear

        def __init__(self, key):
            self.first = equinox.nn.Linear(3, 4, key=key)
            self.norm = equinox.nn.BatchNorm(4, "batch", mode="batch")
            self.last = equinox.nn.Linear(4, 2, key=key)

        def __call__(self, x, state, *, key=None):
            x, state = self.norm(self.first(x), state)
            return self.last(x), state

    model, state = equinox.nn.make_with_state(Net)(jax.random.key(0))
    return model, state, half(jc.bridges.equinox.stateful(model, state))


@functools.cache
def haiku():
    import haiku

    transformed = haiku.transform(lambda x: haiku.Linear(2)(x))
    return transformed, transformed.init(jax.random.key(0), X)


@functools.cache
def haiku_with_state():
    import haiku

    transformed = haiku.transform_with_state(lambda x: haiku.Linear(2)(x))
    return transformed, *transformed.init(jax.random.key(0), X)


OF_LINEN = {"module": lambda: linen()[0], "removed": lambda: linen()[2]}
STATEFUL = {"model": lambda: equinox_with_state()[0], "state": lambda: equinox_with_state()[1]}

DOORS = Doors(
    given={"inputs": lambda: (X,), "key": lambda: jax.random.key(0)},
    calls={
        "bridges.linen.functional": {
            "module": lambda: linen()[0],
            "variables": lambda: linen()[1],
        },
        "bridges.linen.sizes": OF_LINEN,
        "bridges.linen.shrunk": OF_LINEN,
        "bridges.linen.check_rebuilt": {
            "rebuilt": lambda: linen()[0].clone(hidden=2),
            "removed": lambda: linen()[2],
        },
        "bridges.nnx.functional": {"model": lambda: nnx()[0]},
        "bridges.nnx.shrunk": {"model": lambda: nnx()[0], "removed": lambda: nnx()[1]},
        "bridges.equinox.each_example": {"model": lambda: equinox()[0]},
        "bridges.equinox.functional": {"model": lambda: equinox()[0]},
        "bridges.equinox.shrunk": {
            "model": lambda: equinox()[0],
            "removed": lambda: equinox()[1],
        },
        "bridges.equinox.each_example_with_state": STATEFUL,
        "bridges.equinox.stateful": STATEFUL,
        "bridges.equinox.shrunk_stateful": STATEFUL | {"removed": lambda: equinox_with_state()[2]},
        "bridges.haiku.functional": {
            "transformed": lambda: haiku()[0],
            "params": lambda: haiku()[1],
        },
        "bridges.haiku.stateful": {
            "transformed": lambda: haiku_with_state()[0],
            "params": lambda: haiku_with_state()[1],
            "state": lambda: haiku_with_state()[2],
        },
    },
    right={
        "inputs": TREE,
        "params": TREE,
        "call": FUNCTION,
        "evaluation": frozenset(("dict",)),
        "training": frozenset(("dict",)),
        "sizes": frozenset(("dict",)),
    },
    exceptions={
        ("bridges.haiku.stateful", "state"): TREE,
        ("bridges.equinox.each_example", "model"): FUNCTION,
        ("bridges.equinox.each_example", "key"): frozenset(("None",)),
        ("bridges.equinox.each_example_with_state", "key"): frozenset(("None",)),
        ("bridges.equinox.each_example_with_state", "model"): FUNCTION,
    },
)
