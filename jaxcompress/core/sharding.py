"""Arrays that an explicit mesh shards: whole where reshapes need it, and back."""

import jax
from jax.sharding import NamedSharding, PartitionSpec

from jaxcompress.core.types import Array


def explicit_spec(x: Array) -> PartitionSpec | None:
    """How the array's type says that it is sharded, as it does under explicit axes.

    Example:
      >>> explicit_spec(jnp.ones(2)) is None
      True
    """
    spec = jax.typeof(x).sharding.spec
    return spec if any(axis is not None for axis in spec) else None


def gathered(x: Array) -> Array:
    """The array whole on every device, where an explicit mesh shards it.

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
    """The array sharded by an `explicit_spec`; as it is for None.

    Example:
      >>> placed(jnp.ones(2), explicit_spec(jnp.ones(2)))
      Array([1., 1.], dtype=float32)
    """
    return x if spec is None else jax.sharding.reshard(x, spec)
