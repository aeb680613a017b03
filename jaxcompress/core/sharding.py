"""Gathers arrays that an explicit mesh shards, where reshapes need it, and back."""

import jax
from jax.sharding import NamedSharding, PartitionSpec

from jaxcompress.core.types import Array


def explicit_spec(x: Array) -> PartitionSpec | None:
    """Reads the sharding from an array's type, which has it under explicit mesh axes.

    Example:
      >>> explicit_spec(jnp.ones(2)) is None
      True
    """
    spec = jax.typeof(x).sharding.spec
    return spec if any(axis is not None for axis in spec) else None


def gathered(x: Array) -> Array:
    """Gathers an array on every device, where an explicit mesh shards it.

    Sharded axes cannot be merged with others, and nothing can be picked along them.

    Example:
      >>> gathered(jnp.ones(2))
      Array([1., 1.], dtype=float32)
    """
    if explicit_spec(x) is None:
        return x
    mesh = jax.typeof(x).sharding.mesh
    return jax.sharding.reshard(x, NamedSharding(mesh, PartitionSpec()))


def placed(x: Array, spec: PartitionSpec | None) -> Array:
    """Shards an array by an `explicit_spec`; for None it stays as it is.

    Example:
      >>> placed(jnp.ones(2), explicit_spec(jnp.ones(2)))
      Array([1., 1.], dtype=float32)
    """
    return x if spec is None else jax.sharding.reshard(x, spec)
