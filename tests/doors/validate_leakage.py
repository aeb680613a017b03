"""Valid calls of `validate.leakage`, and which odd values it accepts."""

import numpy as np

import jaxcompress as jc
from tests.doors.table import Doors
from tests.doors.values import ANYTHING, FUNCTION, SIZE

leakage = jc.validate.leakage
NUMBERS = np.ones((2, 3), np.float32)
TEXTS = np.array(["a", "b"], object)

DOORS = Doors(
    given={
        "sets": lambda: {"train": NUMBERS, "test": NUMBERS + 1},
        "checks": lambda: [leakage.exact()],
        "examples": lambda: NUMBERS,
        "array": lambda: NUMBERS,
        "of": lambda: lambda examples: examples,
        "step": lambda: 0.1,
        "first": lambda: "train",
        "second": lambda: "test",
        "target": lambda: lambda examples: examples[:, 0],
        "bins": lambda: leakage.Binned(np.array([0, 1]), np.array([0, 1]), 2),
        "fitted": lambda: np.ones((2, 1)),
        "scored": lambda: np.ones((1, 2, 1)),
        "embed": lambda: lambda examples: examples,
        "variants": lambda: leakage.shifts(1),
    },
    calls={"validate.leakage.words": {"array": lambda: TEXTS}},
    right={
        "of": FUNCTION,
        "canonical": FUNCTION,
        "pairs": FUNCTION,
        "gap": SIZE,
        "step": SIZE,
        "embed": FUNCTION,
        "target": FUNCTION,
        "score": FUNCTION,
        "variants": FUNCTION,
        "hash": FUNCTION,
        "shingles": FUNCTION,
        "first": ANYTHING,
        "second": ANYTHING,
    },
)
