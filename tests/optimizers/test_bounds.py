"""Updates that stay bounded on mostly empty gradients, as an embedding's are."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import optimizers
from tests.optimizers.test_contract import ROUNDING

STEPS, SIDE, RANKS = 240, 64, (1, 2, 3)
RATE, DAMPING, LIMIT = 0.1, 1e-3, 1e-3


def model(params, x):
    """One layer for each rank of a gradient."""
    return sum(x @ kernel for kernel in params.values())


PARAMS = {str(rank): jnp.zeros((SIDE, SIDE)) for rank in RANKS}
LAYERS = optimizers.kfac_layers(model, PARAMS, jnp.zeros((1, SIDE))).layers


def steps():
    """Inputs and output gradients, (STEPS, 3, 64): three rows of 64 are not empty."""
    random = np.random.default_rng(0)
    rows = np.stack([random.choice(SIDE, 3, replace=False) for _ in range(STEPS)])
    inputs = np.eye(SIDE, dtype=np.float32)[rows]
    errors = {}
    for rank in RANKS:
        mixed = random.standard_normal((STEPS, 3, rank)) @ random.standard_normal(
            (STEPS, rank, SIDE)
        )
        # As they are met: some steps a thousand times as large as others.
        size = 10.0 ** random.uniform(-3, 0, (STEPS, 1, 1))
        errors[str(rank)] = (size * mixed).astype(np.float32)
    return inputs, errors


def adam_bound(b1: float, b2: float) -> float:
    """What no entry of Adam's update is beyond, by the inequality of Cauchy-Schwarz."""
    return (1 - b1) / math.sqrt((1 - b2) * (1 - b1**2 / b2))


def root_mean_square(update):
    return jnp.sqrt(jnp.mean(update**2))


def entry(update):
    return jnp.max(jnp.abs(update))


def spectral(update):
    return jnp.linalg.norm(update, 2)


def length(update):
    return jnp.sqrt(jnp.sum(update**2))


def kfac():
    scaled = optimizers.scale_by_kfac(LAYERS, jax.random.key(0), damping=DAMPING)
    return optimizers.clip_kl(scaled, RATE, limit=LIMIT)


# The optimizer, the size of one leaf's update, and what docstrings say bounds it.
BOUNDS = {
    "soap": (optimizers.scale_by_soap, root_mean_square, 1.0),
    "soap, other decays": (
        lambda: optimizers.scale_by_soap(0.9, 0.99),
        root_mean_square,
        adam_bound(0.9, 0.99),
    ),
    "shampoo": (optimizers.scale_by_shampoo, root_mean_square, adam_bound(0.9, 0.999)),
    "muon": (optimizers.scale_by_muon, spectral, 1.21),
    "kfac": (kfac, length, math.sqrt(LIMIT / DAMPING) / RATE),
    "sophia": (lambda: optimizers.scale_by_sophia(jax.random.key(0)), entry, 1.0),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_updates_stay_within_their_bound(name):
    """Of gradients of ranks 1 to 3 in three rows of 64, 240 steps on end."""
    make, size, bound = BOUNDS[name]
    optimizer = make()

    @jax.jit
    def largest(inputs, errors):
        def step(state, now):
            x, errors = now
            grads = {rank: x.T @ error for rank, error in errors.items()}
            asked = {
                "factors": lambda key: {
                    rank: optimizers.Factors(x.T @ x / 3, error.T @ error / 3)
                    for rank, error in errors.items()
                },
                "diagonal": lambda key: jax.tree.map(jnp.square, grads),
            }
            asked = {
                "kfac": {"factors": asked["factors"]},
                "sophia": {"diagonal": asked["diagonal"]},
            }.get(name, {})
            updates, state = optimizer.update(grads, state, PARAMS, **asked)
            return state, jax.tree.map(size, updates)

        return jax.lax.scan(step, optimizer.init(PARAMS), (inputs, errors))[1]

    for rank, sizes in largest(*steps()).items():
        assert np.all(np.isfinite(sizes)), rank
        # Rounding, times what products of 64 terms sum up.
        assert np.max(sizes) <= bound * (1 + SIDE * ROUNDING), rank
        assert np.max(sizes) > 1e-3 * bound, rank
