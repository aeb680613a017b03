"""Perceptual hashes of images, and what copies of an image may have gone through."""

from collections.abc import Callable, Sequence

import numpy as np

from jaxcompress.core.checks import check_count
from jaxcompress.core.kinds import check_function
from jaxcompress.core.messages import shown
from jaxcompress.validate.leakage import signs

Hash = Callable[[np.ndarray], np.ndarray]
"""Grey images (n, height, width) to numbers (n, bits), whose signs are the hash."""
Variants = Callable[[np.ndarray], Sequence[np.ndarray]]
"""Images (n, height, width, …) to views of them of one shape, the plain one first."""


def phash(bits: int = 64) -> Hash:
    """Signs of an image's lowest frequencies, without its mean.

    Not for: sets so large that hashing takes the time; `dhash` is cheaper.

        c(u, v) = Σ over y, x of image(y, x) · cos(π(2y+1)u / 2h) · cos(π(2x+1)v / 2w)

    for the frequencies of least u² + v² above 0. Brightness and contrast change no
    sign, small noise few.

    Args:
      bits: of the hash, a multiple of 16.

    Returns:
      A hash: grey images (n, height, width) to numbers (n, bits).

    Raises:
      ValueError: `bits` is no multiple of 16, or the images have fewer frequencies.

    Example:
      >>> image = np.arange(144.0).reshape(1, 12, 12)
      >>> hashed = jc.validate.leakage.phash(64)
      >>> hashed(image).shape, bool((np.sign(hashed(2 * image + 3)[0, :2]) == -1).all())
      ((1, 64), True)

    Also known as: pHash, DCT hash, perceptual hash.

    Source: Zauner 2010, "Implementation and benchmarking of perceptual image hash
    functions", section 3.2.1. Differs: signs instead of a comparison with the median,
    and the frequencies nearest to 0 instead of a square.
    """
    _check_bits("phash", bits)

    def frequencies(images: np.ndarray) -> np.ndarray:
        n, height, width = images.shape
        u, v = np.divmod(np.arange(height * width), width)
        # By frequency, ties by row, so that the order is the same everywhere.
        lowest = np.lexsort((u, u**2 + v**2))[1 : bits + 1]
        if lowest.size < bits:
            raise ValueError(
                f"phash(bits={bits}): images of {height} x {width}, margins taken off, have"
                f" {height * width - 1} frequencies. Take fewer bits."
            )
        basis = _cosines(height)[u[lowest], :, None] * _cosines(width)[v[lowest], None, :]
        return images.reshape(n, -1) @ basis.reshape(bits, -1).T.astype(np.float32)

    return frequencies


def dhash(bits: int = 64) -> Hash:
    """Signs of the differences between neighbouring cells of an image, left to right.

    Not for: drawn digits and other flat grounds, where noise decides its bits; take
    `phash`.

    Cheaper than `phash` and as steady under brightness; on images with flat grounds,
    such as drawn digits, noise decides most of its bits.

    Args:
      bits: of the hash: 64 or 256, from 8 x 9 or 16 x 17 cells.

    Returns:
      A hash: grey images (n, height, width) to numbers (n, bits).

    Raises:
      ValueError: `bits` is neither 64 nor 256.

    Example:
      >>> image = np.arange(144.0).reshape(1, 12, 12)
      >>> bool((jc.validate.leakage.dhash(64)(image) > 0).all())
      True

    Also known as: dHash, difference hash, gradient hash.

    Source: Krawetz 2013, "Kind of like that", hackerfactor.com.
    """
    rows = {64: 8, 256: 16}.get(check_count("dhash", "bits", bits))
    if rows is None:
        raise ValueError(f"dhash(bits={shown(bits)}) must be 64 or 256.")

    def differences(images: np.ndarray) -> np.ndarray:
        down, across = averages(images.shape[1], rows), averages(images.shape[2], rows + 1)
        cells = down @ images @ across.T
        return np.diff(cells, axis=2).reshape(len(images), -1)

    return differences


def shifts(most: int = 1) -> Variants:
    """Views of an image moved by up to `most` pixels, without its margin.

    The margin of `most` pixels is cut from every image, so that a shifted copy has a
    view that equals the original's, whatever came in at the edge.

    Args:
      most: pixels in each direction; 0 gives the whole image alone.

    Returns:
      Variants: images (n, height, width, …) to (2·most + 1)² views, the middle first.

    Raises:
      ValueError: `most` is no count.

    Example:
      >>> views = jc.validate.leakage.shifts(1)(np.arange(16).reshape(1, 4, 4))
      >>> len(views), views[0].tolist()
      (9, [[[5, 6], [9, 10]]])
    """
    most = check_count("shifts", "most", most, least=0)

    def views(images: np.ndarray) -> list[np.ndarray]:
        height, width = images.shape[1] - 2 * most, images.shape[2] - 2 * most
        offsets = sorted(
            ((y, x) for y in range(2 * most + 1) for x in range(2 * most + 1)),
            key=lambda at: (at != (most, most), at),
        )
        return [images[:, y : y + height, x : x + width] for y, x in offsets]

    return views


def flips(variants: Variants) -> Variants:
    """The views of other variants, and each of them mirrored left to right.

    Args:
      variants: what is mirrored.

    Returns:
      Variants: twice as many views, the plain ones first.

    Raises:
      TypeError: `variants` is no function.

    Example:
      >>> leakage = jc.validate.leakage
      >>> views = leakage.flips(leakage.shifts(0))(np.array([[[1, 2]]]))
      >>> [view.tolist() for view in views]
      [[[[1, 2]]], [[[2, 1]]]]
    """
    check_function("flips", "variants", variants, "For example leakage.shifts(1).")

    def views(images: np.ndarray) -> list[np.ndarray]:
        plain = list(variants(images))
        return [*plain, *(view[:, :, ::-1] for view in plain)]

    return views


def averages(n: int, cells: int) -> np.ndarray:
    """Weights (cells, n) float32 of the means over equal parts of a line of n."""
    edges = np.arange(cells + 1) * n / cells
    places = np.arange(n)
    overlap = np.minimum(edges[1:, None], places + 1) - np.maximum(edges[:-1, None], places)
    return (np.maximum(overlap, 0) * cells / n).astype(np.float32)


def _cosines(n: int) -> np.ndarray:
    """cos(π(2i + 1)f / 2n), (frequency, place)."""
    return np.cos(np.pi * np.outer(np.arange(n), 2 * np.arange(n) + 1) / (2 * n))


def _check_bits(caller: str, bits: int) -> None:
    if check_count(caller, "bits", bits) % signs.BAND:
        raise ValueError(f"{caller}(bits={bits}) must be a multiple of {signs.BAND}.")
