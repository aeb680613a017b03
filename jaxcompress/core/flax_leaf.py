"""What Flax asks of a tree and of its leaves, without importing Flax.

Linen checks the shape of a parameter's arrays against its initialiser unless the value
is an `AxisMetadata`, which it unboxes; `flax.serialization` takes apart the types it
knows. Whenever a compressed leaf is made, jit and `jax.tree.map` included, its class is
registered with both, if Flax is loaded by then. `nnx.Optimizer` keeps each array of its
state in a variable.
"""

import sys
from typing import Any

from jaxcompress.core.types import PyTree


def register(leaf_class: type[Any], base: type[Any]) -> None:
    """Registers a class of leaves with Flax, if Flax is loaded by now.

    Args:
      leaf_class: has `parts`, the arrays it holds by name, and `with_parts`, which
        gives the leaf with others in their place.
      base: of all such classes, which becomes a virtual `AxisMetadata`.
    """
    metadata = sys.modules.get("flax.core.meta")
    boxed = getattr(metadata, "AxisMetadata", None)
    if boxed is not None and not issubclass(base, boxed):
        boxed.register(base)
    serialization = sys.modules.get("flax.serialization")
    known = getattr(serialization, "is_serializable", None)
    if known is not None and not known(leaf_class):
        _register_state(serialization, leaf_class)


def _register_state(serialization, leaf_class: type[Any]) -> None:
    def to_state(leaf) -> PyTree:
        return {name: serialization.to_state_dict(part) for name, part in leaf.parts.items()}

    def from_state(leaf, state: PyTree):
        return leaf.with_parts(
            {
                name: serialization.from_state_dict(part, state[name], name)
                for name, part in leaf.parts.items()
            }
        )

    serialization.register_serialization_state(leaf_class, to_state, from_state)


def unwrapped(tree: PyTree) -> PyTree:
    """The tree with the arrays of NNX variables in place of the variables."""
    nnx = sys.modules.get("flax.nnx")
    # Flax 0.12.0 has the older of the two names alone.
    pure = getattr(nnx, "as_pure", getattr(nnx, "pure", None))
    return tree if pure is None else pure(tree)
