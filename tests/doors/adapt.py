"""Valid calls of the room of adapters, and odd values they accept."""

import jax
import jax.numpy as jnp

import jaxcompress as jc
from tests.doors import models
from tests.doors.table import Doors
from tests.doors.values import MASKS, SIZE, TREE

BASE, _ = jc.quantize.quantize({"kernel": jnp.eye(4)}, jc.quantize.int8())

DOORS = Doors(
    given={
        "fn": lambda: models.fn,
        "rank": lambda: 1,
        "start": lambda: jc.adapt.starts.random(jax.random.key(0)),
        "key": lambda: jax.random.key(0),
        "original": lambda: models.PARAMS,
        "alpha": lambda: 16.0,
        "merged": lambda: {"kernel": jnp.ones((4, 4))},
        "base": lambda: BASE,
        "quantize": lambda: jc.quantize.quantize,
    },
    right={
        "fn": frozenset(("function",)),
        "alpha": SIZE,
        "masks": MASKS,
        "original": TREE,
    },
)
