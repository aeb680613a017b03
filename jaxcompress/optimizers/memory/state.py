"""An optimizer whose state is kept in low-bit codes between steps."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import DictKey, GetAttrKey, SequenceKey

from jaxcompress.core.checks import check_real
from jaxcompress.core.correspondence import start_of_param
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.names import leaf_names
from jaxcompress.core.types import Array, Key, Params, PyTree, Selector
from jaxcompress.optimizers.memory.codes import Bfloat16Format, Format, dynamic8, is_stored

LARGE = 4096

NEVER_NEGATIVE = (
    "second_moment",
    "largest_moment",
    "row_moment",
    "column_moment",
    "nu",
    "nu_max",
    "e_g",
    "e_x",
    "sum_of_squares",
    "grad_sum_of_squares",
    "FactoredState.v",
    "ScaleByAdanState.n",
)
"""Fields of our states and of optax's that hold averages or sums of squares."""


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
    return jax.tree.map(
        lambda leaf: bool(jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.size >= LARGE),
        params,
        is_leaf=is_compressed,
    )


def quantize_state(
    inner: optax.GradientTransformation,
    format: Format = dynamic8(),
    *,
    select: Selector = large,
    unsigned: tuple[str, ...] = NEVER_NEGATIVE,
    key: Key | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Runs `inner` as it is, and keeps its state in low-bit codes between steps.

    At each step the state is decoded, `inner` acts on it, and it is encoded again. An
    array of the state is compressed when it stands for a selected parameter: its path
    ends with the parameter's and its shape is the parameter's. So moments, traces and
    accumulated gradients are, while counts, hyperparameters and factored moments stay
    as they are. The choice is made from logical shapes and never from the sharding.
    It buys memory and not time: on a CPU the update takes several times as long.

    Embeddings are better left out, as `select=jc.all_of(jc.optimizers.large,
    jc.none_of(jc.matching("*embedding*")))` does. What changes params or gradients goes
    inside or outside alike: chains, `optax.masked`, `partition`, `MultiSteps`,
    `inject_hyperparams`.

    Args:
      inner: any transformation.
      format: of the codes: `dynamic8()`, `linear8()`, `linear4()`, `fp8()` or
        `stochastic_bfloat16()`.
      select: the params whose state is compressed.
      unsigned: fields of the state whose numbers are never below 0, as "field" or
        "StateType.field"; they take the format's unsigned codes. A negative number in
        such a field makes its block NaN.
      key: for stochastic rounding; without it codes are the nearest.

    Returns:
      Transformation with a `CompressedState`; extra arguments go to `inner`.

    Raises:
      ValueError: the format rounds stochastically and there is no key; when `init` sees
        the params: a selected leaf is empty.
      TypeError: when `init` sees the params: a selected leaf is not real floating.

    Example:
      >>> optimizer = jc.optimizers.quantize_state(optax.adam(1e-3))
      >>> state = jax.eval_shape(optimizer.init, {"kernel": jnp.ones((64, 64))})
      >>> state.inner[0].mu["kernel"].codes
      ShapeDtypeStruct(shape=(2, 2048), dtype=uint8)

    Source: Dettmers et al. 2021, arXiv:2110.02861, section 2. Differs: any optimizer;
    the update itself is the inner one's.
    """
    if key is None and isinstance(format, Bfloat16Format):
        raise ValueError(
            f"quantize_state(format={format.name}()) rounds at random: give it a key=."
        )
    inner = optax.with_extra_args_support(inner)

    def init(params: Params) -> CompressedState:
        state = inner.init(params)
        shapes = _selected_shapes(params, select)
        leaves, structure = jax.tree_util.tree_flatten_with_path(state)
        stored = []
        for path, leaf in leaves:
            start = start_of_param(path, leaf, shapes)
            if start is None:
                stored.append(leaf)
                continue
            positive = not _fields(state, path[:start]).isdisjoint(unsigned)
            stored.append((format.unsigned if positive else format).encode(leaf))
        # A copy, so that a caller who gives the state away keeps the key.
        own = None if key is None else jnp.copy(key)
        return CompressedState(jax.tree.unflatten(structure, stored), own)

    def update(updates: optax.Updates, state: Any, params: Params = None, **extra):
        before = jax.tree.map(_decoded, state.inner, is_leaf=is_stored)
        updates, after = inner.update(updates, before, params, **extra)
        following, now = (None, None) if state.key is None else jax.random.split(state.key)
        return updates, CompressedState(_encoded(state.inner, after, now), following)

    return optax.GradientTransformationExtraArgs(init, update)


def _decoded(node):
    return node.format.decode(node) if is_stored(node) else node


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
            one = _one_after(leaf.codes)
        encoded.append(leaf)
    return jax.tree.unflatten(structure, encoded)


def _one_after(codes: Array) -> Array:
    """1, once the codes are there; of bfloat16, which may hold NaN, the bits count."""
    first = codes[(0,) * codes.ndim]
    if first.dtype == jnp.bfloat16:
        first = jax.lax.bitcast_convert_type(first, jnp.uint16)
    return 1 + jnp.minimum(first.astype(jnp.float32), 0)


def _selected_shapes(params: Params, select: Selector) -> dict[tuple, tuple[int, ...]]:
    """The shapes of the selected params, by path."""
    shapes = {}
    chosen, names = jax.tree.leaves(select(params)), jax.tree.leaves(leaf_names(params))
    leaves = jax.tree_util.tree_leaves_with_path(params, is_leaf=is_compressed)
    for (path, leaf), name, selected in zip(leaves, names, chosen, strict=True):
        if selected:
            check_real("quantize_state", name, leaf)
            shapes[path] = tuple(leaf.shape)
    return shapes


def _fields(state: PyTree, path: tuple) -> set[str]:
    """The names on a path of a state: "field" and "StateType.field"."""
    names = set()
    for entry in path:
        match entry:
            case GetAttrKey(name=name):
                names |= {name, f"{type(state).__name__}.{name}"}
                state = getattr(state, name)
            case DictKey(key=key):
                names.add(str(key))
                state = state[key]
            case SequenceKey(idx=index):
                state = state[index]
            case _:
                break
    return names
