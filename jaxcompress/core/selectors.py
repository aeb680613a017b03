"""Selectors: params to a tree of bool, from names and shapes, never from values."""

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import UNUSED, Axes, LeafAxes, assumed_axes
from jaxcompress.core.checks import check_array, check_count
from jaxcompress.core.kinds import check_selector, check_text
from jaxcompress.core.left_out import is_constant
from jaxcompress.core.messages import literally
from jaxcompress.core.names import leaf_names, map_named, named_leaves
from jaxcompress.core.trees import chosen_by, named_axes
from jaxcompress.core.types import Params, Selector


def matching(*patterns: str) -> Selector:
    """Selects leaves whose name matches a shell-style pattern; `*` also crosses "/".

    Args:
      patterns: for example `"*/kernel"` or `"encoder/*"`; case counts.

    Returns:
      Selector.

    Raises:
      ValueError: no pattern given, or, when applied, a pattern matches no leaf of a
        tree that has leaves.

    Example:
      >>> params = {"dense": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}}
      >>> jc.matching("*/kernel")(params)
      {'dense': {'bias': False, 'kernel': True}}
    """
    for pattern in patterns:
        check_text("matching", "patterns", pattern)
    if not patterns:
        raise ValueError("matching() needs at least one pattern, for example '*/kernel'.")

    def select(params: Params):
        names = leaf_names(params)
        _require_every_pattern(patterns, jax.tree.leaves(names))
        return jax.tree.map(
            lambda name: any(fnmatchcase(name, pattern) for pattern in patterns), names
        )

    return select


def inexact() -> Selector:
    """Selects arrays of a floating or complex dtype that are not empty."""
    return _each(lambda leaf: jnp.issubdtype(leaf.dtype, jnp.inexact) and leaf.size > 0)


def at_least(size: int) -> Selector:
    """Selects arrays with `size` entries or more."""
    size = check_count("at_least", "size", size, least=0)
    return _each(lambda leaf: leaf.size >= size)


def everything() -> Selector:
    """Selects every leaf."""
    return lambda params: jax.tree.map(lambda name: True, leaf_names(params))


def weights(axes: Axes | None = None) -> Selector:
    """Selects weights, the default: real leaves that meet data in a product or lookup.

    Complex leaves are left out, and so are those that hold parts of complex numbers,
    of which a program tells. Python numbers among the params are constants, no weights.

    Args:
      axes: what `graph.axes` found. Without it, leaves of rank 2 and more
        count as weights.

    Returns:
      Selector; biases, norm scales and counters are left out.

    Example:
      >>> jc.weights()({"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)})
      {'bias': False, 'kernel': True}
    """
    known = named_axes("weights", axes)

    def chosen(name: str, leaf) -> bool:
        return not why_left_out(leaf, axes_of(name, leaf, known))

    return lambda params: map_named(chosen, params)


def meeting_data(axes: Axes | None = None) -> Selector:
    """Selects inexact leaves that meet data, complex ones too; weight decay uses it.

    Args:
      axes: as of `weights`.
    """
    known = named_axes("meeting_data", axes)

    def chosen(name: str, leaf) -> bool:
        meets_data = axes_of(name, leaf, known).meets_data
        return not is_constant(leaf) and bool(
            meets_data and jnp.issubdtype(leaf.dtype, jnp.inexact) and leaf.size > 0
        )

    return lambda params: map_named(chosen, params)


def why_left_out(leaf: Any, axes: LeafAxes) -> str:
    """Says why `weights` does not select a leaf of these axes; empty if it does.

    Example:
      >>> why_left_out(jnp.ones(3), assumed_axes(jnp.ones(3)))
      'rank 1'
    """
    if is_constant(leaf):
        return f"a Python {type(leaf).__name__}"
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        return str(leaf.dtype)
    if leaf.size == 0:
        return "empty"
    if axes.left_out:
        return axes.left_out
    if axes.meets_data:
        return ""
    return f"rank {leaf.ndim}" if leaf.ndim < 2 else "meets no data"


def reasons_left_out(params: Params, axes: Axes | None) -> dict[str, str]:
    """Gives the reason for each leaf that `weights(axes)` does not select."""
    known = None if axes is None else named_leaves(axes)
    reasons = {
        name: why_left_out(leaf, axes_of(name, leaf, known))
        for name, leaf in named_leaves(params).items()
    }
    return {name: reason for name, reason in reasons.items() if reason}


def all_of(*selectors: Selector) -> Selector:
    """Selects leaves that every selector chooses."""
    return _combined("all_of", all, selectors)


def any_of(*selectors: Selector) -> Selector:
    """Selects leaves that at least one selector chooses."""
    return _combined("any_of", any, selectors)


def none_of(*selectors: Selector) -> Selector:
    """Selects leaves that no selector chooses.

    Example:
      >>> jc.none_of(jc.matching("head"))({"head": jnp.ones(2), "body": jnp.ones(2)})
      {'body': True, 'head': False}
    """
    return _combined("none_of", lambda chosen: not any(chosen), selectors)


def axes_of(name: str, leaf: Any, known: dict[str, LeafAxes] | None) -> LeafAxes:
    """Gives the axes of one named leaf: from the program where known, else the default.

    A Python number has none.

    Raises:
      TypeError: the leaf is no array.
      ValueError: `known` was made for a tree without this leaf, or with another rank.
    """
    if is_constant(leaf):
        return UNUSED
    check_array(name, leaf)
    if known is None:
        return assumed_axes(leaf)
    if name not in known:
        raise ValueError(
            f"axes= has no leaf {name!r}. Make it with graph.axes(fn, params, *inputs) for these "
            f"params."
        )
    axes = known[name]
    if axes.meets_data and len(axes.order) != len(leaf.shape):
        raise ValueError(
            f"axes= says leaf {name!r} has rank {len(axes.order)}, but its shape is "
            f"{tuple(leaf.shape)}. "
            "Make it again with graph.axes(fn, params, *inputs) for these params."
        )
    return axes


def _each(choose: Callable[..., Any]) -> Selector:
    def chosen(name: str, leaf) -> bool:
        if is_constant(leaf):
            return False
        check_array(name, leaf)
        return bool(choose(leaf))

    return lambda params: map_named(chosen, params)


def _combined(caller: str, join: Callable[..., Any], selectors: tuple[Selector, ...]) -> Selector:
    for selector in selectors:
        check_selector(caller, "selectors", selector)

    def select(params: Params):
        chosen = [chosen_by(caller, selector, params) for selector in selectors]
        names = leaf_names(params)
        return jax.tree.map(lambda name: join([each[name] for each in chosen]), names)

    return select


def _require_every_pattern(patterns: tuple[str, ...], names: list[str]) -> None:
    for pattern in patterns:
        if names and not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(
                f"matching({pattern!r}) selects no leaf.{literally(pattern, names)} Leaves are: "
                f"{', '.join(names)}."
            )
