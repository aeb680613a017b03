"""The demo's network, once in NNX and once in Linen, with the same leaf names."""

import dataclasses

import jax
import jax.numpy as jnp

from jaxcompress.bridges.functional import Functional

POOL_ABOVE = 16
"""Larger images are halved once more, to keep the hidden layer small."""


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What builds the network again in another process: its framework and sizes.

    Attributes:
      framework: "nnx" or "linen".
      widths: channels of the two convolutions and units of the hidden layer.
      image: height, width and channels.
      classes: how many logits.
    """

    framework: str
    widths: tuple[int, int, int]
    image: tuple[int, int, int]
    classes: int

    @property
    def pools_early(self) -> bool:
        return min(self.image[:2]) > POOL_ABOVE

    @property
    def features(self) -> int:
        """Numbers that reach the hidden layer."""
        height, width, _ = self.image
        shrink = 4 if self.pools_early else 2
        return (height // shrink) * (width // shrink) * self.widths[1]


def network(architecture: Architecture, seed: int) -> Functional:
    """The network with freshly drawn parameters, as function and tree."""
    return {"nnx": _nnx_network, "linen": _linen_network}[architecture.framework](
        architecture, seed
    )


def _pool(x: jax.Array) -> jax.Array:
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def _nnx_network(architecture: Architecture, seed: int) -> Functional:
    from flax import nnx

    from jaxcompress.bridges.nnx import functional

    class Network(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            first, second, hidden = architecture.widths
            self.conv1 = nnx.Conv(architecture.image[2], first, (3, 3), use_bias=False, rngs=rngs)
            self.norm1 = nnx.BatchNorm(first, momentum=0.9, rngs=rngs)
            self.conv2 = nnx.Conv(first, second, (3, 3), use_bias=False, rngs=rngs)
            self.norm2 = nnx.BatchNorm(second, momentum=0.9, rngs=rngs)
            self.hidden = nnx.Linear(architecture.features, hidden, rngs=rngs)
            self.head = nnx.Linear(hidden, architecture.classes, rngs=rngs)

        def __call__(self, x):
            x = nnx.relu(self.norm1(self.conv1(x)))
            x = _pool(x) if architecture.pools_early else x
            x = _pool(nnx.relu(self.norm2(self.conv2(x))))
            x = nnx.relu(self.hidden(x.reshape(x.shape[0], -1)))
            return self.head(x)

    return functional(Network(nnx.Rngs(seed)))


def _linen_network(architecture: Architecture, seed: int) -> Functional:
    import flax.linen as nn

    from jaxcompress.bridges.linen import functional

    class Network(nn.Module):
        @nn.compact
        def __call__(self, x, train: bool):
            first, second, hidden = architecture.widths
            x = nn.Conv(first, (3, 3), use_bias=False, name="conv1")(x)
            x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9, name="norm1")(x))
            x = _pool(x) if architecture.pools_early else x
            x = nn.Conv(second, (3, 3), use_bias=False, name="conv2")(x)
            x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9, name="norm2")(x))
            x = _pool(x)
            x = nn.relu(nn.Dense(hidden, name="hidden")(x.reshape(x.shape[0], -1)))
            return nn.Dense(architecture.classes, name="head")(x)

    module = Network()
    variables = module.init(jax.random.key(seed), jnp.zeros((1, *architecture.image)), train=False)
    return functional(module, variables, evaluation={"train": False}, training={"train": True})
