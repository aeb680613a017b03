"""Real handwritten digits: those that scikit-learn bundles, or any MNIST folder."""

import dataclasses
import gzip
import pathlib
from typing import Any

import numpy as np

from jaxcompress.validate import check_disjoint, split

IDX_UBYTE = 0x08


@dataclasses.dataclass(frozen=True)
class Images:
    """Images (n, height, width, 1) float32 in [0, 1] with labels (n,) int32."""

    images: np.ndarray
    labels: np.ndarray

    def __getitem__(self, index: Any) -> "Images":
        return Images(self.images[index], self.labels[index])

    def __len__(self) -> int:
        return len(self.labels)


@dataclasses.dataclass(frozen=True)
class Splits:
    """Three sets without a common image."""

    source: str
    train: Images
    validation: Images
    test: Images

    @property
    def classes(self) -> int:
        return int(self.train.labels.max()) + 1


def bundled_digits(*, fractions: tuple[float, float, float], seed: int) -> Splits:
    """The 8x8 digits that come with scikit-learn, split by class.

    Args:
      fractions: shares of training, validation and test.
      seed: of the split.

    Returns:
      Splits, checked for common images.

    Raises:
      ImportError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "The demo's digits come with scikit-learn: pip install 'jaxcompress[demo]', or pass "
            "--data DIR."
        ) from error
    pixels, labels = load_digits(return_X_y=True)
    pixels = np.asarray(pixels, np.float32).reshape(-1, 8, 8, 1)
    everything = Images(pixels / 16, np.asarray(labels, np.int32))
    indices = split(len(everything), fractions=fractions, labels=everything.labels, seed=seed)
    return _checked("scikit-learn digits", *(everything[index] for index in indices))


def mnist_folder(folder: pathlib.Path, *, seed: int) -> Splits:
    """The four IDX files of MNIST; a tenth of the training set becomes validation.

    Args:
      folder: holds train-images-idx3-ubyte, train-labels-idx1-ubyte
        and the two t10k files.
      seed: of the validation split.

    Returns:
      Splits, checked for common images.

    Raises:
      ValueError: a file is missing, is not IDX, or has the wrong length.
    """
    train = _idx_images(folder, "train")
    test = _idx_images(folder, "t10k")
    rest, validation = split(len(train), fractions=(0.9, 0.1), labels=train.labels, seed=seed)
    return _checked(folder.name, train[rest], train[validation], test)


def _checked(source: str, train: Images, validation: Images, test: Images) -> Splits:
    check_disjoint(train=train.images, validation=validation.images, test=test.images)
    splits = Splits(source, train, validation, test)
    for part in ("validation", "test"):
        highest = int(getattr(splits, part).labels.max())
        if highest >= splits.classes:
            raise ValueError(
                f"{source}: the {part} images have the label {highest}, and those to train on "
                f"none above {splits.classes - 1}. Use files of the same classes."
            )
    return splits


def _idx_images(folder: pathlib.Path, part: str) -> Images:
    images = _idx(folder, f"{part}-images-idx3-ubyte", ndim=3)
    labels = _idx(folder, f"{part}-labels-idx1-ubyte", ndim=1)
    if len(images) != len(labels):
        raise ValueError(
            f"--data {folder}: {part} has {len(images)} images and {len(labels)} labels."
        )
    return Images((images[..., None] / 255).astype(np.float32), labels.astype(np.int32))


def _idx(folder: pathlib.Path, name: str, *, ndim: int) -> np.ndarray:
    """One IDX file of bytes: 0 0 type rank, the big-endian sizes, the data."""
    path = next((p for p in (folder / name, folder / f"{name}.gz") if p.exists()), None)
    if path is None:
        raise ValueError(
            f"--data {folder}: no file {name} or {name}.gz. The four files of MNIST are needed."
        )
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    header = 4 + 4 * ndim
    if len(raw) < header or raw[:4] != bytes((0, 0, IDX_UBYTE, ndim)):
        raise ValueError(
            f"--data {folder}: {path.name} is not an IDX file of rank {ndim} holding bytes."
        )
    shape = np.frombuffer(raw, ">u4", count=ndim, offset=4)
    if len(raw) != header + int(np.prod(shape, dtype=np.int64)):
        raise ValueError(
            f"--data {folder}: {path.name} says shape {tuple(shape)}, but holds "
            f"{len(raw) - header} bytes."
        )
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)
