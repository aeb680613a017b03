"""Observers of rows: their magnitudes channel by channel, and a sample of them."""

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.observers import Observer


def magnitudes() -> Observer:
    """Observes the largest and the mean magnitude of each input.

    The reading is a pair of (batch…, inputs) float32.
    """

    def init(x):
        zero = jnp.zeros((*x.shape[:-2], x.shape[-1]), jnp.float32)
        return zero, zero, jnp.zeros((), jnp.float32)

    def update(x, state):
        size = jnp.abs(x).astype(jnp.float32)
        largest = jnp.max(size, axis=-2, initial=0.0)
        return merge(state, (largest, jnp.sum(size, axis=-2), jnp.float32(x.shape[-2])))

    def read(state):
        largest, total, rows = state
        rows = jnp.maximum(rows, 1.0)
        return largest, total / rows.reshape(rows.shape + (1,) * (total.ndim - rows.ndim))

    def merge(first, second):
        return jnp.maximum(first[0], second[0]), first[1] + second[1], first[2] + second[2]

    return Observer(init, update, read, merge)


def sample(count: int, each: int) -> Observer:
    """Keeps `count` rows, up to `each` of a batch, evenly apart; zeros until filled.

    The reading is (batch…, count, inputs) float32. Later rows take the place of
    earlier ones; two samples merge into the second.
    """

    def init(x):
        kept = jnp.zeros((*x.shape[:-2], count, x.shape[-1]), jnp.float32)
        return kept, jnp.zeros((), jnp.int32)

    def update(x, state):
        kept, position = state
        rows = x.shape[-2]
        chosen = np.linspace(0, rows - 1, min(rows, each, count)).round().astype(int)
        places = (position + jnp.arange(len(chosen), dtype=jnp.int32)) % count
        new = jnp.take(x, chosen, axis=-2).astype(jnp.float32)
        return kept.at[..., places, :].set(new), position + len(chosen)

    return Observer(init, update, lambda state: state[0], lambda first, second: second)
