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
        "variants": FUNCTION,
        "hash": FUNCTION,
        "shingles": FUNCTION,
        "first": ANYTHING,
        "second": ANYTHING,
    },
)
