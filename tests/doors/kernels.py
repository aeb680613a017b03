"""Valid calls of the products, and which odd values they accept."""

import jax.numpy as jnp

import jaxcompress as jc
from tests.doors.table import Doors
from tests.doors.values import FUNCTION, WHOLE


def codes():
    return jnp.ones((2, 4), jnp.int8)


def packed():
    return jnp.ones((3, 2), jnp.uint8)


DOORS = Doors(
    given={
        "x": codes,
        "w": lambda: jnp.ones((3, 4), jnp.int8),
        "packed": packed,
        "bits": lambda: jnp.ones((2, 4), bool),
        "length": lambda: 4,
        "scale": lambda: jnp.ones((3, 2)),
        "lowest": lambda: -7,
        "count": lambda: 2,
        "parts": lambda: jnp.ones((2, 2, 4), jnp.int8),
        "scales": lambda: jnp.ones((2, 2, 1)),
        "product": lambda: lambda rows: jc.kernels.int8_matmul(rows, jnp.ones((3, 4), jnp.int8)),
    },
    calls={
        "kernels.digits": {"x": lambda: jnp.ones(3), "scale": lambda: jnp.ones(())},
        "kernels.two_digit_matmul": {"x": lambda: jnp.ones((2, 4))},
        "kernels.sign_matmul": {
            "x": lambda: jnp.ones((1, 2, 1), jnp.uint32),
            "w": lambda: jnp.ones((2, 3, 1), jnp.uint32),
        },
    },
    right={"product": FUNCTION, "lowest": WHOLE},
    exceptions={
        ("kernels.digits", "x"): frozenset(("jnp nan", "jnp 1.5")),
        ("kernels.digits", "scale"): frozenset(("jnp nan", "jnp 1.5")),
    },
)
