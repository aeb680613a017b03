"""Stochastic rounding: to one of two neighbouring levels, right in the mean."""

import jax
import jax.numpy as jnp

from jaxcompress.core.kinds import check_key
from jaxcompress.core.noise import own_key
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array, Key
from jaxcompress.quantize.ranges.extremes import min_max
from jaxcompress.quantize.ranges.grids import Ranges, check_ranges
from jaxcompress.quantize.rounding.matrices import grid_of
from jaxcompress.quantize.rounding.neighbours import neighbours
from jaxcompress.quantize.rounding.rounding import Rounded, Rounding, coded


def stochastic(key: Key, ranges: Ranges = min_max) -> Rounding:
    """Gives each weight one of the two codes beside it, at random and without bias.

    Not for: one copy that is shipped, which `nearest` rounds with less error.

    Also known as: probabilistic rounding, unbiased rounding.

        P(upper level) = (w - lower) / (upper - lower),   so E[w'] = w within the range

    Levels stay as they are, and what lies beyond all gets the last one. For averages
    over many quantized copies, as of updates that are sent.

    Data make no difference. The random bits of a matrix come from the key and from a
    hash of its weights: equal matrices get equal codes, all others their own, whatever
    their names and their order.

    Args:
      key: of the random bits; the same key gives the same codes.
      ranges: which range the codes of a block cover.

    Returns:
      Rounding.

    Raises:
      TypeError: `key` is no random key, or `ranges` no estimator.

    Example:
      >>> params = {"kernel": jnp.full((1000, 1), 2.25).at[0].set(7.0)}
      >>> rounding = jc.quantize.rounding.stochastic(jax.random.key(0))
      >>> int4 = jc.quantize.int4()
      >>> found, _ = jc.quantize.quantize(params, int4, rounding=rounding)
      >>> values, counts = np.unique(found["kernel"].unpacked_codes, return_counts=True)
      >>> values.tolist(), counts.tolist()
      ([2, 3, 7], [767, 232, 1])

    Source: Gupta et al. 2015, arXiv:1502.02551, section 3. Differs: any levels, not
    only even ones.
    """
    check_key("stochastic", "key", key)
    check_ranges("stochastic", ranges)

    def round(weight: Array, second_moment: Array, spec: QuantSpec) -> Rounded:
        on = grid_of(weight, spec, ranges, second_moment)
        beside = neighbours(weight, on, spec)
        chance = jax.random.uniform(own_key(key, weight), weight.shape, jnp.float32)
        return Rounded(jnp.where(chance < beside.share, beside.other, beside.nearest), on)

    return coded(round)
