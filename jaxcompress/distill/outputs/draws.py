"""Targets that are draws from what a teacher answers: few numbers, and unbiased."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_count, check_positive
from jaxcompress.core.kinds import check_key, check_kind
from jaxcompress.core.labels import check_shown, class_labels, known_factor
from jaxcompress.core.sharding import explicit_sharding, placed, with_results_sharded_alike
from jaxcompress.core.types import Array, Key
from jaxcompress.distill.outputs.arrays import as_float32, checked
from jaxcompress.distill.outputs.logits import checked_logits, log_probabilities, squared


class Draws(NamedTuple):
    """Classes drawn from a teacher's probabilities, with replacement.

    A tree of arrays whose leading axes are the examples', as `TopK`; a class may be
    drawn several times.

    Attributes:
      indices: (..., draws) integer, the classes.
      weights: (..., draws) floating; for each class their sum is its probability, on
        average.
    """

    indices: Array | np.ndarray
    weights: Array | np.ndarray


def draws(
    teacher_logits: ArrayLike,
    count: int,
    key: Key,
    *,
    temperature: float = 1.0,
    proposal_temperature: float = 1.0,
) -> Draws:
    """Draws classes from a teacher's softened output, for `sampled_targets`.

        weight_i = p_i / (count · r_i)
        p = softmax(logits / T),  r = softmax(logits / (T · proposal_temperature))

    Args:
      teacher_logits: (..., classes), floating. A class at -inf is never drawn.
      count: draws per example; 50 draws are about 12 classes of a language model.
      key: of JAX.
      temperature: T > 0 that the logits are divided by first; it cannot be changed
        later. May be traced.
      proposal_temperature: above 0; above 1 unlikely classes are drawn more often and
        weigh less, at 1 all weights are 1 / count.

    Returns:
      Draws in int32 and float32. They need memory for the logits, not for the logits
      times the draws; probabilities below 1e-7 are drawn as the grid of float32 in
      [0, 1) has it.

    Raises:
      TypeError: logits are not floating, or the key is none.
      ValueError: the count or a temperature is out of range.

    Example:
      >>> found = jc.distill.outputs.draws(jnp.array([0.0, 99.0]), 2, jax.random.key(0))
      >>> found.indices, found.weights
      (Array([1, 1], dtype=int32), Array([0.5, 0.5], dtype=float32))

    Source: as of `sampled_targets`.
    """
    logits = checked_logits("draws", "teacher_logits", teacher_logits)
    count = check_count("draws", "count", count)
    check_key("draws", "key", key)
    check_positive("draws", "temperature", temperature)
    check_positive("draws", "proposal_temperature", proposal_temperature)
    logits = jax.lax.stop_gradient(logits).astype(jnp.float32)
    target = log_probabilities(logits, temperature)
    proposal = log_probabilities(target, proposal_temperature)
    uniform = jax.random.uniform(key, (*logits.shape[:-1], count), jnp.float32)
    uniform = placed(uniform, explicit_sharding(logits))
    chosen = jnp.vectorize(_chosen, signature="(draws),(classes)->(draws)")
    indices = with_results_sharded_alike(chosen, uniform, jnp.exp(proposal))
    log_weights = _picked(target, indices) - _picked(proposal, indices)
    return Draws(indices, jnp.exp(log_weights) / count)


def sampled_targets(
    student_logits: ArrayLike, targets: Draws, *, temperature: float = 1.0
) -> Array:
    """Cross-entropy of the student with classes drawn from the teacher, times T².

    Not for: logits that can be stored whole, from which `soft_targets` has no noise of
    draws.

        loss = -T² · sum_i weight_i · log q_(index_i),  q = softmax(student / T)

    On average over draws its gradient is that of `soft_targets`, whatever their number;
    top k classes that are renormalized give another one.

    Also known as: random sampling knowledge distillation (RS-KD), sparse logit
    sampling, Monte Carlo soft labels.

    Args:
      student_logits: (..., classes), floating.
      targets: from `draws`, of any floating and integer dtypes.
      temperature: T > 0 that they were made with. May be traced.

    Returns:
      (...) float32, least, but not 0, where the student has the teacher's
      probabilities; NaN where an index of a weight above 0 is no class. Tokens that are
      padding stay out of the mean by `distill.counted`.

    Raises:
      TypeError: logits are not floating, or the targets are of another kind.
      ValueError: the shapes do not fit, or the temperature is not above 0.

    Example:
      >>> outputs = jc.distill.outputs
      >>> targets = outputs.draws(jnp.zeros(4), 8, jax.random.key(0))
      >>> outputs.sampled_targets(jnp.zeros(4), targets) / jnp.log(4)
      Array(1., dtype=float32)

    Source: Anshumann et al. 2025, arXiv:2503.16870, section 4.
    """
    logits = checked_logits("sampled_targets", "student_logits", student_logits)
    check_positive("sampled_targets", "temperature", temperature)
    indices, weights = _checked_draws(targets, logits)
    student = log_probabilities(logits.astype(jnp.float32), temperature)
    # A class of weight 0 adds nothing, also where the student rules it out.
    picked = jnp.where(weights == 0, 0.0, _picked(student, indices))
    picked *= known_factor(indices, logits.shape[-1], weights != 0)
    return -squared(temperature) * jnp.sum(weights * picked, axis=-1)


def _checked_draws(targets: Draws, logits: Array) -> tuple[Array, Array]:
    check_kind("sampled_targets", "targets", targets, Draws, "Make them with outputs.draws.")
    weights = checked("sampled_targets", "targets.weights", targets.weights)
    indices = jnp.asarray(targets.indices)
    if not jnp.issubdtype(indices.dtype, jnp.integer):
        raise TypeError(
            f"sampled_targets(targets.indices of dtype {indices.dtype}) needs integer indices."
        )
    if indices.shape != weights.shape or weights.shape[:-1] != logits.shape[:-1]:
        raise ValueError(
            f"sampled_targets(targets of shapes {indices.shape}, {weights.shape}) need the "
            f"examples of the student_logits, of shape {logits.shape}."
        )
    check_shown("sampled_targets", "targets.indices", targets.indices, logits.shape[-1])
    indices = class_labels("sampled_targets", targets.indices)
    return indices, as_float32(jax.lax.stop_gradient(weights))


def _chosen(uniform: Array, chances: Array) -> Array:
    """The classes in whose shares of [0, 1) the numbers fall: (draws,) int32."""
    ends = jnp.cumsum(chances)
    # Below the last end, which a product may round up to, so that a class is found.
    points = jnp.minimum(uniform * ends[-1], jnp.nextafter(ends[-1], 0.0))
    return jnp.searchsorted(ends, points, side="right").astype(jnp.int32)


def _picked(values: Array, indices: Array) -> Array:
    return jnp.take_along_axis(values, indices, axis=-1)
