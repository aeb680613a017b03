"""Corruptions of images (n, height, width, channels) with values in [0, 1].

Severity 0 changes nothing, and results stay in [0, 1] where the images do.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_share, check_size
from jaxcompress.core.kinds import check_key, check_shape
from jaxcompress.core.types import Array, Key

_REACH = 8
"""Pixels on either side that the blur's kernel reaches."""


def noise(key: Key, images: Array, severity: ArrayLike) -> Array:
    """Adds Gaussian noise, and cuts the result off at 0 and 1.

        x + severity · N(0, 1)

    Args:
      key: of the noise.
      images: (n, height, width, channels), real floating, in [0, 1].
      severity: standard deviation, at least 0.

    Returns:
      Images of the same shape and dtype.

    Raises:
      ValueError: the severity is out of range.
      TypeError: no key, or no images.

    Example:
      >>> noise = jc.validate.comparisons.corruptions.noise
      >>> noise(jax.random.key(0), jnp.ones((1, 2, 2, 1)), 0.0).min()
      Array(1., dtype=float32)

    Source: Hendrycks and Dietterich 2019, arXiv:1903.12261, appendix A.
    """
    _check("noise", key, images, severity, check_size)
    added = severity * jax.random.normal(key, images.shape, images.dtype)
    return jnp.clip(images + added.astype(images.dtype), 0, 1)


def blur(key: Key, images: Array, severity: ArrayLike) -> Array:
    """Blurs with a Gaussian of standard deviation `severity` pixels.

    Beyond the edge the image is repeated from its border, and the kernel reaches 8
    pixels.

    Args:
      key: not used; corruptions have one form.
      images: (n, height, width, channels), real floating, in [0, 1].
      severity: standard deviation in pixels, at least 0; above 3 the kernel is cut off.

    Returns:
      Images of the same shape and dtype.

    Raises:
      ValueError: the severity is out of range.
      TypeError: no key, or no images.

    Example:
      >>> blur = jc.validate.comparisons.corruptions.blur
      >>> point = jnp.zeros((1, 5, 5, 1)).at[0, 2, 2, 0].set(1.0)
      >>> np.asarray(blur(jax.random.key(0), point, 1.0))[0, 2, :, 0].round(2)
      array([0.02, 0.1 , 0.16, 0.1 , 0.02], dtype=float32)

    Source: Hendrycks and Dietterich 2019, arXiv:1903.12261, appendix A.
    """
    _check("blur", key, images, severity, check_size)
    offsets = jnp.arange(-_REACH, _REACH + 1, dtype=jnp.float32)[None]  # (1, offsets)
    # At severity 0 the middle alone has weight: exp(0) there and exp(-inf) elsewhere.
    width = jnp.maximum(jnp.asarray(severity, jnp.float32), 1e-6)
    kernel = jnp.exp(-((offsets / width) ** 2) / 2)
    kernel = kernel / kernel.sum()
    blurred = images.astype(jnp.float32)
    for axis in (1, 2):
        length = images.shape[axis]
        place = jnp.arange(length)[:, None]
        read = jnp.clip(place + offsets.astype(jnp.int32), 0, length - 1)  # (length, offsets)
        weights = jnp.broadcast_to(kernel, read.shape)
        blurred = _along(jnp.zeros((length, length)).at[place, read].add(weights), blurred, axis)
    return blurred.astype(images.dtype)


def contrast(key: Key, images: Array, severity: ArrayLike) -> Array:
    """Moves every pixel towards the mean of its image.

        (1 - severity) · x + severity · mean(x)

    Args:
      key: not used; corruptions have one form.
      images: (n, height, width, channels), real floating, in [0, 1].
      severity: share of the contrast that is lost, in [0, 1].

    Returns:
      Images of the same shape and dtype.

    Raises:
      ValueError: the severity is out of range.
      TypeError: no key, or no images.

    Example:
      >>> contrast = jc.validate.comparisons.corruptions.contrast
      >>> image = jnp.array([0.0, 1.0]).reshape(1, 1, 2, 1)
      >>> contrast(jax.random.key(0), image, 0.5).ravel()
      Array([0.25, 0.75], dtype=float32)

    Source: Hendrycks and Dietterich 2019, arXiv:1903.12261, appendix A.
    """
    _check("contrast", key, images, severity, check_share)
    mean = jnp.mean(images, axis=(1, 2, 3), keepdims=True, dtype=jnp.float32)
    severity = jnp.asarray(severity, jnp.float32)
    return ((1 - severity) * images + severity * mean).astype(images.dtype)


def brightness(key: Key, images: Array, severity: ArrayLike) -> Array:
    """Adds `severity` to every pixel, and cuts the result off at 1.

    Args:
      key: not used; corruptions have one form.
      images: (n, height, width, channels), real floating, in [0, 1].
      severity: what is added, in [0, 1].

    Returns:
      Images of the same shape and dtype.

    Raises:
      ValueError: the severity is out of range.
      TypeError: no key, or no images.

    Example:
      >>> brightness = jc.validate.comparisons.corruptions.brightness
      >>> brightness(jax.random.key(0), jnp.full((1, 1, 1, 1), 0.5), 0.25).ravel()
      Array([0.75], dtype=float32)

    Source: Hendrycks and Dietterich 2019, arXiv:1903.12261, appendix A.
    """
    _check("brightness", key, images, severity, check_share)
    return jnp.clip(images + severity, 0, 1).astype(images.dtype)


def occlusion(key: Key, images: Array, severity: ArrayLike) -> Array:
    """Sets a rectangle to 0, at a place of its own in each image.

    Not for: tokens and tables, which have no area to hide; take `tokens_replaced`.

    Its sides are sqrt(severity) of the image's, rounded to pixels.

    Args:
      key: of the places.
      images: (n, height, width, channels), real floating, in [0, 1].
      severity: share of the area, in [0, 1].

    Returns:
      Images of the same shape and dtype.

    Raises:
      ValueError: the severity is out of range.
      TypeError: no key, or no images.

    Example:
      >>> occlusion = jc.validate.comparisons.corruptions.occlusion
      >>> occlusion(jax.random.key(0), jnp.ones((1, 4, 4, 1)), 0.25).sum()
      Array(12., dtype=float32)

    Also known as: cutout.

    Source: DeVries and Taylor 2017, arXiv:1708.04552, inside of the image throughout.
    """
    _check("occlusion", key, images, severity, check_share)
    hidden = jnp.ones((images.shape[0], 1, 1, 1), bool)
    for axis, part in zip((1, 2), jax.random.split(key), strict=True):
        length = images.shape[axis]
        side = jnp.round(jnp.sqrt(jnp.asarray(severity, jnp.float32)) * length)
        start = jnp.floor(
            jax.random.uniform(part, (images.shape[0],), jnp.float32) * (length - side + 1)
        )
        place = jnp.arange(length)[None]
        inside = (place >= start[:, None]) & (place < (start + side)[:, None])
        shape = [images.shape[0], 1, 1, 1]
        shape[axis] = length
        hidden = hidden & inside.reshape(shape)
    return jnp.where(hidden, jnp.zeros((), images.dtype), images)


def pixelate(key: Key, images: Array, severity: ArrayLike) -> Array:
    """Replaces blocks of pixels by their mean.

    Args:
      key: not used; corruptions have one form.
      images: (n, height, width, channels), real floating, in [0, 1].
      severity: side of a block in pixels minus 1, rounded, at least 0.

    Returns:
      Images of the same shape and dtype.

    Raises:
      ValueError: the severity is out of range.
      TypeError: no key, or no images.

    Example:
      >>> pixelate = jc.validate.comparisons.corruptions.pixelate
      >>> image = jnp.array([0.0, 1.0, 0.5]).reshape(1, 1, 3, 1)
      >>> pixelate(jax.random.key(0), image, 1.0).ravel()
      Array([0.5, 0.5, 0.5], dtype=float32)

    Source: Hendrycks and Dietterich 2019, arXiv:1903.12261, appendix A.
    """
    _check("pixelate", key, images, severity, check_size)
    side = 1 + jnp.round(jnp.asarray(severity, jnp.float32)).astype(jnp.int32)
    found = images.astype(jnp.float32)
    for axis in (1, 2):
        block = jnp.arange(images.shape[axis]) // side
        # same (length, length): whether two pixels are in one block; a mean over these.
        same = (block[:, None] == block[None, :]).astype(jnp.float32)
        found = _along(same / same.sum(axis=1, keepdims=True), found, axis)
    return found.astype(images.dtype)


def _along(matrix: Array, images: Array, axis: int) -> Array:
    """The matrix times the images along one axis, in full float32 on every device."""
    product = jnp.tensordot(matrix, images, axes=(1, axis), precision=jax.lax.Precision.HIGHEST)
    return jnp.moveaxis(product, 0, axis)


def _check(
    caller: str, key: Key, images: Array, severity: ArrayLike, check: Callable[..., Any]
) -> None:
    check_key(caller, "key", key)
    check_shape(caller, "images", images, "(n, height, width, channels)")
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(
            f"{caller}(images of dtype {images.dtype}) needs floating images with values in [0, 1]."
        )
    check(caller, "severity", severity)
