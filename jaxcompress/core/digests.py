"""Digests of arrays: equal where the bytes are, the same on every machine."""

import hashlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.types import PyTree

DIGEST_BYTES = 16
"""Two of 2^32 different examples share a digest with a probability of 2^-65."""


def row_digests(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Digests of examples: BLAKE2b of the bytes of each row, over all arrays in turn.

    Args:
      columns: arrays (n, …), of numbers or of texts as objects, one at least.

    Returns:
      uint8 (n, 16).

    Example:
      >>> found = row_digests([np.array([[1, 2], [3, 4], [1, 2]])])
      >>> found.shape, bool((found[0] == found[2]).all())
      ((3, 16), True)
    """
    parts = [_as_bytes(column) for column in columns]
    if len(parts) == 1:
        joined = b"".join(_digest(each) for each in parts[0])
    else:
        joined = b"".join(_digest(b"".join(row)) for row in zip(*parts, strict=True))
    return np.frombuffer(joined, np.uint8).reshape(len(columns[0]), DIGEST_BYTES)


def tree_digest(tree: PyTree) -> str:
    """A short hash of paths, dtypes, shapes and, of arrays, values; 12 hex digits.

    Args:
      tree: of arrays, keys, numbers, and shapes as `jax.eval_shape` gives them.

    Example:
      >>> tree_digest({"a": np.ones(2)}) == tree_digest({"a": np.ones(2)})
      True
      >>> tree_digest({"a": np.ones(2)}) == tree_digest({"b": np.ones(2)})
      False
    """
    total = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        known = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
        total.update(f"{jax.tree_util.keystr(path)} {known.dtype}{known.shape}".encode())
        if not isinstance(leaf, jax.ShapeDtypeStruct):
            total.update(as_numpy(known).tobytes())
    return total.hexdigest()[:12]


def as_numpy(leaf: Any) -> np.ndarray:
    """The numbers of an array, or the bits of a random key."""
    return np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)


def is_key(leaf: Any) -> bool:
    """Whether an array holds typed random keys."""
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _digest(data: Any) -> bytes:
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


def _as_bytes(array: np.ndarray) -> Any:
    """One run of bytes per example."""
    if not array.dtype.hasobject:
        flat = np.ascontiguousarray(array).reshape(array.shape[0], -1)
        return [row.data for row in flat.view(np.uint8)]
    return [b"".join(map(_sized, each)) for each in array.reshape(array.shape[0], -1)]


def _sized(text: str | bytes) -> bytes:
    """A text after its length, so that two texts in a row have one reading only."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return len(data).to_bytes(8, "little") + data
