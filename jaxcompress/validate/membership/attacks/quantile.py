"""A threshold of each example's own, learned from non-members: no shadow models."""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.core.checks import check_inside
from jaxcompress.core.kinds import check_key
from jaxcompress.core.types import Array, Key
from jaxcompress.validate.membership.attacks import net
from jaxcompress.validate.membership.attacks.net import standardized
from jaxcompress.validate.membership.inputs import flags, real, same_length


def quantile_regression(
    target: ArrayLike,
    features: ArrayLike,
    population: ArrayLike,
    key: Key,
    *,
    false_positives: float = 0.01,
) -> np.ndarray:
    """How far the signal lies above what one non-member in so many like it would reach.

    Not for: audits that may train other models; with two of them `rmia` found 2.7 %
    where it found 0.2 %.

        score_i = target_i - q(features_i)
        q       = the net of the least mean pinball(target - q) over the population
        pinball(r) = max((1 - a) · r, -a · r),  a = false_positives

    One pass over non-members and no shadow model. The net has one hidden layer, and is
    as good as the features are: of images take a model's last hidden layer.

    Also known as: quantile regression attack.

    Args:
      target: (n,) finite, as `scaled_confidence` gives it.
      features: (n, k) finite, what is known of each example; brought to mean 0 and
        standard deviation 1 over the population.
      population: (n,) bool, non-members to learn from; they get scores too, which are
        not to be counted.
      key: of the net's first weights.
      false_positives: a in (0, 1), the rate at which a score of 0 is the threshold.

    Returns:
      (n,) float64 in the unit of the signal, higher = member.

    Raises:
      TypeError: an argument is no array of its kind, or `key` no key.
      ValueError: lengths differ, a number is not finite, the rate is out of range, or
        the population is too small for the rate.

    Example:
      >>> target, features = np.arange(40.0), np.ones((40, 1))
      >>> attack = jc.validate.membership.attacks.quantile_regression
      >>> population, key = np.arange(40) < 20, jax.random.key(0)
      >>> scores = attack(target, features, population, key, false_positives=0.25)
      >>> int((scores > 0).sum())
      25

    Source: Bertran et al. 2023, arXiv:2307.03694, section 3. Differs: one quantile, and
    a net of one hidden layer on features instead of one on the images.
    """
    target = real("quantile_regression", "target", target, "(n,)")
    features = real("quantile_regression", "features", features, "(n, k)")
    population = flags("quantile_regression", "population", population, "(n,)")
    same_length(
        "quantile_regression",
        target=len(target),
        features=len(features),
        population=len(population),
    )
    check_key("quantile_regression", "key", key)
    check_inside("quantile_regression", "false_positives", false_positives, 0, 1)
    if population.sum() * false_positives < 1:
        raise ValueError(
            f"quantile_regression(population of {population.sum()}, "
            f"false_positives={false_positives}) needs {int(np.ceil(1 / false_positives))}"
            " non-members or more to know that quantile."
        )
    inputs = standardized(features, features[population])
    outcomes = standardized(target, target[population])
    predicted = np.asarray(_quantiles(key, inputs, outcomes, population, float(false_positives)))
    center, deviation = target[population].mean(), target[population].std()
    return target - (center + predicted * (deviation or 1.0))


@jax.jit
def _quantiles(
    key: Key, inputs: Array, outcomes: Array, population: Array, false_positives: Array
) -> Array:
    """The net's quantile of each row, (n,), learned where `population` is True."""

    def pinball(predicted: Array) -> Array:
        left = outcomes - predicted
        return jnp.maximum((1 - false_positives) * left, -false_positives * left)

    params, _ = net.trained(key, inputs, population.astype(jnp.float32), pinball)
    return net.forward(params, inputs)
