"""Valid calls of `validate.privacy`, and which odd values it accepts."""

import jax.numpy as jnp
import numpy as np

import jaxcompress as jc
from tests.doors import surface
from tests.doors.table import Doors
from tests.doors.values import FUNCTION, NUMBER, SIZE, TREE

SCORES = np.arange(100.0)
MEMBERS = np.arange(100) % 2 == 0

ACCOUNT = surface.NEEDS.keys() & surface.functions("validate_privacy").keys()
SPENT = {
    "sampling_probability": lambda: 1.0,
    "steps": lambda: 1,
    "delta": lambda: 1e-5,
}


def planted() -> jc.validate.privacy.Canaries:
    return jc.validate.privacy.random_canaries([0], [1, 2], 3, count=2)


DOORS = Doors(
    given={
        "scores": lambda: SCORES,
        "members": lambda: MEMBERS,
        "right": lambda: 9,
        "guesses": lambda: 10,
        "canaries": lambda: 20,
        "epsilon": lambda: 1.0,
        "fn": lambda: lambda params, tokens: params[tokens],
        "params": lambda: jnp.arange(9.0).reshape(3, 3) ** 0.5,
        "prefix": lambda: [0],
        "alphabet": lambda: [1, 2],
        "length": lambda: 3,
        "tokens": lambda: [[0, 1, 2]],
        "start": lambda: 1,
        "values": lambda: [1.0, 2.0],
    }
    | ({"noise_multiplier": lambda: 1.0} if ACCOUNT else {}),
    calls={
        "validate.privacy.versions_audit": {"scores": lambda: {"dense": SCORES}},
        "validate.privacy.exposure": {"canaries": planted},
        "validate.privacy.insert_canaries": {
            "canaries": planted,
            "tokens": lambda: np.arange(5),
            "repetitions": lambda: [1, 2],
        },
        "validate.privacy.candidate_losses": {
            "fn": lambda: lambda params, inputs: inputs @ params,
            "params": lambda: jnp.ones(2),
            "candidates": lambda: [jnp.zeros((3, 2)), jnp.ones((3, 2))],
            "targets": lambda: jnp.ones(3),
            "loss": lambda: lambda outputs, targets: (outputs - targets) ** 2,
        },
        "validate.privacy.attribute_audit": {
            "losses": lambda: np.eye(4, 2),
            "truth": lambda: [0, 1, 0, 1],
            "members": lambda: [1, 1, 0, 0],
        },
        "validate.privacy.random_canaries": {"count": lambda: 2},
        "validate.privacy.sampled_exposure": {"samples": lambda: SCORES},
        "validate.privacy.extrapolated_exposure": {"samples": lambda: SCORES},
    }
    | dict.fromkeys(ACCOUNT, SPENT),
    right={
        "epsilon": SIZE,
        "fn": FUNCTION,
        "loss": FUNCTION,
        "params": TREE,
        "limit": frozenset(("1.5", "jnp 1.5")),
        # One number is a list of one threshold.
        "thresholds": NUMBER,
    }
    | ({"noise_multiplier": SIZE} if ACCOUNT else {}),
)
