"""Corruptions of token sequences."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_count, check_share
from jaxcompress.core.kinds import check_key
from jaxcompress.core.types import Array, Key
from jaxcompress.validate.comparisons.corruptions.graded import Corruption


def tokens_replaced(vocabulary: int) -> Corruption:
    """Replaces each token by a random one with probability `severity`.

    Args:
      vocabulary: number of tokens; a random one is drawn from [0, vocabulary).

    Returns:
      `(key, tokens, severity) -> tokens`, of an integer array of any shape and a
      severity in [0, 1].

    Raises:
      ValueError: the number is no count; later, the severity is out of range.

    Example:
      >>> replace = jc.validate.comparisons.corruptions.tokens_replaced(10)
      >>> replace(jax.random.key(0), jnp.array([[11, 12]]), 0.0)
      Array([[11, 12]], dtype=int32)

    Source: Wei and Zou 2019, arXiv:1901.11196, with random tokens for synonyms.
    """
    vocabulary = check_count("tokens_replaced", "vocabulary", vocabulary)

    def replaced(key: Key, tokens: Array, severity: ArrayLike) -> Array:
        check_key("tokens_replaced", "key", key)
        check_share("tokens_replaced", "severity", severity)
        which, what = jax.random.split(key)
        chosen = jax.random.uniform(which, tokens.shape, jnp.float32) < severity
        drawn = jax.random.randint(what, tokens.shape, 0, vocabulary, tokens.dtype)
        return jnp.where(chosen, drawn, tokens)

    return replaced
