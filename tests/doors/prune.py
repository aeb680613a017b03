"""Valid calls of pruning, and which odd values they accept."""

import jax
import jax.numpy as jnp
import optax

import jaxcompress as jc
from tests.doors.table import Doors
from tests.doors.values import ENTRIES, FUNCTION, MASKS, NUMBER, SIZE, TREE, WHOLE

PARAMS = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
GRADS = {"kernel": jnp.full((2, 2), 0.5), "bias": jnp.ones(2)}
KEPT = {"kernel": jnp.eye(2, dtype=bool), "bias": jnp.array(True)}
AXES = jc.LeafAxes((0,), (1,))
TABLE_OF_SCORES = {
    "scores": lambda: {"kernel": jnp.ones((2, 2))},
    "axes": lambda: {"kernel": AXES},
}
CHOSEN = {
    "scores": TABLE_OF_SCORES["scores"],
    "axes": TABLE_OF_SCORES["axes"],
    "masks": lambda: {"kernel": KEPT["kernel"]},
}


def model(params, x):
    return x @ params["kernel"]


def loss(outputs, targets):
    return jnp.sum((outputs - targets) ** 2, axis=-1)


def pruned_state():
    return jc.prune.prune(optax.sgd(0.1), jc.prune.criteria.magnitude(), 0.5).init(PARAMS)


DOORS = Doors(
    given={
        "tree": lambda: PARAMS,
        "params": lambda: PARAMS,
        "fn": lambda: model,
        "loss": lambda: loss,
        "batches": lambda: [(jnp.ones((3, 2)), jnp.ones((3, 2)))],
        "key": lambda: jax.random.key(0),
        "criterion": jc.prune.criteria.magnitude,
        "growth": jc.prune.criteria.gradient_momentum,
        "gradients": lambda: [GRADS],
        "target": lambda: 0.5,
        "targets": lambda: [0.5],
        "sparsity": lambda: 0.5,
        "scores": lambda: jnp.ones((2, 2)),
        "leaf_axes": lambda: AXES,
        "masks": lambda: KEPT,
        "dropped": lambda: {"kernel": jnp.ones((1, 1), jnp.int32)},
        "sensitivity": lambda: jc.prune.allocations.Sensitivity((1.0,), {"kernel": (1.0,)}),
        "allocate": lambda: jc.prune.allocations.uniform,
        "pattern": lambda: jc.prune.patterns.outputs,
        "solver": jc.prune.solvers.sparsegpt,
        "masking": lambda: jc.prune.views.by_magnitude(0.5),
        "spared": lambda: jc.prune.views.by_magnitude(0.5),
        "train": lambda: lambda params, masks, turn: params,
        "inner": lambda: optax.sgd(0.1),
        "opt_state": pruned_state,
        "learning_rate": lambda: 0.1,
        "weight": lambda: 0.1,
        "threshold": lambda: 0.1,
        "deviations": lambda: 0.1,
        "least": lambda: 1,
        "multiple": lambda: 2,
        "size": lambda: 2,
        "n": lambda: 1,
        "m": lambda: 2,
        "shape": lambda: (1, 2),
        "axis": lambda: 0,
        "turn": lambda: 0,
        "x": lambda: jnp.ones(2),
    },
    calls={
        "prune.criteria.wanda": {"batches": lambda: [jnp.ones((3, 2))]},
        "prune.reconstruct": {"batches": lambda: [jnp.ones((3, 2))]},
        "prune.criteria.synflow": {"inputs": lambda: (jnp.ones((3, 2)),)},
        "prune.criteria.constant": {"scores": lambda: PARAMS},
        "prune.patterns.heads": {
            "scores": lambda: jnp.ones((2, 2, 2)),
            "leaf_axes": lambda: jc.LeafAxes((0,), (1, 2)),
        },
        "prune.allocations.erk": TABLE_OF_SCORES,
        "prune.allocations.lamp": TABLE_OF_SCORES,
        "prune.allocations.globally": TABLE_OF_SCORES,
        "prune.allocations.globally_normalized": TABLE_OF_SCORES,
        "prune.allocations.uniform": TABLE_OF_SCORES,
        "prune.shares.as_dropped": CHOSEN,
        "prune.shares.by_mean_score": CHOSEN,
    },
    right={
        "fn": FUNCTION,
        "params": TREE,
        "tree": TREE,
        "inputs": TREE,
        "learning_rate": SIZE | FUNCTION,
        "weight": SIZE,
        "start": NUMBER,
        "threshold": NUMBER,
        "deviations": NUMBER,
        "multiple": SIZE,
        "spread": SIZE,
        "temperature": SIZE,
        "damping": SIZE,
        "axis": WHOLE,
        "x": ENTRIES,
        "scores": ENTRIES,
        "masks": MASKS,
    },
    traced=frozenset(
        {
            "prune.allocations.erk",
            "prune.allocations.globally",
            "prune.allocations.lamp",
            "prune.lottery.shuffled",
            "prune.patterns.heads",
            "prune.patterns.inputs",
            "prune.patterns.outputs",
            "prune.patterns.unstructured",
            "prune.shares.by_mean_score",
            "prune.views.surgery",
        }
    ),
    exceptions={
        ("prune.criteria.constant", "scores"): TREE,
        ("prune.penalties.soft_threshold", "threshold"): SIZE,
        ("prune.views.sr_ste", "decay"): SIZE,
    },
)
