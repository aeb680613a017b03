"""Valid calls of what validates, and which odd values it accepts."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxcompress as jc
from tests.doors.table import Doors
from tests.doors.values import BOOL, FUNCTION, NONE, NUMBER, SIZE, TEXT, TREE, WHOLE

LOGITS = jnp.ones((2, 3))


def evaluation() -> jc.validate.Evaluation:
    return jc.validate.evaluate(lambda params, x: x, {}, jnp.ones((2, 3)), jnp.array([0, 1]))


def recipe() -> jc.validate.cross_validation.Candidate:
    return jc.validate.cross_validation.Candidate(
        lambda examples, weights, key: examples.mean(),
        lambda model, examples: examples[:, 0] - model,
    )


def cross_validation() -> jc.validate.cross_validation.CrossValidation:
    folds = tuple(jc.validate.splits.k_fold(4, folds=2))
    values = tuple({"score": np.arange(2.0) + k} for k in range(2))
    return jc.validate.cross_validation.CrossValidation(folds, values)


DOORS = Doors(
    given={
        "fn": lambda: lambda params, inputs: LOGITS,
        "params": lambda: {"kernel": jnp.ones((2, 2))},
        "inputs": lambda: jnp.ones((2, 2)),
        "labels": lambda: jnp.array([0, 1]),
        "targets": lambda: jnp.array([0, 1]),
        "metric": lambda: "loss",
        "ignore": lambda: -100,
        "logits": lambda: LOGITS,
        "other_logits": lambda: LOGITS,
        "reference": evaluation,
        "candidate": evaluation,
        "low": lambda: -0.1,
        "high": lambda: 2.0,
        "values": lambda: [1.0, 2.0],
        "successes": lambda: 1,
        "gained": lambda: 1,
        "lost": lambda: 2,
        "n": lambda: 10,
        "groups": lambda: list(range(10)),
        "split": lambda: lambda seed: [([0], [1])],
        "outer": lambda: [([0, 1], [2])],
        "inner": lambda: lambda train: [([0], [1])],
        "examples": lambda: jnp.ones((2, 2)),
        "name": lambda: "test",
        "path": lambda: __file__,
        "fit": lambda: lambda examples, weights, key: examples.mean(),
        "evaluate": lambda: lambda model, examples: examples[:, 0] - model,
        "data": lambda: np.ones((4, 2), np.float32),
        "splits": lambda: jc.validate.splits.k_fold(4, folds=2),
        "key": lambda: jax.random.key(0),
        "scores": lambda: [0.9, 0.8],
        "test_over_train": lambda: 0.25,
        "preparation": jc.validate.cross_validation.standardize,
        "recipe": recipe,
        "candidates": lambda: {"mean": recipe()},
        "folds": lambda: jc.validate.splits.nested([([0, 1, 2], [3])], lambda train: [([0], [1])]),
        "judge": lambda: lambda values: 1.0,
    },
    calls={
        "validate.check_disjoint": {"train": lambda: [1, 2], "test": lambda: [3]},
        "validate.split": {"labels": lambda: [0, 1] * 5},
        "validate.cross_validation.compare_folds": {
            "reference": cross_validation,
            "candidate": cross_validation,
            "name": lambda: "score",
            "margin": lambda: 0.1,
            "higher_is_better": lambda: True,
        },
        "validate.splits.listed": {"folds": lambda: [([0], [1])]},
        "validate.splits.stratified_grouped_k_fold": {"labels": lambda: [0, 1] * 5},
        "validate.splits.stratified_k_fold": {"labels": lambda: [0, 1] * 5},
    },
    right={
        "fn": FUNCTION,
        "params": TREE,
        "ignore": WHOLE | {"None"},
        "higher_is_better": BOOL,
        "low": NUMBER,
        "high": SIZE,
        "split": FUNCTION,
        "name": TEXT,
        "origin": TEXT,
        "path": TEXT,
        "judge": FUNCTION,
        "test_over_train": SIZE,
    },
    # Labels of any shape, () among them.
    exceptions={
        ("validate.counted", "labels"): NUMBER - SIZE,
        # In the unit of the score.
        ("validate.cross_validation.compare_folds", "margin"): SIZE,
        # Without a seed the order stays.
        ("validate.splits.k_fold", "seed"): NONE,
        ("validate.splits.stratified_k_fold", "seed"): NONE,
    },
    traced=frozenset(
        f"validate.{name}" for name in ("agreement", "correct", "counted", "cross_entropy")
    ),
)
