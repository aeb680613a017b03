"""Valid calls of the losses on outputs, and which odd values they accept."""

import jax
import jax.numpy as jnp

from jaxcompress.distill import outputs
from tests import methods
from tests.doors.table import Doors
from tests.doors.values import SIZE, WHOLE

LOGITS = jnp.ones((2, 3))
BOXES, MASKS = jnp.ones((2, 4)), jnp.ones((2, 3, 3))


def drawn():
    return outputs.draws(LOGITS, 2, jax.random.key(0))


DOORS = Doors(
    given={
        "logits": lambda: LOGITS,
        "student_logits": lambda: LOGITS,
        "teacher_logits": lambda: LOGITS,
        "labels": lambda: jnp.array([0, 1]),
        "student": lambda: LOGITS,
        "teacher": lambda: LOGITS,
        "k": lambda: 2,
        "count": lambda: 2,
        "key": lambda: jax.random.key(0),
    },
    calls={
        "distill.outputs.bounded_distance": {"targets": lambda: LOGITS},
        "distill.outputs.box_overlap": {"student": lambda: BOXES, "teacher": lambda: BOXES},
        "distill.outputs.mask_targets": {"student": lambda: MASKS, "teacher": lambda: MASKS},
        "distill.outputs.sampled_targets": {"targets": drawn},
        "distill.outputs.soft_dice": {"student": lambda: MASKS, "teacher": lambda: MASKS},
        "distill.outputs.top_k_targets": {"targets": lambda: outputs.top_k(LOGITS, 2)},
    },
    right={
        "delta": SIZE,
        "ignore": WHOLE | {"None"},
        "margin": SIZE,
        "proposal_temperature": SIZE,
        "temperature": SIZE,
        "weight": SIZE,
    },
    traced=frozenset(methods.exported("distill.outputs")),
)
