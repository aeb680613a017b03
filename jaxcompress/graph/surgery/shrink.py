"""Makes programs and params smaller by a removal, or masks or zeroes what it removes.

The function returned computes with sliced params what the masked program computes with
all of them. It is traced and coupled anew for every input shape, so
call it under `jax.jit`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.kinds import check_model
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Model, Params
from jaxcompress.graph.surgery.arrays import Masked, Shrunk
from jaxcompress.graph.surgery.blocks import bypassed
from jaxcompress.graph.surgery.divisors import divisor_edits
from jaxcompress.graph.surgery.removal import LeafCut, Removal, require_removal
from jaxcompress.graph.surgery.resolving import Smaller, misfit, resolve, restored
from jaxcompress.graph.surgery.stacks import shortened
from jaxcompress.graph.surgery.walk import Coupled, couple
from jaxcompress.graph.surgery.writer import Writer, written


def shrink(fn: Model, removed: Removal) -> Model:
    """The model with what was removed absent from every array.

    Every shape is derived anew; literals stay, so a mean still divides by the number it
    divided by, unless the removal says `Divisors.NEW`. Gradients that functions define
    for themselves are kept. Random bits are drawn at full size, so dropout drops what
    it would have dropped.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      removed: what goes, of the same model, at any batch size: units from
        `Couplings.removal`, or what `without_blocks` and `without_layers` removed.

    Returns:
      `fn'(params, *inputs) -> outputs` for params as `slice_params` gives them. It
      traces `fn` whenever it is called or traced: jit it.

    Raises:
      ValueError: (when called) the params do not have the sizes that the removal
        leaves, or the program has other blocks or layers, or couples its axes otherwise
        at these input shapes.

    Example:
      >>> fn = lambda params, x: jnp.tanh(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.ones((3, 8)), "out": jnp.ones((8, 2))}
      >>> x = jnp.ones((5, 3))
      >>> removed = jc.graph.couplings(fn, params, x).removal({"in:1": [0, 7]})
      >>> small = jc.graph.surgery.slice_params(params, removed)
      >>> small["in"].shape, jc.graph.surgery.shrink(fn, removed)(small, x).shape
      ((3, 6), (5, 2))
    """
    check_model("shrink", fn)
    require_removal("shrink", "removed", removed)

    def shrunk(params, *inputs):
        coupled = couple(fn, restored(params, removed), *inputs)
        smaller = _smaller(coupled, removed)
        writer = Writer(coupled.body, smaller.arrays, smaller.edits)
        return written(writer, coupled, params, inputs)

    return shrunk


def _smaller(coupled: Coupled, removal: Removal) -> Smaller:
    """How the program without what is removed is written."""
    if removal.blocks:
        found = bypassed("shrink", coupled, removal.blocks)
    elif removal.layers:
        found = shortened("shrink", coupled, dict(removal.layers))
    else:
        removed = resolve(removal, coupled.leaves)
        edits = divisor_edits(removal.divisors, coupled.body, removed)
        return Smaller(removal.cuts, Shrunk(removed), edits)
    if set(found.cuts) != set(removal.cuts):
        raise ValueError(misfit(removal, "its parts have other leaves"))
    return found


def masked(fn: Model, removed: Removal) -> Model:
    """The model at full size in which no sum or maximum sees what was removed.

    This defines what a removal means: `shrink` computes the same,
    up to the order of sums.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      removed: which units go, from `Couplings.removal`.

    Returns:
      `fn'(params, *inputs) -> outputs` for the params as they were.

    Raises:
      ValueError: (when called) the removal is of blocks or layers, which gates pass by,
        or does not fit the program.

    Example:
      >>> fn = lambda params, x: jnp.tanh(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.ones((3, 8)), "out": jnp.ones((8, 2))}
      >>> x = jnp.ones((5, 3))
      >>> removed = jc.graph.couplings(fn, params, x).removal({"in:1": [0, 7]})
      >>> jc.graph.surgery.masked(fn, removed)(params, x)[0]
      Array([5.97, 5.97], dtype=float32)
    """
    check_model("masked", fn)
    require_removal("masked", "removed", removed)

    def program(params, *inputs):
        coupled = couple(fn, params, *inputs)
        gone = resolve(removed, coupled.leaves)
        edits = divisor_edits(removed.divisors, coupled.body, gone)
        return written(Writer(coupled.body, Masked(gone), edits), coupled, params, inputs)

    return program


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
    return _with_cuts("slice_params", params, removed, _sliced)


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
        return jnp.take(leaf, np.flatnonzero(~gone), axis=cut.axis)
    # Each layer keeps indices of its own, equally many, so the result is one array.
    kept = np.stack([np.flatnonzero(~layer) for layer in gone])  # (layers, kept)
    others = [axis for axis in range(1, leaf.ndim) if axis != cut.axis]
    return jnp.take_along_axis(leaf, np.expand_dims(kept, others), axis=cut.axis)


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
    return jnp.where(np.expand_dims(gone, others), jnp.zeros((), leaf.dtype), leaf)
