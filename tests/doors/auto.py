"""A valid call of the sensitivity, and which odd values it accepts."""

import jax
import jax.numpy as jnp

import jaxcompress as jc
from jaxcompress.auto.curvature import Curvature
from jaxcompress.core.sensitivities import LeafSensitivity, Sensitivities
from tests.doors.table import Doors
from tests.doors.values import FUNCTION, TREE


def curvature() -> Curvature:
    pairs = [(jnp.eye(2), jnp.zeros((2, 2)))]
    params = {"kernel": jnp.eye(2)}
    return jc.auto.second_order(model, params, squares, pairs, jax.random.key(0), probes=2)


def table() -> Sensitivities:
    row = LeafSensitivity("kernel", {"loss": 1.0}, choice=str(jc.quantize.int8()))
    return Sensitivities((row,), "loss", "made up")


def model(params, inputs):
    return inputs @ params["kernel"]


def squares(outputs, targets):
    return ((outputs - targets) ** 2).sum(-1)


DOORS = Doors(
    given={
        "fn": lambda: model,
        "curvature": curvature,
        "loss": lambda: squares,
        "batches": lambda: [(jnp.eye(2), jnp.zeros((2, 2)))],
        "key": lambda: jax.random.key(0),
        "params": lambda: {"kernel": jnp.eye(2)},
        "spec": lambda: jc.quantize.int8(),
        "table": table,
        "specs": lambda: [jc.quantize.int8()],
        "budget": lambda: 100,
        "examples": lambda: jc.validate.Examples(jnp.eye(2), jnp.arange(2)),
    },
    calls={"auto.linearity": {"batches": lambda: [jnp.eye(2)]}},
    right={
        "fn": FUNCTION,
        "params": TREE,
        "loss": FUNCTION,
        "divergence": FUNCTION,
        "size": FUNCTION,
    },
)
