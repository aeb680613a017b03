"""From the rule of one array to an optax transformation over a tree."""

from collections.abc import Callable
from numbers import Number
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_number, require_params
from jaxcompress.core.kinds import check_function, check_select, check_text
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.selectors import meeting_data
from jaxcompress.core.trees import chosen_by, first_difference
from jaxcompress.core.types import Array, Params, PyTree, Selector


class MomentsState(NamedTuple):
    """The state of an optimizer that looks at each number by itself.

    Attributes:
      count: () int32, updates so far.
      moments: by name, a tree of the params' structure and shapes, float32.
        `optax.tree.get(opt_state, name)` finds one.
    """

    count: ArrayLike
    moments: dict[str, PyTree]


def leafwise(
    caller: str, step: Callable[..., tuple[Any, ...]], *moments: str, initial: ArrayLike = 0.0
) -> optax.GradientTransformation:
    """Runs `step` on every leaf in float32, and keeps its moments between steps.

    Args:
      caller: the name that errors give.
      step: (count () int32 from 1, gradient (…), *moments (…)) -> (update, *moments),
        all float32 but the count.
      *moments: the name of each moment, in the order in which `step` takes them.
      initial: () what every moment starts from.

    Returns:
      Transformation with a `MomentsState`. Updates have the dtype of the gradients;
      float64 gradients, too, are worked on in float32.

    Raises:
      TypeError: when `init` sees the params: a leaf is not real floating, or is
        compressed.

    Example:
      >>> half = lambda count, gradient: (gradient / 2,)
      >>> halved = jc.optimizers.leafwise("halved", half)
      >>> halved.update({"w": jnp.ones(2)}, halved.init({"w": jnp.ones(2)}))[0]
      {'w': Array([0.5, 0.5], dtype=float32)}
    """
    check_text("leafwise", "caller", caller)
    check_function("leafwise", "step", step, "It is the rule of one leaf.")
    for name in moments:
        check_text("leafwise", "moments", name)
    check_number("leafwise", "initial", initial)

    def init(params: Params) -> MomentsState:
        check_trainable(caller, params)

        def start() -> PyTree:
            return jax.tree.map(lambda leaf: jnp.full_like(leaf, initial, jnp.float32), params)

        return MomentsState(jnp.zeros((), jnp.int32), {name: start() for name in moments})

    def update(updates: optax.Updates, state: Any, params: Params = None):
        check_gradients(caller, updates, params)
        check_gradients(caller, updates, *state.moments.values())
        count = optax.safe_increment(state.count)

        def on_leaf(gradient: Array, *before: Array) -> tuple[Any, ...]:
            update, *after = step(count, gradient.astype(jnp.float32), *before)
            return narrowed(update, gradient.dtype), *after

        before = [state.moments[name] for name in moments]
        updates, *after = map_to_trees(on_leaf, 1 + len(moments), updates, *before)
        return updates, MomentsState(count, dict(zip(moments, after, strict=True)))

    return optax.GradientTransformation(init, update)


Rewrite = Callable[[str, Array, Array], Array]
"""(name, leaf, update) -> update of the leaf's shape."""


def on_selected(
    caller: str, select: Selector | None, rewrite: Rewrite
) -> optax.GradientTransformation:
    """Rewrites the updates of selected leaves by what the leaves are; has no state.

    Args:
      caller: the name that errors give.
      select: which leaves; by default those that meet data.
      rewrite: the rule of one leaf.

    Returns:
      Transformation. Updates of other leaves pass.

    Raises:
      TypeError: `select` is no selector; when `init` sees the params: a leaf is not
        real floating.
      ValueError: in `update`: params are missing.
    """
    check_select(caller, select)
    select = select or meeting_data()

    def init(params: Params) -> optax.EmptyState:
        check_trainable(caller, params)
        chosen_by(caller, select, params)
        return optax.EmptyState()

    def update(updates: optax.Updates, state: Any, params: Params = None):
        require_params(caller, params)
        check_gradients(caller, updates, params)

        def rewritten(name: str, chosen: bool, leaf: Array, update: Array) -> Array:
            return rewrite(name, jnp.asarray(leaf), update) if chosen else update

        return map_named(rewritten, select(params), params, updates), state

    return optax.GradientTransformation(init, update)


def map_to_trees(
    function: Callable[..., tuple[Any, ...]], results: int, tree: PyTree, *rest: PyTree
) -> list[Any]:
    """`jax.tree.map` of a function with several results, as one tree for each."""
    leaves, outline = jax.tree.flatten(tree)
    others = [outline.flatten_up_to(other) for other in rest]
    rows = [function(*row) for row in zip(leaves, *others, strict=True)]
    return [outline.unflatten([row[i] for row in rows]) for i in range(results)]


def in_nodes_of(tree: PyTree, other: PyTree) -> PyTree:
    """The leaves of a state in the nodes of another one of as many leaves.

    `nnx.Optimizer` keeps each param's state in a variable, and gives a node that an
    update left there back as an `nnx.State` of its arrays. What an update returns must
    then be such nodes too, for a condition or a loop around it.
    """
    return jax.tree.unflatten(jax.tree.structure(other), jax.tree.leaves(tree))


def check_gradients(caller: str, updates: optax.Updates, *trees: PyTree) -> None:
    """Raises a ValueError where a gradient has no param, or one of another shape.

    It would be broadcast, and the param with it.

    Args:
      caller: the name that errors give.
      updates: gradients.
      *trees: of their structure, arrays of the params' shapes; or None, which passes.
    """
    gradients, outline = jax.tree.flatten(updates)
    for tree in trees:
        other = tree is not None and jax.tree.structure(tree) != outline
        if other and named_leaves(updates).keys() != named_leaves(tree).keys():
            raise ValueError(
                f"{caller}(...).update(updates, state, params): of gradients and params "
                f"{first_difference(updates, tree)}. Take gradients of these params."
            )
        leaves = gradients if tree is None else outline.flatten_up_to(tree)
        for rank, (gradient, leaf) in enumerate(zip(gradients, leaves, strict=True)):
            if jnp.shape(gradient) != jnp.shape(leaf):
                raise ValueError(
                    f"{caller}(...).update(updates, state, params): the gradient of leaf "
                    f"{list(named_leaves(updates))[rank]!r} has shape {jnp.shape(gradient)}, its "
                    f"param {jnp.shape(leaf)}. Take gradients of these params."
                )


def check_trainable(caller: str, params: Params) -> None:
    """Raises a TypeError unless every leaf is a plain array of real floats."""
    for name, leaf in named_leaves(params).items():
        if not isinstance(leaf, Number) and not hasattr(leaf, "dtype"):
            raise TypeError(
                f"{caller}: leaf {name!r} is a {type(leaf).__name__}, no array. Leave it out; of a "
                "module take the arrays alone, as its bridge does."
            )
        if is_compressed(leaf):
            raise TypeError(
                f"{caller}: leaf {name!r} is a {type(leaf).__name__}, whose codes have no "
                "gradient. Leave it out with partition(params, inexact()) or optax.masked."
            )
        # Of an array its own: JAX knows no dtype of text, and says so without the name.
        dtype = getattr(leaf, "dtype", None) or jnp.result_type(leaf)
        if jnp.issubdtype(dtype, jnp.complexfloating):
            raise TypeError(
                f"{caller}: leaf {name!r} has dtype {dtype}; complex params are not supported. "
                "Store real and imaginary parts as two real leaves."
            )
        if not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(
                f"{caller}: leaf {name!r} has dtype {dtype}; only real floating leaves train. "
                "Leave it out with partition(params, inexact()) or optax.masked."
            )
