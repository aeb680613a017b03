"""Valid calls of `validate.privacy`, and which odd values it accepts."""

import numpy as np

from tests.doors.table import Doors
from tests.doors.values import NUMBER, SIZE

SCORES = np.arange(100.0)
MEMBERS = np.arange(100) % 2 == 0

DOORS = Doors(
    given={
        "scores": lambda: SCORES,
        "members": lambda: MEMBERS,
        "right": lambda: 9,
        "guesses": lambda: 10,
        "canaries": lambda: 20,
        "epsilon": lambda: 1.0,
    },
    calls={
        "validate.privacy.versions_audit": {"scores": lambda: {"dense": SCORES}},
    },
    right={
        "epsilon": SIZE,
        # One number is a list of one threshold.
        "thresholds": NUMBER,
    },
)
