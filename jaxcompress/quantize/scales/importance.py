"""What an error at each weight counts: by the energy of its input, or as given."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxcompress.core.formats.cuts import Cut, in_blocks
from jaxcompress.core.kinds import check_numeric
from jaxcompress.core.messages import shown
from jaxcompress.core.numerics import known_extremes
from jaxcompress.core.types import Array
from jaxcompress.layerwise.solver import all_counted


def energies(blocks: Array, parts: Cut, second_moment: Array | None) -> Array:
    """The energy of the input that each weight meets; 1 without data.

    Args:
      blocks: an array in the shape of its cut.
      parts: the cut.
      second_moment: of the inputs of a flat (outputs, inputs) matrix, or None.

    Returns:
      float32 that broadcasts to the blocks.

    Example:
      >>> whole = Cut(shape=(1, 2), shared=(1,), entries=(), leaf=(0, 1))
      >>> energies(jnp.ones((1, 2)), whole, jnp.diag(jnp.array([4.0, 1.0])))
      Array([[4., 1.]], dtype=float32)
    """
    if second_moment is None:
        return jnp.ones((1,) * blocks.ndim, jnp.float32)
    energy = jnp.diagonal(all_counted(second_moment))
    outputs = blocks.size // energy.size
    return in_blocks(jnp.broadcast_to(energy, (outputs, energy.size)), parts)


def importance_of(caller: str, importance: Array, parts: Cut) -> Array:
    """An importance of the leaf's own shape, in the shape of its cut.

    Raises:
      ValueError: it does not broadcast to the leaf.

    Example:
      >>> halves = Cut(shape=(1, 2, 2), shared=(2,), entries=(2,), leaf=(0, 1, 2))
      >>> counts = jnp.array([[4.0, 1.0, 2.0, 3.0]])
      >>> importance_of("weighted_by", counts, halves).tolist()
      [[[4.0, 1.0], [2.0, 3.0]]]
    """
    given = jnp.shape(importance)
    if len(given) != len(parts.shape) - len(parts.entries):
        raise _unfit(caller, given)
    sizes = np.delete(parts.shape, parts.entries)
    for axis in parts.entries:
        sizes[axis - 1 - sum(each < axis for each in parts.entries)] *= parts.shape[axis]
    try:
        whole = jnp.broadcast_to(jnp.asarray(importance, jnp.float32), tuple(sizes))
    except ValueError:
        raise _unfit(caller, given) from None
    return in_blocks(whole, parts)


def check_importance(caller: str, importance: Array) -> None:
    """Raises an error unless it is an array of finite numbers at or above 0.

    Example:
      >>> check_importance("weighted_by", jnp.array([-1.0]))
      Traceback (most recent call last):
      ValueError: weighted_by(importance=float32[1]) must be finite and at least 0.
    """
    check_numeric(caller, "importance", importance)
    ends = known_extremes(jnp.asarray(importance))
    if ends is not None and not 0 <= ends[0] <= ends[1] < np.inf:
        raise ValueError(f"{caller}(importance={shown(importance)}) must be finite and at least 0.")


def importance_named(caller: str, name: str, leaf: Any, counts: Mapping[str, Any]) -> Any:
    """The importance of a leaf, one number for each weight or sizes of 1.

    Args:
      caller: names the method in errors.
      name: of the leaf.
      leaf: array or shape.
      counts: importances by leaf name.

    Raises:
      TypeError: it holds no numbers.
      ValueError: it is missing, not finite, below 0, or not of the leaf's shape.
    """
    if name not in counts:
        raise ValueError(
            f"{caller}(importance=...) has no leaf {name!r}, which the params have. Give each "
            "weight's importance the name of the weight."
        )
    own = counts[name]
    if not isinstance(own, jax.ShapeDtypeStruct):
        own = jnp.asarray(own)
    if not isinstance(own, Tracer | jax.ShapeDtypeStruct):
        check_importance(f"{caller}: leaf {name!r}", own)
    try:
        fits = jnp.broadcast_shapes(own.shape, tuple(leaf.shape)) == tuple(leaf.shape)
    except ValueError:
        fits = False
    if not fits or len(own.shape) != len(leaf.shape):
        raise ValueError(
            f"{caller}(importance=...): leaf {name!r} has shape {tuple(leaf.shape)}, its "
            f"importance {own.shape}. Give one number for each weight, or sizes of 1."
        )
    return own


def _unfit(caller: str, shape: tuple[int, ...]) -> ValueError:
    return ValueError(
        f"{caller}(importance=...) has shape {shape}, which does not broadcast to the leaf or "
        "matrix that is rounded. Give one of the leaf's own shape, select that leaf alone, and "
        "round it by quantize, which rounds leaves as they lie."
    )
