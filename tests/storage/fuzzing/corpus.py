"""The files that the fuzzer mutates: one row for each kind of leaf, coder and version.

A new coder or kind of leaf joins by a row: a tree whose file holds it.
"""

import functools
import pathlib
import tempfile
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress import QTensor
from jaxcompress.quantize import int4, int8, quantize, rounding
from jaxcompress.quantize.sharing import Vectors, hash_weights, product
from jaxcompress.storage import save
from jaxcompress.storage.coders import (
    FAST,
    Coder,
    context,
    context_planes,
    gaps,
    huffman,
    lines,
    planes,
    rans,
    runs,
    trellis,
)
from tests.inputs import COMPOSED, random_code

GOLDEN = pathlib.Path(__file__).parent.parent / "golden"


class Row(NamedTuple):
    """A file that loads.

    Attributes:
      name: of the row.
      content: gives the file's bytes.
    """

    name: str
    content: Callable[[], bytes]


def golden(version: int, name: str) -> Row:
    """A file that the code of its time wrote."""
    path = GOLDEN / f"version_{version}" / f"{name}.safetensors"
    return Row(f"version {version} {name}", path.read_bytes)


def saved(name: str, tree: Callable[[], object], coders: tuple[Coder, ...] = FAST) -> Row:
    """The file of a tree as these coders write it today."""

    def content() -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "file"
            save(path, tree(), metadata={"about": 'a "quoted" text, é'}, coders=coders)
            return path.read_bytes()

    return Row(name, functools.cache(content))


def sparse(dtype: type) -> np.ndarray:
    return np.where(np.arange(400).reshape(20, 20) % 9 == 0, 1, 0).astype(dtype)


def skewed(bits: int) -> np.ndarray:
    """Few high words and many low ones, as int8 or truth values."""
    words = np.minimum(np.random.default_rng(bits).geometric(0.6, (50, 20)) - 1, 2**bits - 1)
    return words.astype(np.bool_ if bits == 1 else np.int8)


def uneven(dtype: type) -> np.ndarray:
    """Rows that are empty, full, and of more and more zeros."""
    random = np.random.default_rng(0)
    return np.where(random.random((30, 50)) < np.linspace(-0.2, 1.2, 30)[:, None], 3, 0).astype(
        dtype
    )


def few() -> QTensor:
    """Codes of which most are zero."""
    x = sparse(np.float32) * np.random.default_rng(0).standard_normal((20, 20))
    return quantize(jnp.asarray(x, jnp.float32), int4())[0]


def on_trellis() -> QTensor:
    """Codes that follow the trellis."""
    x = np.random.default_rng(0).standard_normal((40, 20)).astype(np.float32)
    return quantize(jnp.asarray(x), int8(per="tensor"), rounding=rounding.trellis(0.1))[0]


def floats(dtype: type) -> np.ndarray:
    """Numbers as layers have them, every third of them zero in the second half."""
    x = np.random.default_rng(0).standard_normal(300).astype(dtype)
    x[150::3] = 0
    return x


def composed() -> dict[str, object]:
    return {name: COMPOSED[name]() for name in ("corrected by codes", "rotated layers")} | {
        "inner": COMPOSED["rotated correction"]()
    }


def vectors() -> dict[str, object]:
    """Product-quantized leaves of packed codes, one codebook and several."""
    params = {"kernel": jnp.asarray(np.random.default_rng(0).normal(size=(8, 6)), jnp.float32)}
    key = jax.random.key(0)
    shared, _ = product(params, Vectors(2, 6, stored="float16"), key)
    return {"shared": shared, "apart": product(params, Vectors(4, 3, per="subspace"), key)[0]}


KEYS = {(1, "a"): 1.5, (2, "b"): {True: 2, 2.5: [3]}}
CORPUS = (
    *(golden(1, name) for name in ("arrays", "quantized", "low_rank", "containers", "linen")),
    *(golden(2, name) for name in ("arrays", "quantized", "low_rank", "containers", "nnx")),
    *(golden(2, name) for name in ("formats", "widths", "one_leaf", "no_leaf", "keys", "removed")),
    saved("numbers", lambda: {"a": [True, 2, 0.5, 1j], "b": np.arange(3), "c": KEYS}),
    saved("composed", composed),
    saved("hashed", lambda: hash_weights({"kernel": jnp.ones((8, 6))}, 0.25, seed=3)[0]),
    saved("random_code", lambda: {"kernel": random_code()}),
    saved("product_quantized", vectors),
    saved("bitmask", lambda: [sparse(np.float32), sparse(np.bool_), sparse(np.complex64)]),
    saved("rans", lambda: [skewed(6), skewed(1)], (rans,)),
    saved("context", lambda: [skewed(6), skewed(1), few()], (context,)),
    saved("trellis", lambda: [on_trellis(), skewed(6)], (trellis,)),
    saved("planes", lambda: [floats(np.float32), floats(np.float16), KEYS], (planes,)),
    saved("context_planes", lambda: [floats(np.float32), floats(np.complex64)], (context_planes,)),
    saved("huffman", lambda: [skewed(6), skewed(1)], (huffman,)),
    saved("gaps", lambda: [sparse(np.int8), sparse(np.complex64)], (gaps,)),
    saved("runs", lambda: [sparse(np.int8), sparse(np.bool_), skewed(6)], (runs,)),
    saved("lines", lambda: [uneven(np.int8), uneven(np.bool_), uneven(np.float32)], (lines,)),
)
