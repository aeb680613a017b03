"""Valid calls of losses of sequences and of generation, and odd values they accept."""

import jax
import jax.numpy as jnp

from tests.doors.table import Doors
from tests.doors.values import FUNCTION, SIZE, TREE


def decoder(params, tokens, cache):
    return jnp.ones((*tokens.shape, 4)), cache


LOGITS = jnp.ones((2, 3, 4))

DOORS = Doors(
    given={
        "losses": lambda: jnp.ones((2, 3)),
        "counts": lambda: jnp.ones((2, 3), bool),
        "generated": lambda: jnp.ones((2, 3)),
        "given": lambda: jnp.zeros((2, 3)),
        "key": lambda: jax.random.key(0),
        "share": lambda: 0.5,
        "student_logits": lambda: LOGITS,
        "teacher_logits": lambda: LOGITS,
        "tokens": lambda: jnp.zeros((2, 3), jnp.int32),
        "decoder": lambda: decoder,
        "params": lambda: jnp.eye(4),
        "start": lambda: (jnp.zeros((1, 2, 4)), ()),
        "steps": lambda: 2,
        "fn": lambda: lambda params, tokens: params[tokens],
        "room": lambda: 4,
        "k": lambda: 2,
    },
    right={"temperature": SIZE, "params": TREE, "fn": FUNCTION},
)
