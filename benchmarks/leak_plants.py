"""Real data without repeats, and the leaks that are planted in them by a seed."""

import csv
import gzip
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import fft

from jaxcompress.validate import leakage

Copies = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""Examples (n, …) to changed copies of them."""


class Data(NamedTuple):
    """A set of examples to plant leaks in.

    Attributes:
      x: (n, …) examples, none equal to another.
      y: (n,) targets; None for texts.
      near: the check of near duplicates.
      copies: by name, what is done to near copies.
      sizes: most rows of the training and the test part.
      repeats: rows that were left out: they equal an earlier one, or of a table all but
        one of their columns do.
    """

    x: np.ndarray
    y: np.ndarray | None
    near: leakage.Check
    copies: Mapping[str, Copies]
    sizes: tuple[int, int]
    repeats: int


def idx(path: pathlib.Path) -> np.ndarray:
    """The array in a gzipped IDX file of bytes."""
    raw = gzip.decompress(path.read_bytes())
    shape = np.frombuffer(raw, ">i4", count=raw[3], offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


def mnist(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """The images and labels of MNIST by part."""
    names = {"train": "train", "test": "t10k"}
    return {
        f"{kind}_{part}": idx(folder / "mnist" / f"{names[part]}-{file}-ubyte.gz")
        for part in names
        for kind, file in {"x": "images-idx3", "y": "labels-idx1"}.items()
    }


def cifar(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """The images and labels of the subset of CIFAR-10 by part."""
    with np.load(folder / "cifar10" / "cifar10_subset.npz") as arrays:
        return dict(arrays)


def table(folder: pathlib.Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Features float64 (n, d) and targets of a table; words become their rank."""
    with (folder / "tabular" / f"{name}.csv").open() as file:
        rows = list(csv.reader(file))
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    y = columns.pop()
    x = [np.unique(each, return_inverse=True)[1] if each[0].isalpha() else each for each in columns]
    return np.stack(x, axis=1).astype(np.float64), y.astype(float) if name == "abalone" else y


def paragraphs(folder: pathlib.Path, name: str) -> dict[str, list[str]]:
    """Texts of 100 characters or more: WikiText-2's paragraphs by part, or speeches."""
    if name == "wikitext2":
        parts = {
            part: gzip.decompress((folder / name / f"{part}.txt.gz").read_bytes()).decode()
            for part in ("train", "valid", "test")
        }
        texts = {part: text.split("\n") for part, text in parts.items()}
    else:
        texts = {"all": (folder / name / "input.txt").read_text().split("\n\n")}
    return {part: [each for each in found if len(each) >= 100] for part, found in texts.items()}


def noisy(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Normal noise of 2 % of the range."""
    return _bytes(images + rng.normal(0, 0.02 * 255, images.shape))


def lit(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Contrast by 0.8 to 1.2 and brightness by up to 8 % of the range."""
    shape = (len(images),) + (1,) * (images.ndim - 1)
    return _bytes(images * rng.uniform(0.8, 1.2, shape) + rng.uniform(-20, 20, shape))


def moved(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One pixel in one of eight directions; zeros or the edge come in."""
    result = np.empty_like(images)
    steps = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
    height, width = images.shape[1:3]
    for i, (image, step) in enumerate(zip(images, rng.choice(steps, len(images)), strict=True)):
        pads = ((1, 1), (1, 1)) + ((0, 0),) * (image.ndim - 2)
        padded = np.pad(image, pads, mode="edge" if i % 2 else "constant")
        y, x = 1 + step
        result[i] = padded[y : y + height, x : x + width]
    return result


def moved_and_noisy(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Both."""
    return noisy(moved(images, rng), rng)


def coded(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As JPEG: the cosines of 8 x 8 blocks rounded to multiples of 24 levels."""
    n, height, width = images.shape[:3]
    pads = ((0, 0), (0, -height % 8), (0, -width % 8)) + ((0, 0),) * (images.ndim - 3)
    padded = np.pad(images.astype(np.float64), pads, mode="edge")
    blocks = padded.reshape(n, padded.shape[1] // 8, 8, padded.shape[2] // 8, 8, -1)
    cosines = np.asarray(fft.dctn(blocks, axes=(2, 4), norm="ortho"))
    blocks = np.asarray(fft.idctn(24 * np.rint(cosines / 24), axes=(2, 4), norm="ortho"))
    return _bytes(blocks.reshape(padded.shape)[:, :height, :width])


def mirrored(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Left to right."""
    return images[:, :, ::-1]


def one_column(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One column of each row overwritten with that of another row."""
    result = rows.copy()
    at = rng.integers(0, rows.shape[1], len(rows))
    result[np.arange(len(rows)), at] = rows[rng.permutation(len(rows)), at]
    return result


def jittered(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Normal noise of 0.2 % of each column's deviation in all columns."""
    return rows + 0.002 * rows.std(axis=0) * rng.normal(size=rows.shape)


def reworded(texts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One word in twenty replaced by one of the others, at least one."""

    def changed(text: str) -> str:
        words = text.split()
        for at in rng.choice(len(words), max(1, len(words) // 20), replace=False):
            words[at] = words[rng.integers(len(words))]
        return " ".join(words)

    return np.array([changed(each) for each in texts], object)


def cut(texts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The last tenth left out, in capitals."""
    return np.array([each[: len(each) * 9 // 10].upper() for each in texts], object)


IMAGES = {
    "noise": noisy,
    "light": lit,
    "shift": moved,
    "shift and noise": moved_and_noisy,
    "jpeg": coded,
}
ROWS = {"one column": one_column, "noise": jittered}
TEXTS = {"reworded": reworded, "cut, capitals": cut}
TABLES = ("winequality-red", "winequality-white", "abalone", "ionosphere", "sonar")


def data(folder: pathlib.Path, name: str) -> Data:
    """The set of this name."""
    if name in TABLES:
        x, y = table(folder, name)
        copies = [j for j in range(len(x)) if np.any(np.sum(x[:j] != x[j], axis=1) <= 1)]
        x, y = np.delete(x, copies, axis=0), np.delete(y, copies)
        halves = (len(x) // 2, len(x) // 2)
        return Data(x, y, leakage.near_rows(of=_x), ROWS, halves, len(copies))
    if name in ("wikitext2", "tinyshakespeare"):
        texts = [text for part in paragraphs(folder, name).values() for text in part]
        x = np.array(texts, object)
        kept = _distinct(x)
        near = leakage.near_texts(of=_x)
        return Data(x[kept], None, near, TEXTS, (9000, 2000), len(x) - len(kept))
    arrays = {"mnist": mnist, "cifar10": cifar}[name](folder)
    x, kept = arrays["x_train"], _distinct(arrays["x_train"])
    near = leakage.near_images(of=_x)
    return Data(x[kept], arrays["y_train"][kept], near, IMAGES, (17000, 2000), len(x) - len(kept))


def _x(examples: Mapping[str, Any]) -> Any:
    return examples["x"]


def _distinct(x: np.ndarray) -> np.ndarray:
    """Indices of the rows that equal no earlier one, found by a dict of their bytes."""
    first: dict[Any, int] = {}
    for i, row in enumerate(x):
        first.setdefault(row if isinstance(row, str) else row.tobytes(), i)
    return np.array(sorted(first.values()))


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
