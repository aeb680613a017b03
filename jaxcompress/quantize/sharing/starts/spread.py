"""Starts that are spread evenly: over the range, or over the weights in it."""

import jax
import jax.numpy as jnp

from jaxcompress.core.types import Array
from jaxcompress.quantize.sharing.points import Points
from jaxcompress.quantize.sharing.starts.start import Start


def linear() -> Start:
    """Begins with even steps from the smallest to the largest weight.

    Not for: the least error that k-means can end at, which depends on the start;
    `optimal` begins at the best levels.

    Also known as: linear initialization, Deep Compression's. Large weights, of which
    there are few and which count much, have levels near them from the first on. Where
    weights have both signs, zero takes the place of the step nearest to it.

    Returns:
      Start.

    Example:
      >>> spec = jc.quantize.formats.codebook(2, per="tensor")
      >>> search = jc.quantize.sharing.k_means(jc.quantize.sharing.starts.linear())
      >>> params = {"kernel": jnp.array([[0.0, 1.0, 2.0, 3.0]])}
      >>> rounding = jc.quantize.rounding.nearest(search)
      >>> found, _ = jc.quantize.quantize(params, spec, rounding=rounding)
      >>> found["kernel"].codebook.ravel()
      Array([0., 1., 2., 3.], dtype=float32)

    Source: Han et al. 2016, arXiv:1510.00149, section 3.1. Differs: zero is a level, of
    which the paper's, kept as positions of what is not zero, has no need.
    """

    def levels(points: Points, count: int) -> Array:
        alive = points.weights > 0
        low = jnp.min(jnp.where(alive, points.values, jnp.inf), axis=1, keepdims=True)
        high = jnp.max(jnp.where(alive, points.values, -jnp.inf), axis=1, keepdims=True)
        some = low <= high
        low, high = jnp.where(some, low, 0.0), jnp.where(some, high, 0.0)
        places = jnp.arange(count + 1)[None]  # (1, count + 1)
        aside = low + (high - low) * (places[:, :-1] / max(count - 1, 1))
        steps = low + (high - low) * (places / count)
        nearest = jnp.argmin(jnp.abs(steps), axis=1, keepdims=True)
        others = places[:, :-1] + (places[:, :-1] >= nearest)
        around = jnp.take_along_axis(steps, others, axis=1)
        return jnp.where((low < 0) & (high > 0), around, aside)

    return Start(levels)


def density() -> Start:
    """Begins with quantiles: levels that have equal shares of the weights around them.

    Not for: few large weights that count much, since few levels lie near them; take
    `linear`.

    Also known as: density-based initialization, equal frequency. Importance counts as
    weight does. Most levels lie where most weights do, around zero.

    Returns:
      Start.

    Example:
      >>> spec = jc.quantize.formats.codebook(2, per="tensor")
      >>> start = jc.quantize.sharing.starts.density()
      >>> search = jc.quantize.sharing.k_means(start, iterations=1)
      >>> params = {"kernel": jnp.array([[1.0, 1.0, 1.0, 2.0, 2.0, 9.0]])}
      >>> rounding = jc.quantize.rounding.nearest(search)
      >>> found, _ = jc.quantize.quantize(params, spec, rounding=rounding)
      >>> found["kernel"].codebook.ravel()
      Array([0., 1., 2., 9.], dtype=float32)

    Source: Han et al. 2016, arXiv:1510.00149, section 3.1.
    """

    def levels(points: Points, count: int) -> Array:
        mass = points.mass.running
        shares = mass[:, -1:] * ((jnp.arange(count)[None] + 0.5) / count)
        find = jax.vmap(lambda sums, at: jnp.searchsorted(sums, at, side="right"))
        return points.at(find(mass, shares) - 1)

    return Start(levels)
