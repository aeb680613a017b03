"""Starts that are drawn at random among the weights."""

import jax
import jax.numpy as jnp

from jaxcompress.core.kinds import check_key
from jaxcompress.core.types import Array, Key
from jaxcompress.quantize.sharing.points import Points
from jaxcompress.quantize.sharing.starts.start import Start


def random(key: Key) -> Start:
    """Begins with weights drawn at random, each at most once.

    Not for: few large weights that count much: most draws lie near zero, and `linear`
    has levels near them.

    Also known as: Forgy initialization. Blocks of a leaf draw apart; leaves of one
    shape draw the same places.

    Args:
      key: of the draws; the same key gives the same levels.

    Returns:
      Start.

    Raises:
      TypeError: `key` is no random key.

    Example:
      >>> spec = jc.quantize.formats.codebook(2, per="tensor")
      >>> start = jc.quantize.sharing.starts.random(jax.random.key(0))
      >>> rounding = jc.quantize.rounding.nearest(jc.quantize.sharing.k_means(start))
      >>> params = {"kernel": jnp.array([[1.0, 5.0, 9.0]])}
      >>> found, _ = jc.quantize.quantize(params, spec, rounding=rounding)
      >>> found["kernel"].codebook.ravel()
      Array([0., 1., 5., 9.], dtype=float32)

    Source: Han et al. 2016, arXiv:1510.00149, section 3.1.
    """
    check_key("random", "key", key)

    def levels(points: Points, count: int) -> Array:
        shape = points.values.shape
        chance = jax.random.uniform(key, shape, jnp.float32)
        chance = jnp.where(points.weights > 0, chance, -1.0)
        drawn = jax.lax.top_k(chance, min(count, shape[1]))[1]
        found = jnp.take_along_axis(points.values, drawn, axis=1)
        return jnp.pad(found, ((0, 0), (0, count - found.shape[1])))

    return Start(levels)


def k_means_plus_plus(key: Key) -> Start:
    """Begins with weights drawn far from one another, one after the other.

    Not for: the least error of single numbers, to which `optimal` begins nearer and
    without chance.

        P(w) in proportion to importance · (distance to the nearest level so far)²

    Also known as: k-means++, D² sampling. Zero is the first level, so the first one
    that is drawn is far from it. As many passes over the weights as there are levels.

    Args:
      key: of the draws; the same key gives the same levels.

    Returns:
      Start.

    Raises:
      TypeError: `key` is no random key.

    Example:
      >>> spec = jc.quantize.formats.codebook(2, per="tensor")
      >>> start = jc.quantize.sharing.starts.k_means_plus_plus(jax.random.key(0))
      >>> rounding = jc.quantize.rounding.nearest(jc.quantize.sharing.k_means(start))
      >>> params = {"kernel": jnp.array([[1.0, 1.0, 1.0, 5.0, 9.0]])}
      >>> found, _ = jc.quantize.quantize(params, spec, rounding=rounding)
      >>> found["kernel"].codebook.ravel()
      Array([0., 1., 5., 9.], dtype=float32)

    Source: Arthur and Vassilvitskii 2007, "k-means++: The Advantages of Careful
    Seeding", section 2.2. Differs: zero is the first center; weights.
    """
    check_key("k_means_plus_plus", "key", key)

    def levels(points: Points, count: int) -> Array:
        values = points.values
        find = jax.vmap(lambda sums, at: jnp.searchsorted(sums, at, side="right"))

        def draw(distance: Array, chance: Array) -> tuple[Array, Array]:
            sums = jnp.cumsum(points.weights * distance, axis=1)
            found = points.at(find(sums, chance[:, None] * sums[:, -1:]))  # (blocks, 1)
            return jnp.minimum(distance, jnp.square(values - found)), found[:, 0]

        chances = jax.random.uniform(key, (count, len(values)), jnp.float32)
        return jax.lax.scan(draw, jnp.square(values), chances)[1].T

    return Start(levels)
