"""Valid calls of what trains, and which odd values it accepts."""

import jax.numpy as jnp
import optax

import jaxcompress as jc
from tests.doors.table import Doors


def mechanism() -> jc.train.SubsampledGaussian:
    return jc.train.SubsampledGaussian(
        clip=1.0, noise_multiplier=1.0, batch_size=2, population=4, steps=3
    )


def example_loss(params, example):
    return jnp.sum(params * example)


DOORS = Doors(
    given={},
    calls={
        "train.private_gradient": {"loss": lambda: example_loss, "mechanism": mechanism},
        "train.private_fit": {
            "loss": lambda: example_loss,
            "init": lambda: lambda key: jnp.ones(2),
            "optimizer": lambda: optax.sgd(0.1),
            "mechanism": mechanism,
        },
    },
)
