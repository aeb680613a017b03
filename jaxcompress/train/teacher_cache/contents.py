"""What is kept of the teacher's outputs: all of them, or the likeliest classes."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jaxcompress.core.checks import check_concrete, check_count, check_positive
from jaxcompress.core.messages import shown
from jaxcompress.core.types import Array, PyTree
from jaxcompress.distill.outputs import top_k as likeliest
from jaxcompress.distill.outputs.top_k import TopK
from jaxcompress.train.teacher_cache.rows import Shards, plain_rows

Named = Mapping[str, np.ndarray]
FLOATS = ("float32", "bfloat16", "float16")
SHORT = 2**16
"""Classes that 16 bits can tell apart."""


class Content(NamedTuple):
    """What is kept of what a teacher gives, and how it is stored and read.

    Attributes:
      description: plain values for JSON; two contents are the same where theirs are.
      keep: (outputs (b, …), indices of the examples (b,)) to arrays by name, each with
        first axis b. Traced; a finite number that cannot be kept becomes NaN.
      packed: (such arrays of NumPy, of the examples of one shard; the shape of the
        outputs for one example) to the arrays of its files, by name.
      rows: `Shards` to a tree of `Rows`, the targets of a loss.
    """

    description: Mapping[str, Any]
    keep: Callable[[Array, Array], dict[str, Array]]
    packed: Callable[[Named, tuple[int, ...]], Named]
    rows: Callable[[Shards], PyTree]


def whole(dtype: DTypeLike = jnp.float16) -> Content:
    """Keeps the outputs as they are, in a dtype of 2 or 4 bytes a number.

    Args:
      dtype: float16, bfloat16 or float32. float16 has 11 bits of precision and ends at
        65504, bfloat16 has 8 bits and no such end.

    Returns:
      Content whose targets are one `Rows` (n, …): the teacher's logits for any loss of
      `distill.outputs`.

    Raises:
      TypeError: it is another dtype.

    Example:
      >>> jc.train.teacher_cache.whole(jnp.bfloat16).description["dtype"]
      'bfloat16'
    """
    kind = checked_dtype("whole", dtype)

    def keep(outputs: Array, indices: Array) -> dict[str, Array]:
        del indices
        return {"outputs": narrowed(outputs, kind)}

    def rows(shards: Shards) -> PyTree:
        return plain_rows(shards, "outputs", shards.shape, kind)

    return Content({"kind": "whole", "dtype": str(kind)}, keep, bits, rows)


def top_k(k: int, *, temperature: float = 1.0, dtype: DTypeLike = jnp.float16) -> Content:
    """Keeps the k likeliest classes, and the mass of all others as one number.

    Args:
      k: from 1 to the number of classes, which is the last axis of the outputs.
      temperature: above 0, that of the student's loss; it cannot be changed later.
      dtype: of log probabilities: float16, bfloat16 or float32.

    Returns:
      Content whose targets are `distill.outputs.TopK` of `Rows`, for
      `distill.outputs.top_k_targets`. In 16 bits a token takes 4 · k + 2 bytes, of more
      than 65,536 classes 6 · k + 2.

    Raises:
      TypeError: it is another dtype.
      ValueError: `k` is no count, or the temperature is not above 0.

    Example:
      >>> jc.train.teacher_cache.top_k(64, temperature=2.0).description["k"]
      64

    Source: as of `distill.outputs.top_k_targets`.
    """
    k = check_count("top_k", "k", k)
    check_concrete("top_k", temperature=temperature)
    check_positive("top_k", "temperature", temperature)
    kind = checked_dtype("top_k", dtype)

    def keep(outputs: Array, indices: Array) -> dict[str, Array]:
        del indices
        check_classes("top_k", outputs)
        found = likeliest(outputs, k, temperature=temperature)
        return {
            "log_probabilities": narrowed(found.log_probabilities, kind),
            "indices": jnp.asarray(found.indices, class_dtype(outputs.shape[-1])),
            "log_tail": narrowed(found.log_tail, kind),
        }

    def rows(shards: Shards) -> PyTree:
        *tokens, classes = shards.shape
        many = (*tokens, k)
        fields: Any = (
            plain_rows(shards, "log_probabilities", many, kind),
            plain_rows(shards, "indices", many, class_dtype(classes)),
            plain_rows(shards, "log_tail", tuple(tokens), kind),
        )
        return TopK(*fields)

    described = {"kind": "top_k", "k": k, "temperature": float(temperature), "dtype": str(kind)}
    return Content(described, keep, bits, rows)


def narrowed(values: Array | np.ndarray, dtype: np.dtype) -> Array:
    """The values in a dtype; NaN for what is finite and too large for it.

    Example:
      >>> narrowed(jnp.array([1.0, 1e6, -jnp.inf]), jnp.dtype(jnp.float16))
      Array([  1.,  nan, -inf], dtype=float16)
    """
    values = jnp.asarray(values)
    found = values.astype(dtype)
    return jnp.where(jnp.isfinite(values) & ~jnp.isfinite(found), jnp.nan, found)


def check_classes(caller: str, outputs: Array) -> None:
    """Raises a ValueError unless the last axis can be that of classes."""
    if outputs.ndim < 2:
        raise ValueError(
            f"{caller}: the teacher gives outputs of shape {outputs.shape}, which must be logits "
            "(examples, …, classes). Keep other outputs by whole()."
        )


def class_dtype(classes: int) -> np.dtype:
    """The dtype of indices of so many classes."""
    return np.dtype(np.uint16 if classes <= SHORT else np.int32)


def bits(arrays: Named, shape: tuple[int, ...]) -> Named:
    """The arrays as a file of NumPy can hold them: of bfloat16 the bits as integers."""
    del shape
    return {
        name: array.view(np.uint16) if array.dtype == jnp.bfloat16 else array
        for name, array in arrays.items()
    }


def checked_dtype(caller: str, dtype: Any) -> np.dtype:
    """The dtype, one of three."""
    # An array is read as its own dtype, with a warning, and None as double precision.
    known = not (dtype is None or hasattr(dtype, "shape"))
    try:
        found = jnp.dtype(dtype) if known else None
    except TypeError:
        found = None
    if found is None or str(found) not in FLOATS:
        raise TypeError(f"{caller}(dtype={shown(dtype)}) must be one of {', '.join(FLOATS)}.")
    return found
