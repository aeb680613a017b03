"""Valid calls of quantization, and which odd values they accept."""

import jax
import jax.numpy as jnp

import jaxcompress as jc
from jaxcompress.quantize.rounding.matrices import encoded, grid_of
from tests.doors.table import Doors
from tests.doors.values import (
    ANYTHING,
    BOOL,
    ENTRIES,
    FUNCTION,
    NONE,
    NUMBER,
    RATE,
    SIZE,
    TEXT,
    TREE,
    WHOLE,
)

PARAMS = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}


def model(params, x):
    return x @ params["kernel"]


PAIR = {"in": jnp.eye(2), "out": jnp.eye(2)}


def pair(params, x):
    return x @ params["in"] @ params["out"]


def normed(params, x):
    return jax.nn.relu(x * params["scale"]) @ params["kernel"]


def quantized():
    return jc.quantize.quantize(PARAMS, jc.quantize.int8())[0]


def signs():
    return jc.quantize.quantize(PARAMS, jc.quantize.formats.binary())[0]


def sign_data() -> jc.quantize.execution.Activations:
    sign = jc.observers.Range(jnp.float32(-1), jnp.float32(1))
    return jc.quantize.execution.static({"kernel": sign}, jc.quantize.formats.binary(per="tensor"))


def plan() -> jc.quantize.ExecutionPlan:
    return jc.quantize.plan_execution(model, quantized(), jnp.ones((1, 2)), probe=untimed)


def nearest(weight, second_moment, spec):
    on = grid_of(weight, spec, jc.quantize.ranges.min_max)
    return jc.quantize.rounding.Rounded(encoded(weight, on, spec), on)


def untimed(calls) -> dict[str, float]:
    return dict.fromkeys(calls, 1.0)


LEVELS = jc.quantize.int8().levels

DOORS = Doors(
    given={
        "tree": lambda: PARAMS,
        "params": lambda: PARAMS,
        "fn": lambda: model,
        "inputs": lambda: (jnp.ones((1, 2)),),
        "batches": lambda: [jnp.ones((3, 2))],
        "rounding": jc.quantize.rounding.nearest,
        "solver": jc.prune.solvers.sparsegpt,
        "sparsity": lambda: 0.5,
        "round": lambda: nearest,
        "second_moment": lambda: jnp.eye(2),
        "weight": lambda: jnp.ones((2, 2)),
        "error": lambda: jnp.ones((2, 2)),
        "spec": jc.quantize.int8,
        "plan": plan,
        "quantized": quantized,
        "members": jc.quantize.shortcut.Members,
        "inner": jc.quantize.execution.dynamic,
        "count": lambda: 1,
        "activations": jc.quantize.execution.dynamic,
        "readings": lambda: {"kernel": jc.observers.Range(jnp.float32(-1), jnp.float32(1))},
        "strengths": lambda: (0.5,),
        "rotations": lambda: jc.graph.symmetries.rotations(pair, PAIR, jnp.ones((1, 2))),
        "loss": lambda: lambda params, batch: jnp.sum(pair(params, batch) ** 4),
        "sweeps": lambda: 2,
        "bits": lambda: 4,
        "importance": lambda: jnp.ones((2, 2)),
        "codes": lambda: jnp.zeros((2, 2), jnp.int32),
        "candidates": lambda: jnp.zeros((3, 2, 2), jnp.int32),
        "slope": lambda: 0.1,
        "budget_bytes": lambda: 10,
        "size_at": lambda: lambda slope: round(10 / slope),
        "key": lambda: jax.random.key(0),
        "tuning": lambda: jc.quantize.rounding.block_tuning(jax.random.key(0), steps=1),
        "fraction_bits": lambda: 2,
        "name": lambda: "levels",
        "share": lambda: 0.5,
        "vectors": lambda: jc.quantize.sharing.Vectors(2, 4),
        "rate": lambda: 2.0,
        "levels": lambda: (-1.0, 0.0, 1.0),
        "technique": jc.quantize.training.binary_connect,
        "stages": lambda: {0: jc.quantize.training.binary_connect()},
        "strength": lambda: 0.1,
        "how": lambda: jc.quantize.training.data.learned_step(jc.quantize.int8()),
        "low": lambda: 0.0,
        "high": lambda: 1.0,
    },
    calls={
        "quantize.training.folded_norms": {
            "fn": lambda: normed,
            "params": lambda: {"scale": jnp.ones(2), "kernel": jnp.ones((2, 2))},
            "inputs": lambda: (jnp.ones(2),),
        },
        "quantize.training.data.fixed_range": {"spec": jc.quantize.formats.uint8},
        "quantize.training.data.learned_clip": {"spec": jc.quantize.formats.uint8},
        "quantize.training.data.learned_step_and_offset": {"spec": jc.quantize.formats.uint8},
        "quantize.equivalent.learn_rotations": {"params": lambda: PAIR, "steps": lambda: 1},
        "quantize.sharing.share": {
            "spec": lambda: jc.quantize.formats.codebook(2, per="tensor"),
            "importance": lambda: PARAMS,
        },
        "quantize.sharing.product": {"importance": lambda: PARAMS},
        "quantize.training.binary_weights": {"spec": jc.quantize.formats.binary},
        "quantize.training.ternary_weights": {
            "spec": jc.quantize.formats.ternary,
            "threshold": lambda: 0.7,
        },
        "quantize.training.trained_ternary": {
            "spec": lambda: jc.quantize.formats.codebook(2),
            "threshold": lambda: 0.05,
        },
        "quantize.training.learned_steps_and_zero_points": {"spec": jc.quantize.formats.uint8},
        "quantize.training.round_nearest": {"levels": lambda: LEVELS, "x": lambda: jnp.ones(2)},
        "quantize.training.round_stochastic": {"levels": lambda: LEVELS, "x": lambda: jnp.ones(2)},
        "quantize.training.delayed": {"begin": lambda: 3},
        "quantize.execution.packed_model": {"params": signs, "activations": sign_data},
        "quantize.plan_execution": {"params": quantized, "probe": lambda: untimed},
    },
    right={
        "fn": FUNCTION,
        "loss": FUNCTION,
        "probe": FUNCTION,
        "which": FUNCTION,
        "quantized": TREE,
        "threshold": SIZE,
        "round": FUNCTION,
        "root": FUNCTION,
        "begin": FUNCTION,
        "damping": SIZE,
        "power": SIZE,
        "clipping": SIZE,
        "params": TREE,
        "inputs": TREE,
        "tree": TREE,
        "block": NONE,
        "fraction_bits": WHOLE,
        "name": TEXT,
        "learning_rate": SIZE,
        "penalty": SIZE,
        "slope": SIZE,
        "rate": SIZE,
        "spare": SIZE,
        "offset": SIZE,
        "start": SIZE,
        "pull": SIZE,
        "importance": SIZE | BOOL,
        "strength": RATE,
        "travel": SIZE,
        "widest": SIZE,
        "low": WHOLE | {"jnp -1"},
        "high": SIZE,
        "margin": NUMBER,
        "x": ENTRIES - {"jnp -1"},
    },
    exceptions={
        ("quantize.plan_execution", "activations"): frozenset(("None",)),
        ("quantize.training.round_nearest", "key"): ANYTHING,  # which is not read
    },
)
