"""Scores of units: their form, their checks, and their normalization."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.checks import check_concrete
from jaxcompress.core.kinds import check_takes
from jaxcompress.core.types import Array, Model, Params
from jaxcompress.graph.surgery.couplings import Couplings

Scores = dict[str, Array]
"""By family name one float32 number per unit, the higher the more it is worth:
(units,), or (layers, units) for a family whose layers may lose units of their own. Of a
family that no data reached none are known, and its array is empty, (0,): see `known`. A
family of which the importance says nothing is not there."""


Importance = Callable[[Model, Params, Couplings], Scores]
"""(fn, params, couplings) to scores. A family without scores keeps its units."""


def normalized(importance: Importance) -> Importance:
    """Divides an importance's scores by their norm in each layer, so layers compare.

    Not for: rises of a loss, which compare as they are: it hides that a narrow layer is
    dear; give `exact` or `linearized` alone.

    Also known as: layer-wise l2-normalization.

        score_n <- score_n / sqrt(sum over the layer's units of score²)

    Args:
      importance: any.

    Returns:
      Importance; a layer of zeros stays one.

    Raises:
      ValueError: when applied: a score is not finite.

    Source: Molchanov et al. 2017, arXiv:1611.06440, section 2.2.
    """
    check_importance("normalized", importance)

    def scaled(scores: Array) -> Array:
        # By the largest first: float32 holds no squares of 1e-23 or 1e20.
        largest = jnp.max(jnp.abs(scores), axis=-1, keepdims=True)
        scores = scores / jnp.where(largest > 0, largest, 1)
        norm = jnp.linalg.norm(scores, axis=-1, keepdims=True)
        return scores / jnp.where(norm > 0, norm, 1)

    def of_length_one(fn: Model, params: Params, couplings: Couplings) -> Scores:
        scores = importance(fn, params, couplings)
        for name, each in scores.items():
            check_scores("normalized", name, each)
        return {name: scaled(each) if each.size else each for name, each in scores.items()}

    return of_length_one


def known(caller: str, scores: Scores) -> Scores:
    """The scores, emptied for families that no data reached.

    Where every unit of a layer scores exactly 0, its data never arrived (a branch never
    taken, an expert without tokens) or say nothing: which unit matters least is not
    known, so its family is left whole.

    Raises:
      ValueError: no family is left.
    """
    found = {
        name: each if (np.asarray(each) != 0).any(axis=-1).all() else jnp.zeros(0, each.dtype)
        for name, each in scores.items()
    }
    if scores and not any(each.size for each in found.values()):
        raise ValueError(
            f"{caller}(batches=...): all units of {', '.join(scores)} score 0, so no data reached "
            "them, or nothing depends on them. Give data that reach them."
        )
    return found


def check_scores(caller: str, name: str, scores: Array | np.ndarray) -> None:
    """Raises a ValueError where a score of a family, layer, or block is not finite."""
    check_concrete(caller, importance=scores)
    array = np.atleast_1d(np.asarray(scores))
    if not np.isfinite(array).all():
        first = tuple(int(index) for index in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(
            f"{caller}(importance=...) scores unit {first} of {name!r} as {array[first]}. Score on "
            "data and params that are finite, or leave it out."
        )


def check_importance(caller: str, importance: object) -> None:
    """Raises a TypeError unless it is an importance, called to make one."""
    mend = "Pass one of structure.importance, for example magnitude()."
    check_takes(caller, "importance", importance, 3, mend)
