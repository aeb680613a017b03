"""Reading shards: arrays on disk, of which only the rows asked for are read."""

import functools
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
from jax.core import Tracer

from jaxcompress.core.checks import TracedError

OPEN = 128
"""Files that are mapped at a time: a system lets a process hold few."""


class Shards:
    """The shards of a whole cache.

    Invariants:
      - Example i lies in shard i // size, at its place i mod size.
      - `shape` is that of the teacher's outputs for one example.
    """

    def __init__(self, folder: pathlib.Path, n: int, size: int, shape: tuple[int, ...]):
        self.folder: pathlib.Path = folder
        self.n: int = n
        self.size: int = size
        self.shape: tuple[int, ...] = shape
        self.array: Callable[[int, str], np.ndarray] = functools.lru_cache(OPEN)(self._array)

    @property
    def count(self) -> int:
        """How many shards there are."""
        return -(-self.n // self.size)

    def extent(self, number: int) -> tuple[int, int]:
        """The first example of a shard, and the one after its last."""
        return number * self.size, min((number + 1) * self.size, self.n)

    def path(self, number: int) -> pathlib.Path:
        """The folder of a shard."""
        return self.folder / f"shard-{number:06d}"

    def _array(self, number: int, name: str) -> np.ndarray:
        """One array of a shard, mapped and not read.

        Raises:
          ValueError: the file is missing or is no whole array.
        """
        path = self.path(number) / f"{name}.npy"
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{path} is missing or damaged. Remove the folder {path.parent.name}, and call "
                "teacher_cache.fill again to have that part computed anew."
            ) from error


Reading = Callable[[int, np.ndarray], np.ndarray]
"""(number of a shard, places in it (k,)) -> (k, …)."""


class Rows:
    """An array on disk, of which indexing reads those rows alone.

    `rows[index]` takes what NumPy takes for a first axis: a number, a slice, or an
    array of indices of any shape, shuffled or repeated; it gives an array of NumPy.
    `np.asarray(rows)` reads all. It is a leaf of a tree, and goes into `train.fit` with
    arrays of NumPy.

    Attributes:
      shape: (n, …).
      dtype: of the numbers.
    """

    def __init__(self, shards: Shards, shape: tuple[int, ...], dtype: Any, reading: Reading):
        self.shape: tuple[int, ...] = (shards.n, *shape)
        self.dtype: np.dtype = np.dtype(dtype)
        self._shards, self._reading = shards, reading

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"Rows({self.dtype}{list(self.shape)})"

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        del copy  # what is read is always new
        return self[:].astype(dtype or self.dtype, copy=False)

    def __getitem__(self, index: Any) -> np.ndarray:
        if isinstance(index, Tracer):
            raise TracedError(
                "Rows[index] reads from the disk, and the index is traced by jit, grad or vmap. "
                "Look rows up outside, and pass them in as part of the batch."
            )
        places = np.arange(len(self))[np.asarray(index) if hasattr(index, "shape") else index]
        flat = np.ravel(places)
        found = np.empty((flat.size, *self.shape[1:]), self.dtype)
        numbers = flat // self._shards.size
        for number in np.unique(numbers):
            here = numbers == number
            local = flat[here] - number * self._shards.size
            found[here] = self._reading(int(number), local)
        return found.reshape(*np.shape(places), *self.shape[1:])


def plain_rows(shards: Shards, name: str, shape: tuple[int, ...], dtype: Any) -> Rows:
    """The rows of an array that is stored as it is."""

    def reading(number: int, places: np.ndarray) -> np.ndarray:
        # A file of NumPy has no bfloat16: its bits are there as integers.
        return shards.array(number, name)[places].view(dtype)

    return Rows(shards, shape, dtype, reading)
