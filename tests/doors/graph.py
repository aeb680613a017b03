"""Valid calls of the room that reads programs, and which odd values they accept."""

import jax
import jax.numpy as jnp

import jaxcompress as jc
from tests.doors import models
from tests.doors.table import Doors
from tests.doors.values import ANYTHING, FUNCTION, TEXT, TREE


def scanned(params, x):
    def layer(x, kernel):
        return x + jnp.tanh(x @ kernel), None

    return jax.lax.scan(layer, x, params["layers"])[0]


def block(params, x):
    return x + jnp.tanh(x @ params["in"]) @ params["back"]


def plain(site, apply, data, weight):
    return apply(data, weight)


BLOCK = {"in": models.PARAMS["in"], "back": jnp.ones((4, 3))}
STACK = {"layers": jnp.ones((3, 3, 3))}


def removal():
    return models.couplings().removal({"in:1": [0]})


SITE = "in"


def pair(params, x):
    return x @ params["in"] @ params["back"]


def rotation() -> jc.graph.symmetries.Rotation:
    return jc.graph.symmetries.rotations(pair, BLOCK, models.X).found[0]


def rectified(params, x):
    return jax.nn.relu(x @ params["in"]) @ params["out"]


def scaling():
    return jc.graph.symmetries.scalings(rectified, models.PARAMS, models.X).all[0]


DOORS = Doors(
    given={
        "fn": lambda: models.fn,
        "params": lambda: models.PARAMS,
        "inputs": lambda: (models.X,),
        "removed": removal,
        "removal": removal,
        "program": models.program,
        "site": lambda: models.program().sites[0],
        "observer": lambda: jc.observers.second_moment(),
        "rules": lambda: jc.observers.second_moment(),
        "batches": lambda: [models.X],
        "sites": lambda: SITE,
        "families": lambda: models.couplings().families,
        "measure": lambda: jnp.abs,
        "data": lambda: models.X,
        "weight": lambda: models.PARAMS["in"],
        "output": lambda: models.X,
        "rotation": rotation,
        "matrix": lambda: jnp.eye(4),
        "scaling": scaling,
        "factors": lambda: jnp.ones(4),
    },
    calls={
        "graph.rewrite": {
            "rules": lambda: lambda site, product, data, weight: product(data, weight)
        },
        "graph.symmetries.rotate": {"params": lambda: BLOCK},
        "graph.surgery.without_blocks": {
            "fn": lambda: block,
            "params": lambda: BLOCK,
            "names": lambda: [jc.graph.surgery.residual_blocks(block, BLOCK, models.X)[0].name],
        },
        "graph.surgery.without_layers": {
            "fn": lambda: scanned,
            "params": lambda: STACK,
            "layers": lambda: {"layers": [0]},
        },
    },
    right={
        "fn": FUNCTION,
        "params": TREE,
        "inputs": TREE,
        "measure": FUNCTION,
        "meet": FUNCTION,
        "of": FUNCTION,
        "sites": TEXT,
        "data": ANYTHING,
        "weight": ANYTHING,
        "output": ANYTHING,
    },
)
