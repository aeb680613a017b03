"""Checks of what an argument is: a function, a key, an optimizer, a text.

One check per kind, for every public callable; each raises a TypeError that names the
callable, the argument and the mend. Numbers are checked in `checks`, trees in `trees`.
"""

import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.checks import is_number
from jaxcompress.core.messages import shown, suggestion


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


def check_takes(caller: str, argument: str, value: object, count: int, mend: str) -> None:
    """Raises a TypeError unless value can be called with `count` arguments in order.

    Only of plain functions their arguments are known. What builds such a function takes
    others, so that one which was not called is found before it runs.

    Example:
      >>> patterns = jc.prune.patterns
      >>> check_takes("Target", "pattern", patterns.outputs, 3, "See prune.patterns.")
      >>> check_takes("Target", "pattern", patterns.n_of_m, 3, "See prune.patterns.")
      Traceback (most recent call last):
      TypeError: Target(pattern=n_of_m) must be a function of 3 arguments. See
      prune.patterns. Did you mean n_of_m(...), which gives one?
    """
    check_function(caller, argument, value, mend)
    if inspect.isfunction(value) and not _takes(value, count):
        raise TypeError(
            f"{caller}({argument}={shown(value)}) must be a function of {count} arguments. "
            f"{mend}{suggestion(value, 'one')}"
        )


def check_built(caller: str, argument: str, value: object, count: int, mend: str) -> None:
    """As `check_takes`, for functions that functions of ours and of optax build.

    So a schedule that was not called is refused, though one number can be passed to it.

    Example:
      >>> check_built("prune", "when", jc.schedules.every, 1, "Pass every(100).")
      Traceback (most recent call last):
      TypeError: prune(when=every) is not called. Pass every(100). Did you mean
      every(...), which gives one?
    """
    check_takes(caller, argument, value, count, mend)
    uncalled = suggestion(value, "one")
    if uncalled:
        raise TypeError(f"{caller}({argument}={shown(value)}) is not called. {mend}{uncalled}")


def check_loss(caller: str, loss: object) -> None:
    """Raises a TypeError unless `loss` can be called with outputs and targets."""
    mend = "Pass loss(outputs, targets), one number per example."
    check_takes(caller, "loss", loss, 2, mend)


def check_when(caller: str, when: object) -> None:
    """Raises a TypeError unless `when` says of a step number whether it is due."""
    check_built(caller, "when", when, 1, "For example schedules.every(100).")


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


def check_selector(caller: str, argument: str, value: object) -> None:
    """Raises a TypeError unless value is a selector.

    What a selector gives is checked where it meets params, by `trees.chosen_by`.

    Example:
      >>> check_selector("partition", "select", jc.weights)
      Traceback (most recent call last):
      TypeError: partition(select=weights) must be a selector, for example
      jc.matching('*/kernel'). Did you mean weights(...), which gives one?
    """
    # A public selector, as optimizers.large is, takes the params alone.
    itself = inspect.isfunction(value) and list(inspect.signature(value).parameters) == ["params"]
    uncalled = "" if itself else suggestion(value, "one")
    if uncalled or not callable(value):
        raise TypeError(
            f"{caller}({argument}={shown(value)}) must be a selector, for example "
            f"jc.matching('*/kernel').{uncalled}"
        )


def check_select(caller: str, select: object) -> None:
    """As `check_selector` of `select`, whose None stands for a default."""
    if select is not None:
        check_selector(caller, "select", select)


def check_shape(caller: str, argument: str, value: Any, shape: str) -> None:
    """Raises a TypeError unless value is one array of real numbers of such a shape.

    Args:
      caller: the name that the error gives.
      argument: its argument.
      value: an array, traced or not; a number is one of shape ().
      shape: the names of its axes as docstrings write them; "…" is any axes.

    Example:
      >>> check_shape("gaussian", "means", jnp.float32(1), "(examples, …)")
      Traceback (most recent call last):
      TypeError: gaussian(means=1.0) must be one real array of shape (examples, …).
    """
    axes = [axis for axis in shape.strip("()").split(",") if axis]
    least = len([axis for axis in axes if "…" not in axis])
    has = np.shape(value) if is_number(value) else getattr(value, "shape", None)
    dtype = getattr(value, "dtype", np.result_type(float))
    real = jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)
    fits = has is not None and (len(has) == least or len(has) > least < len(axes))
    if not (real and fits):
        raise TypeError(
            f"{caller}({argument}={shown(value)}) must be one real array of shape {shape}."
        )


def check_numeric(caller: str, argument: str, value: Any) -> None:
    """Raises a TypeError unless value is an array, or nested lists, of numbers.

    Of which dtype and shape they are to be is for the caller to check.

    Example:
      >>> check_numeric("agreement", "logits", None)
      Traceback (most recent call last):
      TypeError: agreement(logits=None) must be an array of numbers.
    """
    dtype = value.dtype if isinstance(value, jax.Array) else np.asarray(value).dtype
    if not any(jnp.issubdtype(dtype, kind) for kind in (np.number, np.bool_)):
        raise TypeError(f"{caller}({argument}={shown(value)}) must be an array of numbers.")


def check_mapping(caller: str, argument: str, value: object, mend: str) -> None:
    """Raises a TypeError unless value is a dict or another mapping."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{caller}({argument}={shown(value)}) must be a mapping. {mend}")


def check_iterable(caller: str, argument: str, value: object, mend: str) -> None:
    """Raises a TypeError unless value can be gone through, and is no array and no text.

    The rows of an array, the keys of a dict and the letters of a text are rarely meant.
    """
    single = hasattr(value, "shape") or isinstance(value, Mapping | str | bytes)
    if single or not isinstance(value, Iterable):
        raise TypeError(f"{caller}({argument}={shown(value)}) must be a list. {mend}")


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


def _takes(function: Callable[..., Any], count: int) -> bool:
    """Whether a plain function can be called with so many arguments in order."""
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    return True
