"""Valid calls of `validate.comparisons`, and which odd values it accepts."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxcompress as jc
from tests.doors.table import Doors
from tests.doors.values import FUNCTION, SIZE, TREE

DIFFERENCES = [0.5, -0.25, 1.0, 0.125]
CLASSES = np.array([0, 1, 1, 0])
LOGITS = np.array([[0.5, 0.25], [1.0, 2.0], [0.0, 1.0], [3.0, 0.0]])
IMAGES = np.full((2, 3, 3, 1), 0.5, np.float32)
CORRUPTIONS = ("noise", "blur", "contrast", "brightness", "occlusion", "pixelate")
COUNTED = {"reference": lambda: CLASSES, "candidate": lambda: CLASSES, "labels": lambda: CLASSES}
OUTPUTS = {"reference": lambda: LOGITS, "candidate": lambda: LOGITS}


def model(params, inputs):
    return inputs.reshape(len(inputs), -1) @ params["kernel"]


def params():
    return {"kernel": jnp.ones((9, 2))}


EVALUATION = jc.validate.evaluate(model, params(), IMAGES, np.arange(2))

DOORS = Doors(
    given={
        "accuracy": lambda: 0.9,
        "candidate": lambda: np.array([0.2, 0.1, 0.5, 0.9]),
        "claim": lambda: lambda n: min(1.0, n / 8),
        "compressed": lambda: np.stack([CLASSES, CLASSES]),
        "deviation": lambda: 1.0,
        "difference": lambda: 0.1,
        "differences": lambda: DIFFERENCES,
        "discordance": lambda: 0.2,
        "examples": lambda: jc.validate.Examples(IMAGES, np.arange(2)),
        "evaluations": lambda: {"dense": EVALUATION},
        "fn": lambda: model,
        "gained": lambda: 1,
        "images": lambda: IMAGES,
        "inputs": lambda: IMAGES,
        "key": lambda: jax.random.key(0),
        "labels": lambda: CLASSES,
        "lost": lambda: 2,
        "macs": lambda: {"dense": 1.0},
        "margin": lambda: 0.1,
        "n": lambda: 10,
        "originals": lambda: np.stack([CLASSES, CLASSES]),
        "p": lambda: [0.01, 0.04],
        "params": params,
        "positive": lambda: np.array([0, 1, 0, 1]),
        "reference": lambda: np.array([0.1, 0.4, 0.35, 0.8]),
        "scores": lambda: np.array([0.1, 0.4, 0.35, 0.8]),
        "severity": lambda: 0.5,
        "size_bytes": lambda: {"dense": 1.0},
        "statistic": lambda: np.mean,
        "vocabulary": lambda: 8,
        "width": lambda: 0.2,
    },
    calls={
        f"validate.comparisons.{name}": call
        for name, call in {
            "auc_covariance": {"scores": lambda: np.array([[0.1, 0.4, 0.35, 0.8]])},
            "calibration_drift": OUTPUTS,
            "changes": COUNTED,
            "class_damage": COUNTED,
            "cosine": OUTPUTS,
            "divergence": OUTPUTS,
            "fidelity": OUTPUTS,
            "layer_fidelity": {"candidate": params},
            "max_t": {"differences": lambda: [DIFFERENCES]},
            "robustness": {
                "candidate": params,
                # What a model does with wrong params is the model's.
                "fn": lambda: lambda params, inputs: jnp.ones((len(inputs), 2)),
                "corruptions": lambda: {
                    "noise": jc.validate.comparisons.corruptions.Graded(
                        jc.validate.comparisons.corruptions.noise, (0.1,)
                    )
                },
            },
            "simultaneous_intervals": {"differences": lambda: [DIFFERENCES]},
            "top_k_overlap": OUTPUTS | {"k": lambda: 1},
        }.items()
    },
    right={"deviation": SIZE, "fn": FUNCTION, "params": TREE},
    exceptions={
        ("validate.comparisons.robustness", "candidate"): TREE,
        # In the unit of the scores.
        ("validate.comparisons.claims.mean_not_worse", "margin"): SIZE,
        ("validate.comparisons.equivalence_of_means", "margin"): SIZE,
        # In pixels, or in the images' own unit.
        **{
            (f"validate.comparisons.corruptions.{name}", "severity"): SIZE
            for name in ("noise", "blur", "pixelate")
        },
        ("validate.comparisons.corruptions.images", "scale"): SIZE,
    },
)
