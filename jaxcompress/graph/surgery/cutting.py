"""Cuts params by a removal, or puts zeros in place of what it removes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.host import on_host
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Params
from jaxcompress.graph.surgery.removal import LeafCut, Removal, require_removal


def slice_params(params: Params, removed: Removal) -> Params:
    """The params without what was removed.

    Args:
      params: tree of arrays, or of shapes.
      removed: what goes.

    Returns:
      A tree of the same structure; leaves that lose nothing are the same objects.

    Raises:
      ValueError: a leaf does not have the size that the removal was made for.
      TypeError: a leaf to be cut is compressed.

    Example:
      >>> fn = lambda params, x: jnp.tanh(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.ones((3, 4)), "out": jnp.arange(4.0)[:, None]}
      >>> x = jnp.ones((5, 3))
      >>> removed = jc.graph.couplings(fn, params, x).removal({"in:1": [1]})
      >>> jc.graph.surgery.slice_params(params, removed)["out"][:, 0]
      Array([0., 2., 3.], dtype=float32)
    """
    check_arrays("slice_params", "params", params)
    require_removal("slice_params", "removed", removed)
    return cut_params("slice_params", params, removed)


def cut_params(caller: str, params: Params, removed: Removal) -> Params:
    """`slice_params` for a callable that errors name."""
    return _with_cuts(caller, params, removed, _sliced)


def zero_params(params: Params, removed: Removal) -> Params:
    """The params with zeros for what was removed: what ordinary pruning leaves.

    Args:
      params: tree of arrays.
      removed: what goes.

    Returns:
      A tree of the same structure, shapes and dtypes.

    Raises:
      ValueError: a leaf does not have the size that the removal was made for.

    Example:
      >>> fn = lambda params, x: jnp.tanh(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.ones((3, 4)), "out": jnp.ones((4, 1))}
      >>> x = jnp.ones((5, 3))
      >>> removed = jc.graph.couplings(fn, params, x).removal({"in:1": [1]})
      >>> jc.graph.surgery.zero_params(params, removed)["in"][0]
      Array([1., 0., 1., 1.], dtype=float32)
    """
    check_arrays("zero_params", "params", params)
    require_removal("zero_params", "removed", removed)
    return _with_cuts("zero_params", params, removed, _zeroed)


def _with_cuts(caller: str, params: Params, removed: Removal, change: Callable[..., Any]) -> Params:
    leaves = named_leaves(params)
    for cut in removed.cuts:
        _check(caller, cut, leaves)

    def changed(name: str, leaf):
        for cut in removed.of(name):
            leaf = change(leaf, cut)
        return leaf

    return map_named(changed, params)


def _check(caller: str, cut: LeafCut, leaves: dict[Any, Any]) -> None:
    if cut.leaf not in leaves:
        raise ValueError(
            f"{caller}: the removal cuts leaf {cut.leaf!r}, which the params do not have."
        )
    leaf = leaves[cut.leaf]
    if is_compressed(leaf):
        raise TypeError(f"{caller}: leaf {cut.leaf!r} is compressed. Remove first, then compress.")
    if not cut.fits(tuple(leaf.shape), cut.size):
        layers = f" in each of {len(cut.indices)} layers" if cut.per_layer else ""
        raise ValueError(
            f"{caller}: leaf {cut.leaf!r} has shape {tuple(leaf.shape)}; the removal was made for "
            f"{cut.size} indices along axis {cut.axis}{layers}."
        )


def _sliced(leaf, cut: LeafCut):
    if isinstance(leaf, jax.ShapeDtypeStruct):
        shape = list(leaf.shape)
        shape[cut.axis] -= cut.count
        return jax.ShapeDtypeStruct(tuple(shape), leaf.dtype)
    if not isinstance(leaf, jax.Array) or isinstance(leaf, jax.core.Tracer):
        return _kept(leaf, cut)
    sharding = leaf.sharding
    if not isinstance(sharding, jax.sharding.NamedSharding):
        return _kept(leaf, cut)
    _check_divisible(leaf, cut, sharding)
    # Gathered, cut and spread again: a take along a sharded axis raises on an explicit
    # mesh, and comes back replicated on an automatic one.
    mesh = sharding.mesh
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    return jax.device_put(_kept(jax.device_put(leaf, whole), cut), sharding)


def _kept(leaf, cut: LeafCut):
    gone = cut.gone
    if gone.ndim == 1:
        kept = np.flatnonzero(~gone)
        return _changed(leaf, lambda xp, array: xp.take(array, kept, axis=cut.axis))
    # Each layer keeps indices of its own, equally many, so the result is one array.
    rows = np.stack([np.flatnonzero(~layer) for layer in gone])  # (layers, kept)
    others = [axis for axis in range(1, leaf.ndim) if axis != cut.axis]
    kept = np.expand_dims(rows, others)
    return _changed(leaf, lambda xp, array: xp.take_along_axis(array, kept, axis=cut.axis))


def _check_divisible(leaf, cut: LeafCut, sharding: jax.sharding.NamedSharding) -> None:
    """A mesh axis divides what stays, or says what to do."""
    shard = sharding.shard_shape(leaf.shape)
    devices = leaf.shape[cut.axis] // shard[cut.axis]
    stays = cut.size - cut.count
    if stays % devices:
        raise ValueError(
            f"slice_params: leaf {cut.leaf!r} keeps {stays} of {cut.size} indices along "
            f"axis {cut.axis}, which is sharded over {devices} devices. "
            f"Keep a multiple of {devices}."
        )


def _zeroed(leaf, cut: LeafCut):
    gone = cut.gone
    kept_axes = (cut.axis,) if gone.ndim == 1 else (0, cut.axis)
    others = [axis for axis in range(leaf.ndim) if axis not in kept_axes]
    lost = np.expand_dims(gone, others)
    return _changed(leaf, lambda xp, array: xp.where(lost, xp.zeros((), array.dtype), array))


def _changed(leaf, change: Callable[[Any, Any], Any]):
    """What `change(numpy or jax.numpy, array)` makes of a leaf, where the leaf lies."""
    if not on_host(leaf):
        return change(jnp, leaf)
    changed = change(np, np.asarray(leaf))
    committed = isinstance(leaf, jax.Array) and leaf.committed
    # Not `jnp.asarray`, which compiles a copy for every shape.
    return jax.device_put(changed, leaf.sharding if committed else None)
