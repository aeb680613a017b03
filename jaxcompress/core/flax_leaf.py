"""Lets Linen accept a compressed leaf as a boxed parameter, without importing Flax.

Linen checks the shape of a parameter's arrays against its initialiser unless the value
is an `AxisMetadata`, which it unboxes. Whenever a compressed leaf is made, jit and
`jax.tree.map` included, its base class is registered as a virtual one, if Flax is
loaded by then.
"""

import sys


def register(leaf_class: type) -> None:
    """Makes `leaf_class` a virtual `AxisMetadata`, if Flax is loaded by now."""
    metadata = sys.modules.get("flax.core.meta")
    boxed = getattr(metadata, "AxisMetadata", None)
    if boxed is not None and not issubclass(leaf_class, boxed):
        boxed.register(leaf_class)
