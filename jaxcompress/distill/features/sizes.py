"""Axes between batch and channels brought to other sizes."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.types import Array


def resized(features: Array, sizes: tuple[int, ...]) -> Array:
    """Resizes the axes between batch and channels linearly; as they are if they fit."""
    if features.shape[1:-1] == sizes:
        return features
    shape = (features.shape[0], *sizes, features.shape[-1])
    return jax.image.resize(features, shape, "linear")


def repeated(features: Array, sizes: tuple[int, ...]) -> Array:
    """As `resized`, each entry that of the nearest position."""
    if features.shape[1:-1] == sizes:
        return features
    shape = (features.shape[0], *sizes, features.shape[-1])
    return jax.image.resize(features, shape, "nearest")


def pooled(features: Array, size: int) -> Array:
    """Averages the axes between batch and channels down to at most `size` windows."""
    for axis in range(1, features.ndim - 1):
        windows = _windows(features.shape[axis], min(size, features.shape[axis]))
        along = jnp.tensordot(features, windows, ((axis,), (0,)), precision="highest")
        features = jnp.moveaxis(along, -1, axis)
    return features


def _windows(size: int, count: int) -> np.ndarray:
    """(size, count): columns average windows that cover the axis, as PyTorch's do."""
    first = np.arange(count) * size // count
    last = -(-np.arange(1, count + 1) * size // count)
    position = np.arange(size)[:, None]
    inside = (first <= position) & (position < last)
    return (inside / inside.sum(axis=0)).astype(np.float32)
