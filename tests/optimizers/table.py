"""The table of optimizers: one row each, which every test of this folder runs on."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
import pytest

from jaxcompress import optimizers
from tests.optimizers import oracles


def is_matrix(params):
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def optax_adafactor(rate):
    """In float64 also its decay, which is float32 there unless told."""

    def decay(step: Any, power: Any):
        return 1 - (step + 1.0) ** -power

    return optax.chain(
        optax.scale_by_factored_rms(min_dim_size_to_factor=1, decay_rate_fn=decay),
        optax.clip_by_block_rms(1.0),
        optax.add_decayed_weights(0.1, is_matrix),
        optax.scale(-rate),
    )


class Case(NamedTuple):
    """An optimizer with its options, its oracles, and what it needs to converge."""

    name: str
    make: Callable
    options: dict
    plain: Callable
    """the update as a NumPy loop"""
    optax: Callable | None
    """learning rate -> optax's counterpart, where there is one"""
    rate: float = 0.1
    steps: int = 4000
    roundings: int = 16
    """of float32 that an update is off by, at most, on matrices as small as here"""
    static: tuple[str, ...] = ()
    """options that shapes follow from, which cannot be injected"""
    by_number: bool = True
    """whether all of its state is moments of the params' shapes"""

    def __call__(self, learning_rate, **more):
        return self.make(learning_rate, **self.options, **more)


OPTIMIZERS = [
    Case("sgd", optimizers.sgd, {}, oracles.sgd(), optax.sgd, steps=16_000),
    Case(
        "heavy ball",
        optimizers.heavy_ball,
        {"momentum": 0.9},
        oracles.momentum(),
        lambda rate: optax.sgd(rate, momentum=0.9),
    ),
    Case(
        "nesterov",
        optimizers.nesterov,
        {"momentum": 0.9},
        oracles.momentum(nesterov=True),
        lambda rate: optax.sgd(rate, momentum=0.9, nesterov=True),
    ),
    Case("adagrad", optimizers.adagrad, {}, oracles.adagrad(), None, rate=1.0),
    Case(
        "adagrad, eps inside",
        optimizers.adagrad,
        {"eps": 0.0, "eps_root": 1e-7, "initial": 0.1},
        oracles.adagrad(0.0, 1e-7, 0.1),
        optax.adagrad,
        rate=1.0,
    ),
    Case(
        "rmsprop",
        optimizers.rmsprop,
        {},
        oracles.rmsprop(),
        lambda rate: optax.rmsprop(rate, eps_in_sqrt=False),
        rate=0.01,
    ),
    Case(
        "rmsprop, eps inside",
        optimizers.rmsprop,
        {"eps": 0.0, "eps_root": 1e-8, "decay": 0.99},
        oracles.rmsprop(0.99, 0.0, 1e-8),
        lambda rate: optax.rmsprop(rate, 0.99),
        rate=0.01,
    ),
    Case(
        "rmsprop with momentum",
        optimizers.rmsprop,
        {"momentum": 0.9},
        oracles.rmsprop(mu=0.9),
        lambda rate: optax.rmsprop(rate, eps_in_sqrt=False, momentum=0.9),
        rate=0.003,
    ),
    Case(
        "centered rmsprop",
        optimizers.centered_rmsprop,
        {"eps_root": 1e-6},
        oracles.rmsprop(eps_root=1e-6, centered=True),
        None,
        rate=0.003,
    ),
    Case(
        "centered rmsprop with momentum",
        optimizers.centered_rmsprop,
        {"eps": 0.0, "eps_root": 1e-4, "momentum": 0.5},
        oracles.rmsprop(eps=0.0, eps_root=1e-4, centered=True, mu=0.5),
        lambda rate: optax.rmsprop(rate, eps=1e-4, centered=True, momentum=0.5),
        rate=0.003,
    ),
    Case("adam", optimizers.adam, {}, oracles.adam(), optax.adam),
    Case(
        "adam, eps inside",
        optimizers.adam,
        {"b1": 0.8, "b2": 0.99, "eps": 1e-6, "eps_root": 1e-5},
        oracles.adam(0.8, 0.99, 1e-6, 1e-5),
        lambda rate: optax.adam(rate, 0.8, 0.99, 1e-6, 1e-5),
    ),
    Case(
        "adamw",
        optimizers.adamw,
        {"weight_decay": 0.1},
        oracles.adam(decay=0.1),
        lambda rate: optax.adamw(rate, weight_decay=0.1, mask=is_matrix),
    ),
    Case("nadam", optimizers.nadam, {}, oracles.adam(ahead=True), optax.nadam),
    Case("amsgrad", optimizers.amsgrad, {}, oracles.adam(largest=True), optax.amsgrad, rate=0.3),
    Case(
        "lion",
        optimizers.lion,
        {"weight_decay": 0.1},
        oracles.lion(decay=0.1),
        lambda rate: optax.lion(rate, weight_decay=0.1, mask=is_matrix),
        rate=0.01,
    ),
    Case(
        "muon",
        optimizers.muon,
        {"weight_decay": 0.1},
        oracles.muon(decay=0.1),
        None,
        # Singular values here are above 0.03 of the norm; there five steps stretch an
        # error by less than 40, the slope of their polynomials.
        roundings=16 * 40,
    ),
    Case(
        "soap",
        optimizers.soap,
        {"every": 3, "largest_side": 4, "weight_decay": 0.1},
        oracles.soap(every=3, decay=0.1),
        None,
        # Bases are off by a rounding times the largest eigenvalue over the gap, 32.
        roundings=16 * 32,
        static=("largest_side",),
        by_number=False,
    ),
    Case(
        "shampoo",
        optimizers.shampoo,
        {"every": 3, "block": 2, "weight_decay": 0.1},
        oracles.shampoo(every=3, block=2, decay=0.1),
        None,
        static=("block",),
        by_number=False,
    ),
    Case(
        "adafactor",
        optimizers.adafactor,
        {"weight_decay": 0.1},
        oracles.adafactor(decay=0.1),
        optax_adafactor,
        by_number=False,
    ),
    Case(
        "adam-mini",
        optimizers.adam_mini,
        {"weight_decay": 0.1},
        oracles.adam_mini(decay=0.1),
        None,
        by_number=False,
    ),
]
every_optimizer = pytest.mark.parametrize("case", OPTIMIZERS, ids=lambda case: case.name)
