"""Valid calls of ensembles and cascades, and which odd values they accept."""

import jax.numpy as jnp
import numpy as np

from tests.doors.table import Doors
from tests.doors.values import NUMBER, SIZE


def model(params, inputs):
    return inputs * params


LOGITS = jnp.array([[2.0, 0.0], [0.0, 1.0]])

DOORS = Doors(
    given={
        "logits": lambda: LOGITS,
        "labels": lambda: np.array([0, 1]),
        "weights": lambda: np.array([0.5, 0.5]),
        "fns": lambda: [model, model],
        "members": lambda: [{"kernel": jnp.ones(2)}] * 2,
        "score": lambda: lambda params: 1.0,
        "models": lambda: (model, model),
        "small_logits": lambda: LOGITS,
        "large_logits": lambda: LOGITS,
        "params": lambda: (jnp.ones(()), jnp.ones(())),
        "inputs": lambda: LOGITS,
        "threshold": lambda: 0.9,
        "capacity": lambda: 1,
    },
    calls={
        "distill.ensembles.fit_weights": {"logits": lambda: jnp.stack([LOGITS, LOGITS])},
    },
    right={
        "threshold": NUMBER,
        "tolerance": SIZE,
        "tolerated": SIZE,
    },
)
