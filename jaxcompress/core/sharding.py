"""Gathers arrays that an explicit mesh shards, where reshapes need it, and back."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec, auto_axes

from jaxcompress.core.types import Array, PyTree


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


def with_whole_results(function: Callable[..., PyTree], x: Array, *rest: PyTree) -> PyTree:
    """Calls `function(x, *rest)` with its shardings left to the compiler.

    For code that sorts or reshapes, which keeps no explicit sharding.

    Args:
      function: of arrays.
      x: the array whose type names the mesh; without explicit axes there is nothing to
        leave to the compiler, and the function is called as it is.
      *rest: its other arguments, trees of arrays and numbers.

    Returns:
      What the function returns; under an explicit mesh whole on every device.

    Example:
      >>> with_whole_results(jnp.sort, jnp.array([2.0, 1.0]))
      Array([1., 2.], dtype=float32)
    """
    mesh = jax.typeof(x).sharding.mesh
    return _by_the_compiler(function, NamedSharding(mesh, PartitionSpec()), x, *rest)


def with_results_sharded_alike(function: Callable[..., PyTree], x: Array, *rest: PyTree) -> PyTree:
    """The same with results that are sharded as `x`, whose shape they have.

    Example:
      >>> with_results_sharded_alike(jnp.negative, jnp.array([2.0, 1.0]))
      Array([-2., -1.], dtype=float32)
    """
    return _by_the_compiler(function, jax.typeof(x).sharding, x, *rest)


def _by_the_compiler(function: Callable, results: NamedSharding, *arguments: PyTree) -> PyTree:
    mesh = results.mesh
    if AxisType.Explicit not in mesh.axis_types:
        return function(*arguments)
    free = auto_axes(axes=mesh.axis_names, out_sharding=results)
    return free(function)(*jax.tree.map(jnp.asarray, arguments))
