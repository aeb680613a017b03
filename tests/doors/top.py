"""Valid calls of what `jc` itself gives, and which odd values they accept."""

import jax
import jax.numpy as jnp

import jaxcompress as jc
from tests.doors.table import Doors
from tests.doors.values import ANYTHING, FUNCTION, TEXT, TREE

PARAMS = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
AXES = {"kernel": jc.LeafAxes((0,), (1,)), "bias": jc.LeafAxes((), (), primitive="")}


def observer() -> jc.observers.Observer:
    return jc.observers.second_moment()


DOORS = Doors(
    given={
        "tree": lambda: PARAMS,
        "params": lambda: PARAMS,
        "fn": lambda: lambda params, x: x @ params["kernel"],
        "train_fn": lambda: lambda params, x, *, key: (x @ params["kernel"], params),
        "batches": lambda: [(jnp.ones((3, 2)),)],
        "key": lambda: jax.random.key(0),
        "select": lambda: jc.everything(),
        "selectors": lambda: (jc.everything(),),
        "patterns": lambda: ("*/kernel",),
        "first": observer,
        "second": observer,
        "observer": observer,
        "size": lambda: 2,
        "steps": lambda: 2,
        "initial": lambda: 0.0,
        "final": lambda: 0.5,
        "sparsity": lambda: 0.5,
        "dense": lambda: 2,
        "sparse": lambda: 2,
        "begin": lambda: 1,
        "end": lambda: 9,
        "found": lambda: 1.0,
    },
    calls={
        "restack": {"axes": lambda: AXES},
        "combine": {"first": lambda: PARAMS, "second": lambda: {"kernel": None, "bias": None}},
    },
    right={
        "tree": ANYTHING,
        "params": TREE,
        "fn": FUNCTION,
        "train_fn": FUNCTION,
        "patterns": TEXT,
    },
    exceptions={
        ("observers.as_reading", "found"): ANYTHING,
    },
)
