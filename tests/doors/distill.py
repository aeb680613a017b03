"""Valid calls of the losses, and which odd values they accept."""

import jax.numpy as jnp

from tests.doors.table import Doors
from tests.doors.values import NUMBER, SIZE, WHOLE

DOORS = Doors(
    given={
        "hard": lambda: jnp.ones(2),
        "soft": lambda: jnp.ones(2),
        "weight": lambda: 0.5,
        "labels": lambda: jnp.array([0, 1]),
        "ignore": lambda: -100,
    },
    right={"ignore": WHOLE | {"None"}},
    # Labels of any shape, () among them.
    exceptions={("distill.counted", "labels"): NUMBER - SIZE},
    traced=frozenset(("distill.mix",)),
)
