"""State and checks that optimizers share which are given a curvature.

The curvature comes as an extra argument of `update`, a function of a key. So it is
evaluated only at the steps that need it, and the key that it draws with is in the
state. It closes over params and batch: also inside `optax.masked` it sees all params.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.names import named_leaves
from jaxcompress.core.types import Key, PyTree

Diagonal = Callable[[Key], PyTree]
"""key -> an estimate of the curvature's diagonal, a tree like the params."""


class CurvatureState(NamedTuple):
    """The state of an optimizer with a diagonal curvature.

    Attributes:
      count: () int32, updates so far.
      key: () PRNG key of the next estimate.
      moments: by name, a tree of the params' structure of float32 arrays.
    """

    count: ArrayLike
    key: Key
    moments: dict[str, PyTree]


def require_argument(caller: str, argument: str, value: Any, mend: str) -> Any:
    """The extra argument of `update`, or a ValueError where it is missing.

    Args:
      caller: the name that the error gives.
      argument: its name.
      value: what came; None where nothing did.
      mend: an example of what to pass, as source text.
    """
    if value is None:
        raise ValueError(
            f"{caller}(...).update(updates, state, params, {argument}=...) needs the extra "
            f"argument {argument}=, for example {argument}={mend}."
        )
    return value


def require_function(caller: str, argument: str, value: Any, mend: str) -> Callable[..., Any]:
    """As `require_argument`; a TypeError where the argument cannot be called."""
    if not callable(require_argument(caller, argument, value, mend)):
        raise TypeError(
            f"{caller}(...).update(updates, state, params, {argument}=...) got a "
            f"{type(value).__name__}, which cannot be called. "
            f"Pass a function, for example {argument}={mend}."
        )
    return value


def read_diagonal(caller: str, diagonal: Diagonal, key: Key, updates: optax.Updates) -> PyTree:
    """The diagonal at the leaves of `updates`, in float32.

    Args:
      caller: the name that errors give.
      diagonal: a function of a key.
      key: PRNG key.
      updates: tree of arrays; where it holds an `optax.MaskedNode` the diagonal may
        hold anything.

    Returns:
      Tree of the structure of `updates`.

    Raises:
      ValueError: the diagonal has another structure, or a leaf another shape.
    """
    nodes, outline = jax.tree.flatten(updates, is_leaf=_is_masked)
    given = outline.flatten_up_to(diagonal(key))
    kept = [leaf for node, leaf in zip(nodes, given, strict=True) if not _is_masked(node)]
    for (name, update), leaf in zip(named_leaves(updates).items(), kept, strict=True):
        if jnp.shape(leaf) != update.shape:
            raise ValueError(
                f"{caller}(...).update(..., diagonal=...): leaf {name!r} of the diagonal has "
                f"shape {jnp.shape(leaf)}, its gradient {update.shape}. "
                "Return one number per entry of the params."
            )
    return jax.tree.structure(updates).unflatten([leaf.astype(jnp.float32) for leaf in kept])


def zeros_in_float32(tree: PyTree) -> PyTree:
    """Zeros of the leaves' shapes, sharded as they are."""
    return jax.tree.map(lambda leaf: jnp.zeros_like(leaf, jnp.float32), tree)


def _is_masked(node: Any) -> bool:
    return isinstance(node, optax.MaskedNode)
