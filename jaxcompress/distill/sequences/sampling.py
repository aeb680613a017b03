"""Samplers: which token follows, from the logits of the next one."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_count, check_positive
from jaxcompress.core.types import Array, Key

Sampler = Callable[[Key, Array], Array]
"""(key, logits (..., vocabulary)) -> tokens (...) int32."""


def greedy() -> Sampler:
    """Takes the likeliest token; among equal ones the lowest.

    Example:
      >>> sample = jc.distill.sequences.greedy()
      >>> sample(jax.random.key(0), jnp.array([[0.0, 2.0, 1.0]]))
      Array([1], dtype=int32)
    """

    def sample(key: Key, logits: Array) -> Array:
        del key
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)

    return sample


def at_temperature(temperature: ArrayLike = 1.0) -> Sampler:
    """Draws a token from softmax(logits / temperature).

    Args:
      temperature: above 0; 1 draws from the model itself, less is surer.

    Raises:
      ValueError: the temperature is not above 0.

    Example:
      >>> sample = jc.distill.sequences.at_temperature(0.01)
      >>> sample(jax.random.key(0), jnp.array([[0.0, 2.0, 1.0]]))
      Array([1], dtype=int32)
    """
    check_positive("at_temperature", "temperature", temperature)

    def sample(key: Key, logits: Array) -> Array:
        scaled = logits.astype(jnp.float32) / temperature
        return jax.random.categorical(key, scaled, axis=-1).astype(jnp.int32)

    return sample


def among_top(k: int, temperature: ArrayLike = 1.0) -> Sampler:
    """Draws among the k likeliest tokens, in proportion to their probabilities.

    Args:
      k: how many, at least 1; a vocabulary of fewer tokens is taken whole.
      temperature: above 0, as in `at_temperature`.

    Raises:
      ValueError: `k` is no count, or the temperature is not above 0.

    Example:
      >>> sample = jc.distill.sequences.among_top(1)
      >>> sample(jax.random.key(0), jnp.array([[0.0, 2.0, 1.0]]))
      Array([1], dtype=int32)

    Also known as: top-k sampling.

    Source: Fan, Lewis and Dauphin 2018, arXiv:1805.04833, section 5.4.
    """
    k = check_count("among_top", "k", k)
    check_positive("among_top", "temperature", temperature)

    def sample(key: Key, logits: Array) -> Array:
        best, tokens = jax.lax.top_k(logits, min(k, logits.shape[-1]))
        scaled = best.astype(jnp.float32) / temperature
        drawn = jax.random.categorical(key, scaled, axis=-1)[..., None]
        return jnp.take_along_axis(tokens, drawn, axis=-1)[..., 0].astype(jnp.int32)

    return sample
