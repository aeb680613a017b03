"""Abstract values: shape, dtype, and the sharding where it is part of the type."""

from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import AxisType


def struct_of(aval: Any, shape: Sequence[int] | None = None) -> jax.ShapeDtypeStruct:
    """The abstract value as an argument for a trace, with another shape if given."""
    sharding = aval.sharding
    explicit = AxisType.Explicit in sharding.mesh.axis_types
    return jax.ShapeDtypeStruct(
        tuple(aval.shape if shape is None else shape),
        aval.dtype,
        sharding=sharding if explicit else None,
    )
