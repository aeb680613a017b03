"""Valid calls of the optimizers, and which odd values they accept."""

import jax
import jax.numpy as jnp
import optax

import jaxcompress as jc
from tests.doors.table import Doors
from tests.doors.values import ARRAY, FUNCTION, NUMBER, RATE, SIZE, TEXT, TREE

PARAMS = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
ONE = ARRAY - {"True"}
"""One array of real numbers."""
REAL_TREE = frozenset(("None", "nan", "jnp nan", "1.5", "jnp 1.5"))


def model(params, *inputs) -> jax.Array:
    """Any params and inputs will do."""
    del inputs
    return sum(map(jnp.sum, jax.tree.leaves(params)), jnp.zeros(())) * jnp.ones((1, 2))


def loss(params) -> jax.Array:
    return jnp.sum(model(params))


def state() -> optax.OptState:
    """Of all that is read from states."""
    optimizer = jc.optimizers.dynamic_loss_scale(
        jc.optimizers.monitor(jc.optimizers.averaged(optax.sgd(0.1)))
    )
    return optimizer.init(PARAMS)


DOORS = Doors(
    given={
        "caller": lambda: "halved",
        "columns": lambda: 2,
        "fn": lambda: model,
        "grads": lambda: PARAMS,
        "inner": lambda: optax.sgd(0.1),
        "inputs": lambda: (jnp.ones((1, 2)),),
        "key": lambda: jax.random.key(0),
        "layers": lambda: (),
        "learning_rate": lambda: 0.1,
        "logits": lambda: jnp.ones((1, 2)),
        "loss": lambda: loss,
        "means": lambda: jnp.ones((1, 2)),
        "moments": lambda: ("first_moment",),
        "opt_state": state,
        "params": lambda: PARAMS,
        "rank": lambda: 1,
        "rows": lambda: 2,
        "scale": lambda: 2.0,
        "step": lambda: lambda count, gradient: (gradient,),
        "vector": lambda: PARAMS,
        "weight": lambda: 0.1,
        "x": lambda: jnp.ones((1, 2, 2)),
    },
    calls={
        "optimizers.clip_weights": {"low": lambda: -1.0, "high": lambda: 1.0},
        "optimizers.gauss_newton_bartlett": {"logits": lambda: model},
        "optimizers.scale_loss": {"loss": lambda: jnp.ones(())},
    },
    right={
        "learning_rate": RATE,
        "adam_learning_rate": RATE,
        "damping": SIZE,
        "eps": SIZE,
        "eps_root": SIZE,
        "exponent": SIZE,
        "gamma": SIZE,
        "growth": SIZE,
        "initial": SIZE,
        "limit": SIZE,
        "ridge": SIZE,
        "scale": SIZE,
        "variance": SIZE,
        "weight": SIZE,
        "weight_decay": SIZE,
        "fn": FUNCTION,
        "likelihood": FUNCTION,
        "logits": FUNCTION,
        "loss": FUNCTION,
        "step": FUNCTION,
        "caller": TEXT,
        "moments": TEXT,
        "params": TREE,
        "grads": TREE,
        "inputs": TREE,
    },
    exceptions={
        ("optimizers.leafwise", "initial"): NUMBER,
        ("optimizers.clip_weights", "low"): NUMBER,
        ("optimizers.clip_weights", "high"): NUMBER,
        ("optimizers.gradient_noise", "decay"): SIZE,
        ("optimizers.muon", "scale"): FUNCTION,
        ("optimizers.scale_by_muon", "scale"): FUNCTION,
        ("optimizers.scale_loss", "loss"): ONE,
        ("optimizers.rounded_to_bfloat16", "x"): ONE,
        # Only real floating leaves have a curvature.
        ("optimizers.hutchinson", "params"): REAL_TREE,
        ("optimizers.gauss_newton_bartlett", "params"): REAL_TREE,
    },
    traced=frozenset(
        f"optimizers.{name}"
        for name in (
            "categorical",
            "gauss_newton_bartlett",
            "gaussian",
            "hessian_vector",
            "hutchinson",
            "kfac_factors",
            "orthogonalized",
            "rounded_to_bfloat16",
            "unscale",
        )
    ),
)
