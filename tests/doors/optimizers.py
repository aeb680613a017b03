"""Valid calls of the optimizers, and which odd values they accept."""

import jax
import optax

from tests.doors.table import Doors
from tests.doors.values import FUNCTION, RATE, SIZE

DOORS = Doors(
    given={
        "learning_rate": lambda: 0.1,
        "inner": lambda: optax.sgd(0.1),
        "key": lambda: jax.random.key(0),
    },
    right={
        "learning_rate": RATE,
        "eps": SIZE,
        "eps_root": SIZE,
        "weight_decay": SIZE,
        "select": FUNCTION,
        "loss": FUNCTION,
    },
)
