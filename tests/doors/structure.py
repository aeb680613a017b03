"""Valid calls of the room that makes arrays smaller, and odd values it accepts."""

import jax

import jaxcompress as jc
from tests.doors import models
from tests.doors.graph import BLOCK, STACK, block, removal, scanned
from tests.doors.table import Doors
from tests.doors.values import ARRAY, FUNCTION, NUMBER, RATE, SIZE, TREE

BLOCK_BATCHES = [(models.X, models.X)]

DOORS = Doors(
    given={
        "fn": lambda: models.fn,
        "params": lambda: models.PARAMS,
        "inputs": lambda: (models.X,),
        "importance": lambda: jc.structure.importance.magnitude(),
        "cut": lambda: jc.structure.amounts.fraction(0.5),
        "cuts": lambda: [jc.structure.amounts.fraction(0.5)],
        "fine_tune": lambda: lambda fn, params, turn: params,
        "limit": lambda: 100,
        "milliseconds": lambda: 1.0,
        "removed": lambda: 1,
        "threshold": lambda: 0.5,
        "loss": lambda: models.loss,
        "batches": lambda: models.BATCHES,
        "z": lambda: models.X,
        "key": lambda: jax.random.key(0),
        "weight": lambda: 0.1,
        "learning_rate": lambda: 0.1,
        "rank": lambda: 1,
        "share": lambda: 0.5,
        "count": lambda: 1,
    },
    calls={
        "structure.replay": {"removal": removal},
        "structure.amounts.fraction": {"removed": lambda: 0.5},
        "structure.remove_blocks": {
            "fn": lambda: block,
            "params": lambda: BLOCK,
            "importance": lambda: jc.structure.importance.exact_blocks(models.loss, BLOCK_BATCHES),
        },
        "structure.remove_layers": {
            "fn": lambda: scanned,
            "params": lambda: STACK,
            "importance": lambda: jc.structure.importance.exact_layers(models.loss, BLOCK_BATCHES),
        },
    },
    right={
        "fn": FUNCTION,
        "params": TREE,
        "inputs": TREE,
        "importance": FUNCTION,
        "fine_tune": FUNCTION,
        "probe": FUNCTION,
        "loss": FUNCTION,
        "measure": FUNCTION,
        "z": ARRAY,
        "threshold": NUMBER,
        "limit": SIZE,
        "milliseconds": SIZE,
        "weight": SIZE,
        "learning_rate": RATE,
        "damping": SIZE,
    },
)
