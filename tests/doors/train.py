"""Valid calls of what trains, and which odd values it accepts."""

import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxcompress as jc
from tests.doors.table import Doors
from tests.doors.values import FUNCTION, NOTHING, NUMBER, SIZE, TEXT, TREE, WHOLE


def mechanism() -> jc.train.SubsampledGaussian:
    return jc.train.SubsampledGaussian(
        clip=1.0, noise_multiplier=1.0, batch_size=2, population=4, steps=3
    )


def recipe() -> jc.train.Recipe:
    return jc.train.Recipe(
        lambda params, batch, key: (params["kernel"][0] * batch, params), optax.sgd(0.1)
    )


def example_loss(params, example):
    return jnp.sum(params * example)


INPUTS = np.ones((2, 3), np.float32)


SCRATCH = tempfile.TemporaryDirectory()
"""Of this process: calls are made outside of tests, too, where no test has a folder."""


def folder() -> str:
    return tempfile.mkdtemp(dir=SCRATCH.name)


def filled() -> str:
    content, made = jc.train.teacher_cache.whole(), folder()
    jc.train.teacher_cache.fill(made, lambda params, x: x, jnp.float32(1), INPUTS, content)
    return made


DOORS = Doors(
    given={
        "batch_size": lambda: 2,
        "alpha": lambda: 0.2,
        "border": lambda: 1,
        "content": jc.train.teacher_cache.whole,
        "count": lambda: 2,
        "examples": lambda: np.ones(4, np.float32),
        "fn": lambda: lambda params, x: x,
        "folder": folder,
        "height": lambda: 2,
        "width": lambda: 2,
        "init": lambda: lambda key: {"kernel": jnp.ones(2)},
        "inputs": lambda: INPUTS,
        "k": lambda: 2,
        "key": lambda: jax.random.key(0),
        "loss": lambda: lambda outputs, targets: outputs,
        "mechanism": mechanism,
        "n": lambda: 5,
        "optimizer": lambda: optax.sgd(0.1),
        "params": lambda: {"kernel": jnp.ones(2)},
        "places": lambda: jnp.arange(3),
        "plan": lambda: jc.train.Plan(steps=2, batch_size=2),
        "recipe": recipe,
        "steps": lambda: 3,
        "train_fn": lambda: lambda params, x, key: (x, params),
    },
    calls={
        "train.steps.order": {"steps": lambda: jnp.arange(3)},
        "train.private_gradient": {"loss": lambda: example_loss},
        "train.private_fit": {"loss": lambda: example_loss},
        "train.teacher_cache.fill": {"params": lambda: jnp.float32(1)},
        "train.teacher_cache.read": {"folder": filled},
    },
    right={
        "alpha": SIZE,
        "fn": FUNCTION,
        "train_fn": FUNCTION,
        "view": FUNCTION,
        "augments": FUNCTION,
        "temperature": SIZE,
        "folder": TEXT,
        "fill": NUMBER,
        "places": WHOLE | {"jnp -1"},
        "params": frozenset(("jnp nan", "jnp 1.5")),
    },
    exceptions={
        ("train.objectives.supervised", "loss"): FUNCTION,
        ("train.objectives.supervised_with_state", "loss"): FUNCTION,
        ("train.teacher_cache.fill", "fn"): NOTHING,
        ("train.teacher_cache.fill", "params"): TREE,
        ("train.teacher_cache.read", "folder"): NOTHING,
    },
)
