"""Leaves that no calibration data reached: a statistic without data is not 0."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.types import Array


def missing(count: Array) -> str:
    """Says why the statistics of a leaf are incomplete; empty where they are not.

    Example:
      >>> missing(jnp.array([3, 0, 5]))
      'no data reached 1 of its 3 matrices'
    """
    # On the host: which leaves are changed decides the structure of the program.
    counts = np.asarray(jax.device_get(jnp.atleast_1d(count)))
    unseen = int(np.sum(counts == 0))
    if not unseen:
        return ""
    if unseen == counts.size:
        return "no data reached it"
    return f"no data reached {unseen} of its {counts.size} matrices"
