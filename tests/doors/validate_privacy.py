"""Valid calls of `validate.privacy`, and which odd values it accepts."""

import numpy as np

from tests.doors import surface
from tests.doors.table import Doors
from tests.doors.values import NUMBER, SIZE

SCORES = np.arange(100.0)
MEMBERS = np.arange(100) % 2 == 0

ACCOUNT = surface.NEEDS.keys() & surface.functions("validate_privacy").keys()
SPENT = {
    "sampling_probability": lambda: 1.0,
    "steps": lambda: 1,
    "delta": lambda: 1e-5,
}

DOORS = Doors(
    given={
        "scores": lambda: SCORES,
        "members": lambda: MEMBERS,
        "right": lambda: 9,
        "guesses": lambda: 10,
        "canaries": lambda: 20,
        "epsilon": lambda: 1.0,
    }
    | ({"noise_multiplier": lambda: 1.0} if ACCOUNT else {}),
    calls={
        "validate.privacy.versions_audit": {"scores": lambda: {"dense": SCORES}},
    }
    | dict.fromkeys(ACCOUNT, SPENT),
    right={
        "epsilon": SIZE,
        # One number is a list of one threshold.
        "thresholds": NUMBER,
    }
    | ({"noise_multiplier": SIZE} if ACCOUNT else {}),
)
