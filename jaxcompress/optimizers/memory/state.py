"""An optimizer whose state is kept in fewer bits between steps."""

import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcompress.core.checks import check_real
from jaxcompress.core.correspondence import start_of_param
from jaxcompress.core.kinds import check_key, check_kind, check_selector, check_transformation
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.names import leaf_names, map_named
from jaxcompress.core.rules import Rules, as_rules
from jaxcompress.core.sharding import with_whole_results
from jaxcompress.core.trees import check_arrays, chosen_by
from jaxcompress.core.types import Array, Key, Params, PyTree, Selector
from jaxcompress.optimizers.leafwise import check_gradients, in_nodes_of
from jaxcompress.optimizers.memory.codes import Format, Stored, dynamic8, is_stored
from jaxcompress.optimizers.memory.exact import Exact, exact_leaves, follows_values

LARGE = 4096


class CompressedState(NamedTuple):
    """The state of a transformation, its large arrays in codes.

    Attributes:
      inner: the inner transformation's state, a `Stored` in the place of each array
        that is compressed.
      key: () key of stochastic rounding, split at each step; None without it.
    """

    inner: optax.OptState
    key: PyTree


def large(params: Params) -> PyTree:
    """Selects real floating leaves of at least 4096 entries.

    In smaller ones codes save little, and they are the biases and norms whose errors
    tell the most.
    """
    check_arrays("large", "params", params)

    def chosen(name: str, leaf) -> bool:
        dtype = getattr(leaf, "dtype", None) or jnp.result_type(leaf)
        return bool(jnp.issubdtype(dtype, jnp.floating) and np.size(leaf) >= LARGE)

    return map_named(chosen, params)


def quantize_state(
    inner: optax.GradientTransformation,
    format: Format | Rules[Format] = dynamic8(),
    *,
    select: Selector = large,
    key: Key | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Runs `inner` as it is, and keeps its state in fewer bits between steps.

    At each step the state is decoded, `inner` acts on it, and it is encoded again. An
    array of the state is compressed when it stands for a selected parameter: its path
    ends with the parameter's and its shape is the parameter's. So moments, traces and
    accumulated gradients are, while counts, hyperparameters and factored moments stay
    as they are. The choice is made from logical shapes and never from the sharding.

    Not for: speed; on a CPU the update takes several times as long.

    Nothing is known by the names of fields. Whether numbers are below 0 is seen block
    by block at every step. Two kinds of array are read from the jaxprs of `inner`, and
    kept as they are: what `init` makes of the params' values (the weights that
    schedule-free, Prodigy, DoG, COCOB or Mechanic keep), and what `update` subtracts
    under a root (both moments of centered RMSprop). An optimizer that compares a step's
    params with the last one's (L-BFGS) is refused.

    Embeddings are better left out, as `select=jc.all_of(jc.optimizers.large,
    jc.none_of(jc.matching("*embedding*")))` does. What changes params or gradients goes
    inside or outside alike: chains, `optax.masked`, `partition`, `MultiSteps`,
    `inject_hyperparams`.

    Args:
      inner: any transformation.
      format: `dynamic8()`, `linear8()`, `linear4()`, `fp8()` or `bfloat16()`; or
        `Rules` over the names of the state's arrays, such as "0/moments/first_moment/
        kernel", where one moment tolerates more rounding than another. An array that no
        rule matches stays as it is.
      select: the params whose state is compressed.
      key: for stochastic rounding, which is right in the mean; without it codes are
        the nearest.

    Returns:
      Transformation with a `CompressedState`; extra arguments go to `inner`.

    Raises:
      ValueError: when `init` sees the params: a selected leaf is empty, or a rule
        matches no array that is compressed; there, or in `update` where that takes
        extra arguments: `inner` holds what codes are too coarse for.
      TypeError: when `init` sees the params: a selected leaf is not real floating;
        there or in `update`: `inner` cannot be traced, as `jax.jit` would trace it.

    Example:
      >>> optimizer = jc.optimizers.quantize_state(optax.adam(1e-3))
      >>> state = jax.eval_shape(optimizer.init, {"kernel": jnp.ones((64, 64))})
      >>> state.inner[0].mu["kernel"].codes
      ShapeDtypeStruct(shape=(2, 2048), dtype=uint8)

      Half the bytes for the mean of gradients, and none saved on that of squares:

      >>> halved = jc.Rules({"*first_moment*": jc.optimizers.bfloat16()})
      >>> optimizer = jc.optimizers.quantize_state(jc.optimizers.adam(1e-3), halved)
      >>> state = jax.eval_shape(optimizer.init, {"kernel": jnp.ones((64, 64))})
      >>> state.inner[0].moments["first_moment"]["kernel"].codes
      ShapeDtypeStruct(shape=(64, 64), dtype=bfloat16)

    Also known as: 8-bit Adam, low-bit optimizer states.

    Source: Dettmers et al. 2021, arXiv:2110.02861, section 2. Differs: any optimizer;
    the update itself is the inner one's.
    """
    check_transformation("quantize_state", "inner", inner)
    check_selector("quantize_state", "select", select)
    if key is not None:
        check_key("quantize_state", "key", key)
    formats = as_rules(format)
    for _, each in formats.pairs:
        check_kind("quantize_state", "format", each, Format, "Call one, as dynamic8().")
    inner = optax.with_extra_args_support(inner)

    def init(params: Params) -> CompressedState:
        shapes = _selected_shapes(params, select)
        state = inner.init(params)
        weights = jax.tree.leaves(follows_values(inner.init, params))
        exact = _seen_beforehand(inner, state, params)
        plain = [any(reasons) for reasons in zip(weights, exact.rooted, strict=True)]
        leaves, structure = jax.tree_util.tree_flatten_with_path(state)
        coarse = {
            rank: _name(path)
            for rank, ((path, leaf), kept) in enumerate(zip(leaves, plain, strict=True))
            if not kept and start_of_param(path, leaf, shapes) is not None
        }
        chosen = formats.assign(coarse.values())
        stored = [
            chosen[coarse[rank]].encode(leaf) if coarse.get(rank) in chosen else leaf
            for rank, (_, leaf) in enumerate(leaves)
        ]
        compressed = jax.tree.unflatten(structure, stored)
        _check_coded(compressed, exact)
        # A copy, so that a caller who gives the state away keeps the key.
        return CompressedState(compressed, None if key is None else jnp.copy(key))

    def update(updates: optax.Updates, state: Any, params: Params = None, **extra):
        check_gradients("quantize_state", updates, params)
        given, state = state, _as_begun(state, init, updates if params is None else params)
        before = jax.tree.map(
            lambda node: node.format.decode(node) if is_stored(node) else node,
            state.inner,
            is_leaf=is_stored,
        )
        run = functools.partial(inner.update, **extra)
        _check_coded(state.inner, exact_leaves(run, updates, before, params))
        updates, after = run(updates, before, params)
        following, now = (None, None) if state.key is None else jax.random.split(state.key)
        after = CompressedState(_encoded(state.inner, after, now), following)
        return updates, in_nodes_of(after, given)

    return optax.GradientTransformationExtraArgs(init, update)


def _as_begun(state: PyTree, init: Callable[..., Any], params: Params) -> PyTree:
    """The leaves of the state in the nodes that `init` makes; see `in_nodes_of`."""
    if any(map(is_stored, jax.tree.leaves(state, is_leaf=is_stored))):
        return state
    begun = jax.eval_shape(init, params)
    fits = len(jax.tree.leaves(begun)) == len(jax.tree.leaves(state))
    return in_nodes_of(state, begun) if fits else state


def _seen_beforehand(
    inner: optax.GradientTransformation, state: optax.OptState, params: Params
) -> Exact:
    """What must not be rounded, found from an update without extra arguments."""
    try:
        return exact_leaves(inner.update, params, state, params)
    except (TypeError, ValueError):
        # It asks for more than gradients; `update` looks again when all is there.
        nothing = [False] * len(jax.tree.leaves(state))
        return Exact(nothing, nothing)


def _check_coded(state: PyTree, exact: Exact) -> None:
    """Raises a ValueError where codes hold an array that must not be rounded."""
    leaves = jax.tree_util.tree_leaves_with_path(state, is_leaf=is_stored)
    for (path, leaf), copies, rooted in zip(leaves, *exact, strict=True):
        if is_stored(leaf) and (copies or rooted):
            name = _name(path)
            reason = (
                f"copies the params to {name!r} of its state to compare steps by"
                if copies
                else f"takes a root of a difference of {name!r} of its state and another"
            )
            raise ValueError(
                f"quantize_state(inner): inner {reason}, for which codes are too coarse. Put "
                "quantize_state around the parts of a chain that only hold moments."
            )


def _name(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _encoded(stored: PyTree, state: PyTree, key: Key | None) -> PyTree:
    """`state` in the form of `stored`; each array draws from its own key.

    One array after the other: each waits for a 1 that comes of the last one's codes. A
    compiler that is free to encode all at once keeps all of them decoded in memory.
    """
    forms, structure = jax.tree.flatten(stored, is_leaf=is_stored)
    one, encoded = jnp.float32(1), []
    for rank, (form, leaf) in enumerate(zip(forms, structure.flatten_up_to(state), strict=True)):
        if is_stored(form):
            own = None if key is None else jax.random.fold_in(key, rank)
            leaf = form.format.encode(leaf * one.astype(leaf.dtype), own)
            one = _one_after(leaf)
        encoded.append(leaf)
    return jax.tree.unflatten(structure, encoded)


def _one_after(stored: Stored) -> Array:
    """The number 1, known only once the array has been read to be encoded."""
    # Of a scale where there is one: a maximum, which XLA computes once. The program of
    # a code it fuses into all that waits for the code: that of the first array into the
    # second, both into the third, and so minutes of compilation for 32 layers.
    waited = stored.codes if stored.scales is None else stored.scales
    kind = jnp.uint16 if waited.dtype == jnp.bfloat16 else jnp.uint32
    # Bits, since there may be NaN; their minimum with 0 is 0, which XLA does not see.
    first = with_whole_results(operator.itemgetter((0,) * waited.ndim), waited)
    bits = jax.lax.bitcast_convert_type(first, kind)
    return 1 + jnp.minimum(bits.astype(jnp.float32), 0)


def _selected_shapes(params: Params, select: Selector) -> dict[tuple[Any, ...], tuple[int, ...]]:
    """The shapes of the selected params, by path."""
    shapes = {}
    chosen, names = chosen_by("quantize_state", select, params), jax.tree.leaves(leaf_names(params))
    leaves = jax.tree_util.tree_leaves_with_path(params, is_leaf=is_compressed)
    for (path, leaf), name in zip(leaves, names, strict=True):
        if chosen[name]:
            check_real("quantize_state", name, leaf)
            shapes[path] = tuple(leaf.shape)
    return shapes
