"""A teacher on all examples of a shard, in batches of one size."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.batches import index_batches
from jaxcompress.core.messages import shown
from jaxcompress.core.types import Array, Model, Params, PyTree
from jaxcompress.train.teacher_cache.contents import Content

SHARD_BYTES, SHARD_BATCHES = 2**26, 64
"""A shard is as many batches as neither exceeds: what a process that is cut loses."""
Run = Callable[[Params, PyTree, np.ndarray], tuple[dict[str, Array], Array, Array]]
"""(params, batch, indices) to what is kept, which is unusable, and which too large."""


def program(fn: Model, content: Content) -> Run:
    """The compiled program of a batch."""

    def run(params: Params, batch: PyTree, indices: Array):
        outputs = fn(params, batch)
        floating = hasattr(outputs, "dtype") and jnp.issubdtype(outputs.dtype, jnp.floating)
        if not floating or outputs.shape[:1] != indices.shape:
            raise TypeError(
                f"fill(fn): the teacher gives {shown(outputs)} for {len(indices)} examples, which "
                "must be one floating array with their axis first. Of several outputs give one: "
                "lambda params, inputs: fn(params, inputs)[0]."
            )
        kept = content.keep(outputs, indices)
        lost = [_any(jnp.isnan(each)) for each in kept.values()]
        return kept, _unusable(outputs), jnp.any(jnp.stack(lost), axis=0)

    return jax.jit(run)


def _unusable(outputs: Array) -> Array:
    """(b,): NaN or +inf somewhere, or every class of something ruled out by -inf."""
    bad = jnp.isnan(outputs) | (outputs == jnp.inf)
    nothing = jnp.all(outputs == -jnp.inf, axis=-1) if outputs.ndim > 1 else outputs == -jnp.inf
    return _any(bad) | _any(nothing)


def _any(marks: Array) -> Array:
    """(b,): whether one of an example's is true."""
    return jnp.any(marks.reshape(len(marks), -1), axis=1)


def batch_shapes(inputs: PyTree, size: int) -> PyTree:
    """The shapes of a batch of so many examples, in dtypes that JAX has."""

    def shape(leaf: Any) -> jax.ShapeDtypeStruct:
        dtype = jax.dtypes.canonicalize_dtype(leaf.dtype)
        return jax.ShapeDtypeStruct((size, *leaf.shape[1:]), dtype)

    return jax.tree.map(shape, inputs)


def shapes(run: Run, fn: Model, params: Params, inputs: PyTree, size: int):
    """Shapes of what a batch keeps, and that of the outputs for one example."""
    batch = batch_shapes(inputs, size)
    kept, _, _ = jax.eval_shape(run, params, batch, jax.ShapeDtypeStruct((size,), jnp.int32))
    return kept, jax.eval_shape(fn, params, batch).shape[1:]


def shard_size(kept: dict[str, Any], size: int) -> int:
    """How many examples a shard has."""
    batch_bytes = sum(each.size * each.dtype.itemsize for each in kept.values())
    return size * min(SHARD_BATCHES, max(1, SHARD_BYTES // max(1, batch_bytes)))


def computed(
    run: Run, params: Params, inputs: PyTree, extent: range, size: int
) -> dict[str, np.ndarray]:
    """What is kept of the examples of a shard."""
    parts = []
    for indices in index_batches(np.arange(extent.start, extent.stop, dtype=np.int32), size):
        kept, unusable, lost = run(params, _given(inputs, indices), indices)
        parts.append((indices, kept, unusable, lost))
    for indices, _, unusable, lost in parts:
        _check_usable(indices, np.asarray(unusable), np.asarray(lost))
    names = parts[0][1]
    return {
        name: np.concatenate([np.asarray(kept[name]) for _, kept, *_ in parts])[: len(extent)]
        for name in names
    }


def _given(inputs: PyTree, indices: np.ndarray) -> PyTree:
    """The examples of a batch, of which those on disk are read in one piece."""
    first, last = indices[0], indices[-1] + 1
    return jax.tree.map(lambda leaf: np.asarray(leaf[first:last])[indices - first], inputs)


def _check_usable(indices: np.ndarray, unusable: np.ndarray, lost: np.ndarray) -> None:
    if unusable.any():
        raise ValueError(
            f"fill(fn): the teacher's outputs for example {indices[unusable.argmax()]} hold NaN or "
            "+inf, or -inf for every class. Look for an overflow in the teacher, or leave the "
            "example out."
        )
    if lost.any():
        raise ValueError(
            f"fill(content): a number of the teacher's outputs for example "
            f"{indices[lost.argmax()]} is too large for the content's dtype. Keep it in bfloat16 "
            "or float32."
        )
