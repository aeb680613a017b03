"""Valid calls of layer-wise solving, and which odd values they accept."""

import jax.numpy as jnp

import jaxcompress as jc
from tests.doors.table import Doors
from tests.doors.values import FUNCTION, TEXT, TREE


def halved(weight, second_moment):
    return weight / 2


DOORS = Doors(
    given={
        "caller": lambda: "solve",
        "fn": lambda: lambda params, x: x @ params["kernel"],
        "params": lambda: {"kernel": jnp.ones((2, 2))},
        "batches": lambda: [(jnp.ones((3, 2)),)],
        "solvers": lambda: {"kernel": jc.layerwise.weight_solver(halved)},
        "solve": lambda: halved,
    },
    right={"caller": TEXT, "fn": FUNCTION, "params": TREE},
)
