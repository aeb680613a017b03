"""Checks of what an argument is: a function, a key, an optimizer, a tree of arrays.

One check per kind, for every public callable; each raises a TypeError that names the
callable, the argument and the mend. Numbers are checked in `checks`.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any, get_args

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import Axes, LeafAxes
from jaxcompress.core.messages import shown, suggestion
from jaxcompress.core.names import named_leaves
from jaxcompress.core.types import PyTree


def check_kind(caller: str, argument: str, value: object, kind: Any, mend: str) -> None:
    """Raises a TypeError unless value is of the class, or of one of a union.

    For what functions of this package build, where a neighbour is easily passed.

    Example:
      >>> check_kind("run", "spec", jc.quantize.int8, jc.QuantSpec, "Pass int8().")
      Traceback (most recent call last):
      TypeError: run(spec=int8) must be of type QuantSpec, not function. Pass int8().
      Did you mean int8(...), which gives one?
    """
    if not isinstance(value, kind):
        names = " or ".join(each.__name__ for each in get_args(kind) or (kind,))
        raise TypeError(
            f"{caller}({argument}={shown(value)}) must be of type {names}, not "
            f"{type(value).__name__}. {mend}{suggestion(value, 'one')}"
        )


def check_function(caller: str, argument: str, value: object, mend: str) -> None:
    """Raises a TypeError unless value can be called.

    Example:
      >>> check_function("prune", "when", 100, "For example schedules.every(100).")
      Traceback (most recent call last):
      TypeError: prune(when=100) must be a function. For example schedules.every(100).
    """
    if not callable(value):
        raise TypeError(f"{caller}({argument}={shown(value)}) must be a function. {mend}")


def check_key(caller: str, argument: str, value: object) -> None:
    """Raises a TypeError unless value is one random key of JAX, typed or raw.

    Example:
      >>> check_key("random", "key", 0)
      Traceback (most recent call last):
      TypeError: random(key=0) must be one random key. Make it with jax.random.key(0).
    """
    dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and shape == ()
    raw = dtype == jnp.uint32 and shape in ((2,), (4,))
    if not (typed or raw):
        raise TypeError(
            f"{caller}({argument}={shown(value)}) must be one random key. Make it with "
            "jax.random.key(0)."
        )


def check_transformation(caller: str, argument: str, value: object) -> None:
    """Raises a TypeError unless value is a gradient transformation of optax.

    Example:
      >>> check_transformation("prune", "inner", optax.adam)
      Traceback (most recent call last):
      TypeError: prune(inner=adam) must be an optax gradient transformation, for example
      optax.adam(1e-3). Did you mean adam(...), which gives one?
    """
    if not (callable(getattr(value, "init", None)) and callable(getattr(value, "update", None))):
        raise TypeError(
            f"{caller}({argument}={shown(value)}) must be an optax gradient transformation, for "
            f"example optax.adam(1e-3).{suggestion(value, 'one')}"
        )


def check_select(caller: str, argument: str, value: object) -> None:
    """Raises a TypeError unless value is a selector, or None for the default.

    What a selector gives is checked where it meets params, by `selectors.chosen_by`.
    """
    if value is not None and not callable(value):
        raise TypeError(
            f"{caller}({argument}={shown(value)}) must be a selector, for example "
            "jc.matching('*/kernel')."
        )


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


def check_arrays(caller: str, argument: str, tree: PyTree) -> None:
    """Raises a TypeError unless each leaf is an array, a shape, a number or compressed.

    Example:
      >>> check_arrays("quantize", "params", {"activation": jax.nn.relu})
      Traceback (most recent call last):
      TypeError: quantize(params=...): leaf 'activation' is relu of type custom_jvp, no
      array. Of a module take the arrays alone, as its bridge does.
    """
    for name, leaf in named_leaves(tree).items():
        is_array = hasattr(leaf, "shape") and hasattr(leaf, "dtype")
        if not is_array and not isinstance(leaf, int | float | complex):
            raise TypeError(
                f"{caller}({argument}=...): leaf {name!r} is {shown(leaf)} of type "
                f"{type(leaf).__name__}, no array. Of a module take the arrays alone, as its "
                "bridge does."
            )


def check_mapping(caller: str, argument: str, value: object, mend: str) -> None:
    """Raises a TypeError unless value is a dict or another mapping."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{caller}({argument}={shown(value)}) must be a mapping. {mend}")


def check_text(caller: str, argument: str, value: object) -> None:
    """Raises a TypeError unless value is a str."""
    if not isinstance(value, str):
        raise TypeError(f"{caller}({argument}={shown(value)}) must be a text.")


def check_path(caller: str, argument: str, value: object) -> None:
    """Raises a TypeError unless value is a path: a str or an `os.PathLike` of one."""
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{caller}({argument}={shown(value)}) must be a path, a str or a Path.")


def check_each(
    caller: str, argument: str, values: object, check: Callable[[str, str, object], object]
) -> None:
    """Applies a check to each entry; raises a TypeError for no list or tuple."""
    if not isinstance(values, list | tuple):
        raise TypeError(f"{caller}({argument}={shown(values)}) must be a list or a tuple.")
    for value in values:
        check(caller, argument, value)
