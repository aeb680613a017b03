"""Near duplicates of images: perceptual hashes, judged by the pixels themselves."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxcompress.core.checks import check_number, check_range
from jaxcompress.core.kinds import check_function
from jaxcompress.core.messages import shown
from jaxcompress.core.types import PyTree
from jaxcompress.validate.leakage import signs
from jaxcompress.validate.leakage.canonical import pixels
from jaxcompress.validate.leakage.check import Check
from jaxcompress.validate.leakage.image_hashes import Hash, Variants, averages, phash, shifts
from jaxcompress.validate.leakage.near import Method, near
from jaxcompress.validate.leakage.parts import PART, Part, everything

SIDE = 32
"""Larger images are averaged down to it before they are hashed and judged."""
FLAT = 1e-3
"""Standard deviation, a quarter of a level of 256, below which an image is one grey."""
SEEMING = 0.8
"""Least correlation of near duplicates of little contrast."""


def near_images(
    *,
    of: Part = everything,
    hash: Hash = phash(),
    variants: Variants = shifts(1),
    least: float = 0.985,
    residual: float = 0.04,
) -> Check:
    """Looks for images that are copies up to noise, brightness, compression and shifts.

    Not for: other photographs of one object, whose pixels differ; take `near_vectors`.

    Candidates are images whose hashes differ in few bits, in any of the variants. Two
    are near duplicates where their pixels correlate,

        r = correlation of the two views' pixels
        r >= least,  or  r >= 0.8 and sqrt(1 - r²) · deviation <= residual

    with the deviation the larger of the two images' standard deviations, in the range
    [0, 1]. The second line is for images of little contrast, in which small noise is
    much of what there is.

    Args:
      of: `of(examples)`, the images (n, height, width) or (n, height, width, channels),
        uint8 or floating in [0, 1], of one shape in all sets.
      hash: `phash(bits)`, `dhash(bits)` or a function of grey images.
      variants: what a copy may have gone through: `shifts(most)`, `flips()`, or a
        function of images.
      least: correlation of near duplicates, in [0.8, 1).
      residual: what noise may leave, of the range of pixels, in [0, 1).

    Returns:
      A check for `leakage.check`. A score is the correlation; equal images have 1. It
      keeps 16 bytes and 8 bytes per variant for each 32 bits of an image's hash.

    Raises:
      TypeError: an argument is of another kind.
      ValueError: a number is out of range.

    Example:
      >>> leakage = jc.validate.leakage
      >>> rng = np.random.default_rng(0)
      >>> train = rng.uniform(size=(20, 14, 14)).astype(np.float32)
      >>> test = np.roll(train[[3]], 1, axis=2)
      >>> sets = {"train": train, "test": test}
      >>> report = leakage.check(sets, [leakage.near_images()])
      >>> report.leaks[0].pairs
      array([[3, 0]])

    Also known as: perceptual hashing, near-duplicate detection, ciFAIR.

    Source: Barz and Denzler 2020, "Do we train on test data?", for what it finds.
    """
    check_function("near_images", "of", of, PART)
    check_function("near_images", "hash", hash, "For example leakage.phash(64).")
    check_function("near_images", "variants", variants, "For example leakage.shifts(1).")
    check_number("near_images", "least", least)
    check_range("near_images", "least", least, SEEMING, 1)
    check_range("near_images", "residual", residual, 0, 1)

    def sketch(part: PyTree) -> tuple[np.ndarray, ...]:
        return signs.signs([_hashed(hash, view) for view in variants(_images(part))])

    def candidates(first: tuple[Any, ...], second: tuple[Any, ...]) -> Iterator[np.ndarray]:
        bits = first[0][:, 0]
        return signs.near_pairs(bits, signs.Signs(*second), radius=bits.shape[1] * signs.BAND // 8)

    def alike(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _alike(one, other, least, residual)

    method = Method(
        plain=lambda part: signs.signs([_hashed(hash, variants(_images(part))[0])]),
        sketch=sketch,
        candidates=candidates,
        one=lambda part: _standard(variants(_images(part))[0]),
        variants=lambda part: np.stack(
            [_standard(view) for view in variants(_images(part))], axis=1
        ),
        alike=alike,
    )
    what = f"near: images that correlate by {least:g}, or up to noise of {residual:g} of the range"
    return near(what, of, pixels, lambda _: method)


def _alike(
    one: np.ndarray, other: np.ndarray, least: float, residual: float
) -> tuple[np.ndarray, np.ndarray]:
    """Correlations (k,) of images that `_standard` gave, and whether they are alike."""
    r = np.clip(np.einsum("ki,ki->k", one[:, 1:], other[:, 1:]).astype(np.float64), -1, 1)
    deviation = np.maximum(one[:, 0], other[:, 0])
    # Of two images without contrast nothing is left to correlate: their noise decides.
    r = np.where(deviation == 0, 1.0, r)
    noise = np.sqrt(1 - r**2) * deviation
    return r, (r >= least) | ((r >= SEEMING) & (noise <= residual))


def _standard(images: np.ndarray) -> np.ndarray:
    """The standard deviation (n, 1), and behind it the pixels of mean 0 and norm 1."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat = flat - flat.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(flat, axis=1, keepdims=True)
    deviation = norm / np.sqrt(flat.shape[1])
    contrast = deviation > FLAT
    unit = np.where(contrast, flat / np.where(contrast, norm, 1), 0)
    return np.concatenate([np.where(contrast, deviation, 0), unit], axis=1)


def _images(part: PyTree) -> np.ndarray:
    """The images in [0, 1], no side above 32."""
    if not isinstance(part, np.ndarray) or part.ndim not in (3, 4):
        raise ValueError(
            f"near_images(of) gives {shown(part)}; it needs one array of images (n, height, width)"
            " or (n, height, width, channels)."
        )
    images = pixels(part).astype(np.float32) / 255
    for axis in (1, 2):
        if images.shape[axis] > SIDE:
            weights = averages(images.shape[axis], SIDE)
            images = np.moveaxis(np.tensordot(images, weights, axes=(axis, 1)), -1, axis)
    return images


def _hashed(hash: Hash, images: np.ndarray) -> np.ndarray:
    grey = images if images.ndim == 3 else images.mean(axis=-1)
    # Of an image without contrast only rounding would be left, whose signs say nothing.
    contrast = grey.std(axis=(1, 2), keepdims=True) > FLAT
    centred = np.where(contrast, grey - grey.mean(axis=(1, 2), keepdims=True), 0)
    values = np.asarray(hash(centred))
    if values.ndim != 2 or len(values) != len(images) or values.shape[1] % signs.BAND:
        raise ValueError(
            f"near_images(hash) gives shape {values.shape} for {len(images)} images; it needs"
            " (n, bits), the bits a multiple of 16."
        )
    return values
