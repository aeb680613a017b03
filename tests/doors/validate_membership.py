"""Valid calls of `validate.membership`, and which odd values it accepts."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxcompress as jc
from tests.doors.table import Doors
from tests.doors.values import ANYTHING, SIZE, WHOLE

MEMBERS = np.array([[True, False, False], [False, True, False]] * 2)
SIGNALS = np.linspace(0.1, 0.9, 12).reshape(4, 3)


def without_population(*names: str) -> dict:
    """Shadow models for attacks that need each example on both of their sides."""
    given = {
        "target": lambda: SIGNALS[0, :2],
        "signals": lambda: SIGNALS[:, :2],
        "members": lambda: MEMBERS[:, :2],
    }
    return {name: given[name] for name in names or given}


OUTPUTS = {
    "logits": lambda: jnp.ones((2, 3)),
    "labels": lambda: jnp.array([0, 1]),
}
TOKENS = {
    "logits": lambda: jnp.ones((2, 3, 4)),
    "labels": lambda: jnp.zeros((2, 3), jnp.int32),
}

DOORS = Doors(
    given={
        "target": lambda: SIGNALS[0],
        "signals": lambda: SIGNALS,
        "members": lambda: MEMBERS,
        "population": lambda: np.array([False, False, True]),
        "offset": lambda: 0.5,
        "features": lambda: np.ones((3, 2)),
        "key": lambda: jax.random.key(0),
        "losses": lambda: np.ones(3),
        "scores": lambda: np.arange(40.0),
        "rate": lambda: 0.1,
        "inside": lambda: np.ones((4, 3), bool),
        "fit": lambda: lambda examples, weights, key: examples.sum(),
        "signal": lambda: lambda model, examples: examples - model,
        "examples": lambda: jnp.ones(3),
        "right": lambda: lambda model, examples: examples[0],
        "queries": lambda: [lambda key, x: x],
        "scales": lambda: [0.1],
        "compressions": lambda: {"dense": lambda model: model},
        "attack": lambda: jc.validate.membership.attacks.uncalibrated,
        "shadows": lambda: jc.validate.membership.Shadows(SIGNALS, MEMBERS),
        "count": lambda: 2,
        "n": lambda: 4,
        **OUTPUTS,
    },
    calls={
        "validate.membership.attacks.lira_online": without_population(),
        "validate.membership.attacks.lira_offline": without_population(),
        "validate.membership.attacks.loss_threshold": {"members": lambda: MEMBERS[0]},
        "validate.membership.attacks.quantile_regression": {
            "population": lambda: np.array([False, True, True]),
            "false_positives": lambda: 0.6,
        },
        "validate.membership.attacks.shadow_classifier": {
            "target": lambda: SIGNALS[:3],
            "signals": lambda: SIGNALS[None, :3].repeat(4, axis=0),
            "labels": lambda: np.zeros(3, np.int32),
        },
        "validate.membership.audit": {
            "members": lambda: np.arange(40) < 20,
            "rates": lambda: (0.1,),
        },
        "validate.membership.control": {
            "members": lambda: np.arange(40) < 10,
            "rates": lambda: (0.1,),
        },
        "validate.membership.attacks.lira_joint": {
            "target": lambda: SIGNALS[0, :2, None],
            "signals": lambda: SIGNALS[:, :2, None],
            "members": lambda: MEMBERS[:, :2],
        },
        "validate.membership.shadows": {"members": lambda: MEMBERS},
        "validate.membership.min_k": TOKENS,
        "validate.membership.token_log_likelihood": TOKENS,
    },
    right={"ignore": WHOLE | {"None"}, "prior": SIZE},
    exceptions={
        ("validate.membership.attacks.uncalibrated", "signals"): ANYTHING,
        ("validate.membership.attacks.uncalibrated", "members"): ANYTHING,
    },
)
