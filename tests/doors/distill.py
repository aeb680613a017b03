"""Valid calls of the losses, and which odd values they accept."""

import jax
import jax.numpy as jnp

import jaxcompress as jc
from tests.doors.table import Doors
from tests.doors.values import BOOL, FUNCTION, NUMBER, SIZE, TREE, WHOLE

FEATURES = jnp.ones((2, 3))
TOKENS = {"student": lambda: jnp.ones((2, 3, 4)), "teacher": lambda: jnp.ones((2, 3, 4))}


def sums(params):
    return jnp.stack([jnp.sum(leaf) for leaf in jax.tree.leaves(params)])


DOORS = Doors(
    given={
        "hard": lambda: jnp.ones(2),
        "soft": lambda: jnp.ones(2),
        "weight": lambda: 0.5,
        "labels": lambda: jnp.array([0, 1]),
        "ignore": lambda: -100,
        "student": lambda: FEATURES,
        "teacher": lambda: FEATURES,
        "width": lambda: 3,
        "shares": lambda: [1, 1],
        "losses": lambda: sums,
        "params": lambda: {"kernel": jnp.ones(2)},
        "of": lambda: 4,
        "fn": lambda: lambda params, x: x @ params["kernel"],
        "statistics": lambda: {"kernel": (jnp.ones(2), jnp.ones(2))},
        "values": lambda: {"kernel": jnp.ones((3, 2))},
        "targets": lambda: jnp.array([0, 1]),
        "key": lambda: jax.random.key(0),
        "plan": lambda: jc.distill.synthesis.Inversion((2,), steps=1),
        "inputs": lambda: FEATURES,
        "count": lambda: 2,
        "layers": lambda: [1],
        "select": jc.everything,
        "blocks": lambda: {".": "."},
        "batches": lambda: [(jnp.ones((4, 3)), jnp.ones((4, 2)))],
    },
    calls={
        "distill.features.attention_transfer": TOKENS,
        "distill.features.hierarchical_context": TOKENS,
        "distill.features.token_relations": TOKENS,
        "distill.students.from_layers": {"teacher": lambda: FEATURES},
        "distill.synthesis.synthesize": {"params": lambda: {"kernel": jnp.eye(2)}},
    },
    right={
        "ignore": WHOLE | {"None"},
        "temperature": SIZE,
        "where": BOOL,
        "gamma": SIZE,
        "ratio": SIZE,
        "variance": SIZE,
        "activation": FUNCTION,
        "alpha": SIZE,
        "rate": SIZE,
        "params": frozenset(("jnp nan", "jnp 1.5")),
    },
    # Labels of any shape, () among them.
    exceptions={
        ("distill.counted", "labels"): NUMBER - SIZE,
        ("distill.students.from_layers", "axis"): WHOLE,
        ("distill.synthesis.synthesize", "params"): TREE,
    },
    traced=frozenset(("distill.mix",)),
)
