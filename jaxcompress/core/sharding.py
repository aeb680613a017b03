"""Gathers arrays that an explicit mesh shards, where reshapes need it, and back."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec, auto_axes

from jaxcompress.core.types import Array, PyTree


def explicit_sharding(x: Array) -> NamedSharding | None:
    """Reads the sharding from an array's type, which has it under explicit mesh axes.

    It names the mesh, so that it can be asked for outside of `jax.set_mesh` too, where
    a bare `PartitionSpec` is refused.

    Example:
      >>> explicit_sharding(jnp.ones(2)) is None
      True
    """
    sharding = jax.typeof(x).sharding
    return sharding if any(axis is not None for axis in sharding.spec) else None


def explicit_spec(x: Array) -> PartitionSpec | None:
    """The `PartitionSpec` of the `explicit_sharding`, for what outlives its mesh.

    Example:
      >>> explicit_spec(jnp.ones(2)) is None
      True
    """
    sharding = explicit_sharding(x)
    return None if sharding is None else sharding.spec


def is_split(x: Array, axis: int) -> bool:
    """Whether an explicit mesh splits the axis: nothing can be picked or cut along it.

    Example:
      >>> is_split(jnp.ones(2), 0)
      False
    """
    sharding = explicit_sharding(x)
    return sharding is not None and _places(sharding, x.ndim)[axis] is not None


def gathered(x: Array) -> Array:
    """Gathers an array on every device, where an explicit mesh shards it.

    Sharded axes cannot be merged with others, and nothing can be picked along them.

    Example:
      >>> gathered(jnp.ones(2))
      Array([1., 1.], dtype=float32)
    """
    sharding = explicit_sharding(x)
    return x if sharding is None else placed(x, NamedSharding(sharding.mesh, PartitionSpec()))


def gathered_along(x: Array, axis: int) -> Array:
    """Gathers an array along one axis, its other axes stay sharded.

    Example:
      >>> gathered_along(jnp.ones(2), 0)
      Array([1., 1.], dtype=float32)
    """
    sharding = explicit_sharding(x)
    if sharding is None or not is_split(x, axis):
        return x
    places = _places(sharding, x.ndim)
    places[axis] = None
    return placed(x, NamedSharding(sharding.mesh, PartitionSpec(*places)))


def placed(x: Array, sharding: NamedSharding | PartitionSpec | None) -> Array:
    """Shards an array as `explicit_sharding` gave it; for None it stays as it is.

    Args:
      x: the array.
      sharding: how. A `PartitionSpec` is one of the array's own mesh or, for an array
        without one, of the mesh that `jax.set_mesh` sets.

    Example:
      >>> placed(jnp.ones(2), explicit_sharding(jnp.ones(2)))
      Array([1., 1.], dtype=float32)
    """
    mesh = jax.typeof(x).sharding.mesh
    if isinstance(sharding, PartitionSpec) and not mesh.empty:
        sharding = NamedSharding(mesh, sharding)
    return x if sharding is None else jax.sharding.reshard(x, sharding)


def in_mesh_of(x: Array, *others: Array) -> Array:
    """Puts an array without a mesh, whole, on the explicit mesh of others, if any.

    From jax 0.12 on `jnp.zeros_like` of an array that is whole on every device has no
    mesh, and neither an update of a slice nor a loop takes arrays of which some have.

    Example:
      >>> in_mesh_of(jnp.zeros(2), jnp.ones(3))
      Array([0., 0.], dtype=float32)
    """
    if not jax.typeof(x).sharding.mesh.empty:
        return x
    meshes = [jax.typeof(other).sharding.mesh for other in others]
    found = [each for each in meshes if AxisType.Explicit in each.axis_types]
    return placed(x, NamedSharding(found[0], PartitionSpec())) if found else x


def sharding_of(shape: tuple[int, ...], like: Array) -> NamedSharding | None:
    """The explicit sharding of an array, for one of another shape and the same axes.

    Axes that the mesh does not divide are whole on every device.

    Example:
      >>> sharding_of((3,), like=jnp.ones(2)) is None
      True
    """
    sharding = explicit_sharding(like)
    if sharding is None:
        return None
    sizes = sharding.mesh.shape
    places = [
        None if size % math.prod(sizes[name] for name in _names(place)) else place
        for size, place in zip(shape, _places(sharding, len(shape)), strict=True)
    ]
    return NamedSharding(sharding.mesh, PartitionSpec(*places))


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


def with_results_of_a_product(function: Callable[..., Array], a: Array, b: Array, *rest: PyTree):
    """The same with a result that is sharded as a product of matrices, a · bᵀ.

    Args:
      function: of arrays, to one of (batch…, M, N).
      a: (batch…, M, K); its sharding is that of the batch and of M.
      b: (batch…, N, K); its sharding is that of N, where `a` leaves these devices.
      *rest: its other arguments, trees of arrays and numbers.

    Example:
      >>> a = jnp.ones((1, 2))
      >>> with_results_of_a_product(lambda a, b: a @ b.T, a, a)
      Array([[2.]], dtype=float32)
    """
    meshes = [jax.typeof(each).sharding.mesh for each in (a, b)]
    mesh = meshes[0] if AxisType.Explicit in meshes[0].axis_types else meshes[1]
    first, second = (_places(jax.typeof(each).sharding, each.ndim) for each in (a, b))
    taken = {name for place in first[:-1] for name in _names(place)}
    last = None if taken.intersection(_names(second[-2])) else second[-2]
    results = NamedSharding(mesh, PartitionSpec(*first[:-1], last))
    return _by_the_compiler(function, results, a, b, *rest)


def _by_the_compiler(
    function: Callable[..., Any], results: NamedSharding, *arguments: PyTree
) -> PyTree:
    mesh = results.mesh
    if AxisType.Explicit not in mesh.axis_types:
        return function(*arguments)
    free = auto_axes(axes=mesh.axis_names, out_sharding=results)
    return free(function)(*jax.tree.map(jnp.asarray, arguments))


def _places(sharding: NamedSharding, ndim: int) -> list[Any]:
    """What splits each axis; a spec may end before the axes do."""
    return [*sharding.spec, *(None for _ in range(ndim - len(sharding.spec)))]


def _names(place: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return () if place is None else (place,) if isinstance(place, str) else tuple(place)
