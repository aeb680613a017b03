"""Valid calls of `validate.comparisons`, and which odd values it accepts."""

import numpy as np

from tests.doors.table import Doors
from tests.doors.values import SIZE

DIFFERENCES = [0.5, -0.25, 1.0, 0.125]


DOORS = Doors(
    given={
        "claim": lambda: lambda n: min(1.0, n / 8),
        "differences": lambda: DIFFERENCES,
        "discordance": lambda: 0.2,
        "gained": lambda: 1,
        "lost": lambda: 2,
        "margin": lambda: 0.1,
        "n": lambda: 10,
        "p": lambda: [0.01, 0.04],
        "positive": lambda: np.array([0, 1, 0, 1]),
        "scores": lambda: np.array([0.1, 0.4, 0.35, 0.8]),
        "reference": lambda: np.array([0.1, 0.4, 0.35, 0.8]),
        "candidate": lambda: np.array([0.2, 0.1, 0.5, 0.9]),
        "statistic": lambda: np.mean,
        "difference": lambda: 0.1,
        "width": lambda: 0.2,
        "accuracy": lambda: 0.9,
        "deviation": lambda: 1.0,
    },
    calls={
        f"validate.comparisons.{name}": call
        for name, call in {
            "auc_covariance": {"scores": lambda: np.array([[0.1, 0.4, 0.35, 0.8]])},
            "max_t": {"differences": lambda: [DIFFERENCES]},
            "simultaneous_intervals": {"differences": lambda: [DIFFERENCES]},
        }.items()
    },
    right={"deviation": SIZE},
    exceptions={
        # In the unit of the scores.
        ("validate.comparisons.claims.mean_not_worse", "margin"): SIZE,
        ("validate.comparisons.equivalence_of_means", "margin"): SIZE,
    },
)
