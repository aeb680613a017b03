"""Valid calls of `validate.shift`, and which odd values it accepts."""

import numpy as np

import jaxcompress as jc
from tests.doors.table import Doors
from tests.doors.values import SIZE

ACCURACY = jc.validate.metrics.mean_of(lambda x, y: x, "accuracy", higher_is_better=True)
EXAMPLES = np.random.default_rng(0).normal(size=(40, 2))


def score() -> jc.validate.Score:
    return jc.validate.Score(ACCURACY, np.array([True, False, True, True]))


DOORS = Doors(
    given={
        "reference": lambda: EXAMPLES[:20],
        "new": lambda: EXAMPLES[20:],
        "internal": score,
        "external": score,
        "score": score,
        "groups": lambda: list("aabb"),
        "margin": lambda: 0.1,
        "predictions": lambda: [0, 1, 1],
        "labels": lambda: [0, 1, 1],
        "new_predictions": lambda: [1, 1],
        "successes": lambda: 1,
        "n": lambda: 2,
        "new_successes": lambda: 2,
        "m": lambda: 3,
    },
    calls={
        "validate.shift.mean_difference_interval": {
            "reference": lambda: [1.0, 2.0],
            "new": lambda: [2.0, 4.0],
        },
        "validate.shift.category_stability": {
            "reference": lambda: [0, 1, 1],
            "new": lambda: [0, 0, 1],
        },
        # The least work that is valid, since each is called some hundred times.
        "validate.shift.population_stability": {"draws": lambda: 9},
        "validate.shift.kernel_test": {"permutations": lambda: 1},
        "validate.shift.classifier_test": {"steps": lambda: 1},
    },
    right={"bandwidth": SIZE, "margin": SIZE},
)
