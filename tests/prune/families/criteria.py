"""Every criterion: one row with its oracle, which all tables share."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from jaxcompress import prune
from jaxcompress.prune.criteria import Criterion


class Row(NamedTuple):
    """A criterion, under the name of its function.

    Attributes:
      make: (params, fn, x) -> criterion; params and data of the test that asks.
      oracle: (w, gradients seen at w) -> scores of a leaf, in NumPy; None for noise,
        and for what has a file of tests of its own.
      watches: whether it needs gradients before it has scores.
    """

    make: Callable[..., Criterion]
    oracle: Callable[[np.ndarray, list[np.ndarray]], np.ndarray] | None = None
    watches: bool = False


def decayed(decay: float, terms: list[np.ndarray]) -> np.ndarray:
    """A running average from zero, by a loop."""
    return functools.reduce(lambda past, term: decay * past + (1 - decay) * term, terms, 0.0)


# `snip`, `grasp` and `synflow` give a `constant` one.
CRITERIA = {
    "magnitude": Row(lambda *_: prune.criteria.magnitude(), lambda w, grads: np.abs(w)),
    "random": Row(lambda *_: prune.criteria.random(jax.random.key(0))),
    "fresh_noise": Row(lambda *_: prune.criteria.fresh_noise(jax.random.key(1))),
    "constant": Row(lambda params, *_: prune.criteria.constant(params), lambda w, grads: w),
    "wanda": Row(lambda params, fn, x: prune.criteria.wanda(fn, params, [x])),
    "saliency": Row(
        lambda *_: prune.criteria.saliency(0.8),
        lambda w, grads: np.abs(w * decayed(0.8, grads)),
        watches=True,
    ),
    "taylor_squared": Row(
        lambda *_: prune.criteria.taylor_squared(0.8),
        lambda w, grads: decayed(0.8, [(w * g) ** 2 for g in grads]),
        watches=True,
    ),
    "fisher": Row(
        lambda *_: prune.criteria.fisher(0.7),
        lambda w, grads: decayed(0.7, [g**2 for g in grads]) * w**2 / 2,
        watches=True,
    ),
    "gradient_momentum": Row(
        lambda *_: prune.criteria.gradient_momentum(0.6),
        lambda w, grads: np.abs(decayed(0.6, grads)),
        watches=True,
    ),
    "movement": Row(
        lambda *_: prune.criteria.movement(),
        lambda w, grads: -sum(g * w for g in grads),
        watches=True,
    ),
    "informed": Row(
        lambda params, *_: prune.criteria.informed(prune.criteria.movement(), [params]),
        lambda w, grads: -sum(g * w for g in [w, *grads]),
    ),
}
