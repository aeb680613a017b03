"""Checks of trees: arrays as params, axes, and what a selector gives for params."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.axes import Axes, LeafAxes
from jaxcompress.core.kinds import (
    check_kind,
    check_mapping,
    check_selector,
)
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.messages import shown
from jaxcompress.core.models import TRAINED, check_model
from jaxcompress.core.names import leaf_name, named_leaves
from jaxcompress.core.types import Model, Params, PyTree, Selector

NO_NUMBERS = "OSUMm"
"""Kinds of NumPy dtypes that JAX has no arrays of: objects, texts and times."""


def named_axes(caller: str, axes: Axes | None) -> dict[str, LeafAxes] | None:
    """The axes by leaf name, None where there are none.

    Raises:
      TypeError: it is no tree of `LeafAxes`.

    Example:
      >>> named_axes("weights", {"kernel": jnp.ones((2, 2))})
      Traceback (most recent call last):
      TypeError: weights(axes=...) holds float32[2, 2] at 'kernel', no LeafAxes. Make it
      with graph.axes(fn, params, *inputs).
    """
    if axes is None:
        return None
    known = named_leaves(axes)
    for name, each in known.items():
        if not isinstance(each, LeafAxes):
            raise TypeError(
                f"{caller}(axes=...) holds {shown(each)} at {name!r}, no LeafAxes. Make it with "
                "graph.axes(fn, params, *inputs)."
            )
    return known


def first_difference(one: PyTree, other: PyTree) -> str:
    """Says where two trees that should have one structure first differ.

    Example:
      >>> first_difference({"a": 1, "b": {"c": 2}}, {"a": 1, "b": 3})
      "the first has a leaf at 'b/c' and the second has none"
    """
    names, others = dict.fromkeys(named_leaves(one)), dict.fromkeys(named_leaves(other))
    for name in names:
        if name not in others:
            return f"the first has a leaf at {name!r} and the second has none"
    for name in others:
        if name not in names:
            return f"the second has a leaf at {name!r} and the first has none"
    return f"the first is a {type(one).__name__} and the second a {type(other).__name__}"


def check_leaves(caller: str, argument: str, tree: PyTree, params: PyTree) -> None:
    """Raises a ValueError unless a tree has the leaves of the params, by name.

    None may stand for a leaf, and anything in the place of a compressed one.

    Example:
      >>> check_leaves("prune", "updates", {"a": 1}, {"a": 1, "b": {"c": 2}})
      Traceback (most recent call last):
      ValueError: prune(updates=...) has no leaf 'b/c', which the params have.
    """
    leaves = named_leaves(params)
    closed = [name for name, leaf in leaves.items() if is_compressed(leaf)]
    filled = jax.tree.map(lambda leaf: 0, tree, is_leaf=lambda node: node is None)
    given = named_leaves(filled)
    for name in named_leaves(tree):
        inside = any(name == each or name.startswith(f"{each}/") for each in closed)
        if name not in leaves and not inside:
            raise ValueError(
                f"{caller}({argument}=...) has a leaf {name!r}, which the params have not."
            )
    for name in leaves:
        if name not in given and name not in closed:
            raise ValueError(
                f"{caller}({argument}=...) has no leaf {name!r}, which the params have."
            )


def check_arrays(caller: str, argument: str, tree: PyTree) -> None:
    """Raises a TypeError unless each leaf is an array, a shape, a number or compressed.

    Example:
      >>> check_arrays("quantize", "params", {"activation": jax.nn.relu})
      Traceback (most recent call last):
      TypeError: quantize(params=...): leaf 'activation' is relu of type custom_jvp, no
      array. Close over it, or of a module take the arrays alone, as its bridge in
      jc.bridges does.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_compressed):
        dtype = getattr(leaf, "dtype", None)
        # Of NumPy's own: the dtype of a key has the kind of an object.
        is_text = isinstance(dtype, np.dtype) and dtype.kind in NO_NUMBERS
        if dtype is None or is_text or not hasattr(leaf, "shape"):
            if isinstance(leaf, int | float | complex):
                continue
            raise TypeError(
                f"{caller}({argument}=...): leaf {leaf_name(path)!r} is {shown(leaf)} of type "
                f"{type(leaf).__name__}, no array. Close over it, or of a module take the arrays "
                "alone, as its bridge in jc.bridges does."
            )


def check_call(caller: str, fn: Model, params: Params, inputs: tuple[Any, ...]) -> None:
    """Raises a TypeError unless it is a function, its params and its inputs."""
    check_model(caller, fn, len(inputs))
    check_arrays(caller, "params", params)
    check_arrays(caller, "inputs", inputs)


def trained(caller: str, result: object, params: Params) -> tuple[Any, dict[str, Any]]:
    """What a `train_fn` gave for these params: outputs, and the new leaves by name.

    Raises:
      TypeError: it is no such pair, or the new params have other leaves.

    Example:
      >>> trained("recalibrate", jnp.ones((2, 2)), {"mean": jnp.zeros(2)})
      Traceback (most recent call last):
      TypeError: recalibrate(train_fn) gives float32[2, 2], no pair. Pass
      train_fn(params, *inputs, key) -> (outputs, new_params), as a bridge gives it.
    """
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise TypeError(f"{caller}(train_fn) gives {shown(result)}, no pair. {TRAINED}")
    outputs, after = result
    if named_leaves(after).keys() != named_leaves(params).keys():
        raise TypeError(
            f"{caller}(train_fn) gives other new params than it is given, "
            f"{first_difference(params, after)}. {TRAINED}"
        )
    return outputs, named_leaves(after)


def check_entries(caller: str, argument: str, value: object) -> None:
    """Raises a TypeError unless value is one array of real numbers, traced or not.

    Example:
      >>> check_entries("outputs", "scores", {"kernel": jnp.ones((2, 2))})
      Traceback (most recent call last):
      TypeError: outputs(scores={'kernel': ...}) must be an array of real numbers.
    """
    dtype = getattr(value, "dtype", np.dtype(object))
    real = jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)
    if not (hasattr(value, "shape") and real):
        raise TypeError(f"{caller}({argument}={shown(value)}) must be an array of real numbers.")


def check_leaf_axes(caller: str, argument: str, value: object) -> None:
    """Raises a TypeError unless value says what the axes of one leaf do."""
    mend = "graph.axes gives them for each leaf."
    check_kind(caller, argument, value, LeafAxes, mend)


def check_named(
    caller: str,
    argument: str,
    values: Any,
    check: Callable[[str, str, object], object],
) -> None:
    """Applies a check to each value of a dict by leaf name; a TypeError for no dict.

    Example:
      >>> check_named("globally", "scores", {"kernel": "high"}, check_entries)
      Traceback (most recent call last):
      TypeError: globally(scores['kernel']='high') must be an array of real numbers.
    """
    check_mapping(caller, argument, values, "Its keys are leaf names.")
    for name, value in dict(values).items():
        check(caller, f"{argument}[{name!r}]", value)


def chosen_by(caller: str, select: Selector, params: Params) -> dict[str, bool]:
    """Whether a selector chooses each leaf, by name.

    Raises:
      TypeError: what it gives is no tree of bool in the params' structure.

    Example:
      >>> chosen_by("quantize", lambda params: "kernel", {"kernel": jnp.ones((2, 2))})
      Traceback (most recent call last):
      TypeError: quantize(select=<lambda>) gives 'kernel' at '.', and must give a bool
      for every leaf of the params.
    """
    check_selector(caller, "select", select)
    chosen, names = named_leaves(select(params)), list(named_leaves(params))
    wrong = {name: each for name, each in chosen.items() if not isinstance(each, bool | np.bool_)}
    missing = [name for name in names if name not in chosen]
    if wrong or missing or len(chosen) > len(names):
        name, each = next(iter(wrong.items()), ((missing or list(chosen))[0], "nothing"))
        raise TypeError(
            f"{caller}(select={shown(select)}) gives {shown(each)} at {name!r}, and must give a "
            "bool for every leaf of the params."
        )
    return chosen
