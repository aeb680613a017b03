"""Random scores, the control for every other importance."""

import jax
import jax.numpy as jnp

from jaxcompress.core.kinds import check_key
from jaxcompress.core.types import Key, Model, Params
from jaxcompress.graph.surgery.couplings import Couplings
from jaxcompress.structure.importance.scores import Importance, Scores


def random(key: Key) -> Importance:
    """Scores units at random, in [0, 1): the control that an importance has to beat.

    Not for: models that will be used; `importance.magnitude` takes no data either.

    Also known as: random pruning.

    Args:
      key: of the draw; the same key gives the same scores.

    Returns:
      Importance.
    """
    check_key("random", "key", key)

    def importance(fn: Model, params: Params, couplings: Couplings) -> Scores:
        del fn, params
        return {
            family.name: jax.random.uniform(
                jax.random.fold_in(key, i), family.unit_shape, jnp.float32
            )
            for i, family in enumerate(couplings.families)
        }

    return importance
