"""What a weight is worth: criteria, from the weights and from their gradients."""

import jax
import jax.numpy as jnp

from jaxcompress.core.criterion import Criterion


def magnitude() -> Criterion:
    """A weight is worth its absolute value.

        score = |w|

    Returns:
      Criterion without state; scores are float32 of the params' shapes.

    Example:
      >>> criterion = jc.prune.magnitude()
      >>> params = {"kernel": jnp.array([-2.0, 0.5])}
      >>> criterion.score(criterion.init(params), params)
      {'kernel': Array([2. , 0.5], dtype=float32)}

    Source: Han et al. 2015, arXiv:1506.02626, section 3. Differs: the count to remove
    is given and the threshold follows from it.
    """

    def init(params):
        del params
        return ()

    def update(grads, state, params):
        del grads, params
        return state

    def score(state, params):
        del state
        return jax.tree.map(lambda leaf: jnp.abs(leaf.astype(jnp.float32)), params)

    return Criterion(init, update, score)
