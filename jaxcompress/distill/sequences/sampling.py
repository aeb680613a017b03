"""Samplers: which token follows, from the logits of the next one.

One that draws is made with a key, into which it folds the number of the step.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_count, check_positive
from jaxcompress.core.kinds import check_key
from jaxcompress.core.types import Array, Key
from jaxcompress.distill.outputs.arrays import as_float32

Sampler = Callable[[ArrayLike, Array], Array]
"""(step () int, logits (..., vocabulary)) -> tokens (...) int32."""


def greedy() -> Sampler:
    """Takes the likeliest token; among equal ones the lowest.

    Example:
      >>> sample = jc.distill.sequences.greedy()
      >>> sample(0, jnp.array([[0.0, 2.0, 1.0]]))
      Array([1], dtype=int32)
    """

    def sample(step: ArrayLike, logits: Array) -> Array:
        del step
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)

    return sample


def at_temperature(key: Key, temperature: ArrayLike = 1.0) -> Sampler:
    """Draws a token from softmax(logits / temperature).

    Args:
      key: of all steps; another one for another text.
      temperature: above 0; 1 draws from the model itself, less is surer.

    Raises:
      TypeError: `key` is no key.
      ValueError: the temperature is not above 0.

    Example:
      >>> sample = jc.distill.sequences.at_temperature(jax.random.key(0), 0.01)
      >>> sample(0, jnp.array([[0.0, 2.0, 1.0]]))
      Array([1], dtype=int32)
    """
    check_key("at_temperature", "key", key)
    check_positive("at_temperature", "temperature", temperature)

    def sample(step: ArrayLike, logits: Array) -> Array:
        scaled = logits.astype(jnp.float32) / as_float32(temperature)
        drawn = jax.random.categorical(jax.random.fold_in(key, step), scaled, axis=-1)
        return drawn.astype(jnp.int32)

    return sample


def among_top(key: Key, k: int, temperature: ArrayLike = 1.0) -> Sampler:
    """Draws among the k likeliest tokens, in proportion to their probabilities.

    Not for: text for `reverse_kl_policy`, which is to be drawn from the whole
    vocabulary, as by `at_temperature`.

    Args:
      key: as in `at_temperature`.
      k: how many, at least 1; a vocabulary of fewer tokens is taken whole.
      temperature: above 0, as in `at_temperature`.

    Raises:
      TypeError: `key` is no key.
      ValueError: `k` is no count, or the temperature is not above 0.

    Example:
      >>> sample = jc.distill.sequences.among_top(jax.random.key(0), 1)
      >>> sample(0, jnp.array([[0.0, 2.0, 1.0]]))
      Array([1], dtype=int32)

    Also known as: top-k sampling.

    Source: Fan, Lewis and Dauphin 2018, arXiv:1805.04833, section 5.4.
    """
    check_key("among_top", "key", key)
    k = check_count("among_top", "k", k)
    check_positive("among_top", "temperature", temperature)

    def sample(step: ArrayLike, logits: Array) -> Array:
        best, tokens = jax.lax.top_k(logits, min(k, logits.shape[-1]))
        scaled = best.astype(jnp.float32) / as_float32(temperature)
        drawn = jax.random.categorical(jax.random.fold_in(key, step), scaled, axis=-1)[..., None]
        return jnp.take_along_axis(tokens, drawn, axis=-1)[..., 0].astype(jnp.int32)

    return sample
