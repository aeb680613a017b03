"""The sums over steps that criteria keep of gradients, and scores read from them."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxcompress.core.types import Array, PyTree
from jaxcompress.prune.criterion import Criterion


class Evidence(NamedTuple):
    """What a criterion keeps of the gradients that it saw.

    Attributes:
      count: () int32, how many it saw.
      sums: float32 of the params' shapes.
    """

    count: ArrayLike
    sums: PyTree


def accumulated(
    name: str,
    past: float,
    present: float,
    *,
    what: Callable[[Array, Array], Array],
    score: Callable[[Array, Array], Array],
) -> Criterion:
    """The criterion of one float32 number per weight, moved by every gradient.

    sums <- past · sums + present · what(grad, param)
    score = score(sums, param)
    """

    def init(params):
        sums = jax.tree.map(lambda leaf: jnp.zeros_like(leaf, jnp.float32), params)
        return Evidence(jnp.zeros((), jnp.int32), sums)

    def update(grads, state, params):
        def of_leaf(old, grad, param):
            new = past * old + present * what(_wide(grad), _wide(param))
            # NaN or infinity would never leave the sums. A gradient that is finite may
            # still have an infinite square, or meet a param that is not finite.
            return jnp.where(jnp.isfinite(new), new, old)

        sums = jax.tree.map(of_leaf, state.sums, grads, params)
        return Evidence(optax.safe_increment(state.count), sums)

    def scores(state, params):
        _require_gradients(name, state.count)
        return jax.tree.map(
            lambda each, param: jnp.where(
                jnp.asarray(state.count) > 0, score(each, _wide(param)), jnp.nan
            ),
            state.sums,
            params,
        )

    return Criterion(init, update, scores)


def _require_gradients(name: str, count: ArrayLike) -> None:
    """Raises a ValueError for a count of 0; where it is traced, scores are NaN."""
    if not isinstance(count, Tracer) and bool(np.asarray(count) == 0):
        raise ValueError(
            f"{name}() has seen no gradient, so it has no scores. Outside training give it some: "
            f"informed({name}(), gradients); in training, prune shows it those of every step."
        )


def _wide(x: Array) -> Array:
    return x.astype(jnp.float32)
