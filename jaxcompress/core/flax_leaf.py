"""What Flax asks of a tree and of its leaves, without importing Flax.

Linen checks the shape of a parameter's arrays against its initialiser unless the value
is an `AxisMetadata`, which it unboxes. Whenever a compressed leaf is made, jit and
`jax.tree.map` included, its base class is registered as a virtual one, if Flax is
loaded by then. `nnx.Optimizer` keeps each array of its state in a variable.
"""

import sys

from jaxcompress.core.types import PyTree


def register(leaf_class: type) -> None:
    """Makes `leaf_class` a virtual `AxisMetadata`, if Flax is loaded by now."""
    metadata = sys.modules.get("flax.core.meta")
    boxed = getattr(metadata, "AxisMetadata", None)
    if boxed is not None and not issubclass(leaf_class, boxed):
        boxed.register(leaf_class)


def unwrapped(tree: PyTree) -> PyTree:
    """The tree with the arrays of NNX variables in place of the variables."""
    nnx = sys.modules.get("flax.nnx")
    # Flax 0.12.0 has the older of the two names alone.
    pure = getattr(nnx, "as_pure", getattr(nnx, "pure", None))
    return tree if pure is None else pure(tree)
