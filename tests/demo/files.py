"""The four files of MNIST with images that a few steps can learn, written by tests."""

import gzip
import pathlib

import numpy as np

PARTS = {"train": 300, "t10k": 80}


def idx(array: np.ndarray) -> bytes:
    """An IDX file of bytes: 0 0 type rank, the big-endian sizes, the data."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes((0, 0, 8, array.ndim)) + sizes + array.tobytes()


def write(folder: pathlib.Path, *, size: int = 28, classes: int = 10) -> pathlib.Path:
    """The folder with images whose bright row tells their class, no two alike."""
    generator = np.random.default_rng(0)
    for part, n in PARTS.items():
        labels = (np.arange(n) % classes).astype(np.uint8)
        images = generator.integers(0, 100, (n, size, size), dtype=np.uint8)
        images[np.arange(n), 2 * labels + 4] = 255
        name = f"{part}-images-idx3-ubyte.gz"
        (folder / name).write_bytes(gzip.compress(idx(images), 1))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    return folder
