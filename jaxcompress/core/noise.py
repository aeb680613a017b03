"""Random keys of one's own: the same noise for the same numbers, other for others.

What rounds at random inside of a loop or a stack has one key for all turns. A hash of
the numbers that are rounded tells the turns apart.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.types import Array, Key


def own_key(key: Key, x: Array) -> Key:
    """The key, folded with a hash of the bits of an array.

    Args:
      key: one random key.
      x: (…) float32.

    Returns:
      A key that depends on every bit of `x` and on where it lies, not on how sums are
      ordered.

    Example:
      >>> keys = [own_key(jax.random.key(0), x) for x in jnp.eye(3)[:2]]
      >>> [float(jax.random.uniform(key, (), jnp.float32)) for key in keys]
      [0.556, 0.166]
    """
    return jax.random.fold_in(key, hashed(x))


def hashed(x: Array) -> Array:
    """A hash of the bits of an array of float32, () uint32.

    A sum of integers, which wraps, so that the order of summing makes no difference.
    """
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32).reshape(-1)
    places = jax.lax.iota(jnp.uint32, x.size) * np.uint32(2) + np.uint32(1)
    mixed = (bits ^ (bits >> 15)) * (places * np.uint32(0x9E3779B1))
    return jnp.sum(mixed ^ (mixed >> 13), dtype=jnp.uint32)
