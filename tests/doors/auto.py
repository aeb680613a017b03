"""A valid call of the sensitivity, and which odd values it accepts."""

import jax.numpy as jnp

import jaxcompress as jc
from tests.doors.table import Doors
from tests.doors.values import FUNCTION, TREE

DOORS = Doors(
    given={
        "fn": lambda: lambda params, inputs: inputs @ params["kernel"],
        "params": lambda: {"kernel": jnp.eye(2)},
        "spec": lambda: jc.quantize.int8(),
        "examples": lambda: jc.validate.Examples(jnp.eye(2), jnp.arange(2)),
    },
    right={"fn": FUNCTION, "params": TREE},
)
