"""Checks of numbers and of leaves that many callables share; each names the mend.

What a number may be is decided here once: a *number* is a finite Python, NumPy or JAX
scalar, and a *count* is an int or a NumPy integer. A float is no count even when it is
whole: what counts steps, entries or bits indexes arrays and divides step numbers, where
2.0 behaves otherwise than 2. A bool is neither. The value of a traced scalar is not
known, so that it passes every range. Kinds other than numbers are checked in `kinds`.
"""

import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxcompress.core.host import on_host
from jaxcompress.core.messages import shown
from jaxcompress.core.types import Array, Params, PyTree


class TracedError(TypeError):
    """An array is traced where its values are needed."""


def check_count(caller: str, argument: str, value: object, least: int = 1) -> int:
    """The value as an int, or a ValueError unless it is one of at least `least`.

    To be computed with is what it gives: a NumPy integer overflows at the end of its
    own few bits, and minus `np.uint8(8)` is 248.

    Example:
      >>> check_count("every", "steps", np.uint8(8))
      8
      >>> check_count("every", "steps", 2.5)
      Traceback (most recent call last):
      ValueError: every(steps=2.5) must be at least 1, and an int.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        rule = f"at least {least}, and an int"
        raise ValueError(f"{caller}({argument}={shown(value)}) must be {rule}.")
    return int(value)


def check_whole(caller: str, argument: str, value: object) -> None:
    """Raises a ValueError unless value is an int, of either sign, as an axis is."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ValueError(f"{caller}({argument}={shown(value)}) must be an int.")


def check_number(caller: str, argument: str, value: object) -> None:
    """Raises a ValueError unless value is a finite real number."""
    _check(caller, argument, value, math.isfinite, "a finite number")


def check_range(caller: str, argument: str, value: object, low: float, high: float) -> None:
    """Raises a ValueError unless low <= value < high; a NaN never passes."""
    _check(caller, argument, value, lambda x: low <= x < high, f"in [{low}, {high})")


def check_inside(caller: str, argument: str, value: object, low: float, high: float) -> None:
    """Raises a ValueError unless low < value < high; a NaN never passes."""
    rule = f"in ({low}, {high})" if math.isfinite(high) else f"finite and above {low}"
    _check(caller, argument, value, lambda x: low < x < high, rule)


def check_share(caller: str, argument: str, value: object) -> None:
    """Raises a ValueError unless 0 <= value <= 1; a NaN never passes."""
    _check(caller, argument, value, lambda x: 0 <= x <= 1, "in [0, 1]")


def check_positive(caller: str, argument: str, value: object) -> None:
    """Raises a ValueError unless value > 0 and finite."""
    _check(caller, argument, value, lambda x: 0 < x < math.inf, "above 0, and finite")


def check_size(caller: str, argument: str, value: object) -> None:
    """Raises a ValueError unless value >= 0 and finite."""
    _check(caller, argument, value, lambda x: 0 <= x < math.inf, "finite and at least 0")


def check_rate(caller: str, argument: str, value: object) -> None:
    """Raises a ValueError unless value is of `check_size`, or a schedule of such.

    A schedule is any function; its values are not looked at.

    Example:
      >>> check_rate("sgd", "learning_rate", optax.constant_schedule(0.1))
      >>> check_rate("sgd", "learning_rate", "0.1")
      Traceback (most recent call last):
      ValueError: sgd(learning_rate='0.1') must be finite and at least 0, or a schedule.
    """
    if not callable(value):
        rule = "finite and at least 0, or a schedule"
        _check(caller, argument, value, lambda x: 0 <= x < math.inf, rule)


def is_number(value: object) -> bool:
    """Whether it is a real scalar of Python, NumPy or JAX; a bool is none."""
    if isinstance(value, bool | np.bool_):
        return False
    if isinstance(value, Real):
        return True
    dtype = getattr(value, "dtype", np.dtype(bool))
    real = jnp.issubdtype(dtype, jnp.integer) or jnp.issubdtype(dtype, jnp.floating)
    return real and getattr(value, "shape", None) == ()


def _check(
    caller: str, argument: str, value: Any, holds: Callable[[float], bool], rule: str
) -> None:
    """Raises a ValueError unless the rule holds for the number, or it is traced."""
    if not (is_number(value) and (isinstance(value, Tracer) or holds(float(value)))):
        raise ValueError(f"{caller}({argument}={shown(value)}) must be {rule}.")


def check_floating(caller: str, argument: str, dtype: Any) -> None:
    """Raises a ValueError unless it is a real floating dtype.

    Example:
      >>> check_floating("from_codes", "dtype", jnp.int8)
      Traceback (most recent call last):
      ValueError: from_codes(dtype=int8) must be a real floating dtype.
    """
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"{caller}({argument}={np.dtype(dtype)}) must be a real floating dtype.")


def check_array(name: str, leaf: Any) -> None:
    """Raises a TypeError unless the leaf is an array, a shape or a compressed leaf.

    Example:
      >>> check_array("activation", jax.nn.relu)
      Traceback (most recent call last):
      TypeError: leaf 'activation' of the params is a custom_jvp, no array. ...
    """
    if not (hasattr(leaf, "shape") and hasattr(leaf, "dtype")):
        raise TypeError(
            f"leaf {name!r} of the params is a {type(leaf).__name__}, no array. Make a number one "
            "with jnp.asarray; of a module take the arrays alone, as its bridge does."
        )


def check_real(caller: str, name: str, leaf: Any) -> None:
    """Raises a TypeError unless the leaf is real floating, a ValueError when empty."""
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        raise TypeError(
            f"{caller}: leaf {name!r} has dtype {leaf.dtype}; only real floating leaves can be "
            f"compressed. "
            "Leave it out with select=."
        )
    if leaf.size == 0:
        raise ValueError(
            f"{caller}: leaf {name!r} has shape {tuple(leaf.shape)}, no entry. Leave it out with "
            f"select=."
        )


def check_finite(caller: str, name: str, leaf: Any) -> None:
    """Raises a ValueError when a concrete array holds a NaN or an infinity."""
    if on_host(leaf):
        finite = np.count_nonzero(np.isfinite(np.asarray(leaf)))
    else:
        with jax.ensure_compile_time_eval():  # what jit closes over has its values, too
            finite = int(_finite_count(leaf))
    bad = leaf.size - finite
    if bad:
        first = tuple(int(i) for i in np.argwhere(~np.isfinite(np.asarray(leaf, np.float32)))[0])
        raise ValueError(
            f"{caller}: leaf {name!r} holds {bad} values that are not finite, the first at "
            f"{first}. "
            "Compress a model that trained without them."
        )


@jax.jit
def _finite_count(leaf) -> Array:
    return jnp.sum(jnp.isfinite(leaf))


class KnownValueError(ValueError):
    """A ValueError about values that code can only find where arrays are not traced."""


def check_fits(caller: str, **arguments: PyTree) -> None:
    """Raises a ValueError where an integer is too large for JAX, which would wrap it.

    Without jax_enable_x64 JAX keeps 64-bit integers of NumPy in 32 bits.

    Example:
      >>> check_fits("evaluate", targets=np.array([5, 2**32]))
      Traceback (most recent call last):
      ValueError: evaluate(targets=...) holds 4294967296, which JAX would wrap to 32
      bits. Pass floats, subtract an offset, or set jax_enable_x64.
    """
    for argument, tree in arguments.items():
        for leaf in jax.tree.leaves(tree):
            if not isinstance(leaf, np.ndarray) or leaf.dtype.kind not in "iu" or not leaf.size:
                continue
            kept = np.iinfo(jax.dtypes.canonicalize_dtype(leaf.dtype))
            if kept.bits == 8 * leaf.dtype.itemsize:
                continue
            wrong = [int(each) for each in (leaf.min(), leaf.max())]
            wrong = [each for each in wrong if not kept.min <= each <= kept.max]
            if wrong:
                raise ValueError(
                    f"{caller}({argument}=...) holds {wrong[0]}, which JAX would wrap to "
                    f"{kept.bits} bits. Pass floats, subtract an offset, or set jax_enable_x64."
                )


def check_concrete(caller: str, mend: str = "", **arguments: PyTree) -> None:
    """Raises a TypeError where an array has no value: it is traced, or a shape alone.

    For what is traced it is a `TracedError`, by which code that tries tracing first
    knows the reason.

    For the doors of verbs that look at values to decide shapes, counts and reports.
    Where shapes are enough, see `check_untraced`.

    Args:
      caller: the name that errors give.
      mend: what does the same inside of transformed functions, a sentence.
      **arguments: by name, trees of anything.

    Example:
      >>> jax.jit(lambda x: check_concrete("masks", params={"kernel": x}))(1.0)
      Traceback (most recent call last):
      jaxcompress.core.checks.TracedError: masks(params=...) reads values, and leaf
      'kernel' is traced by jit, ...
    """
    for argument, tree in arguments.items():
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            if isinstance(leaf, jax.ShapeDtypeStruct):
                raise TypeError(
                    f"{caller}({argument}=...) reads values, and {_which(path)} is a shape without "
                    f"them, {leaf.dtype} {leaf.shape}. Pass arrays."
                )
    check_untraced(caller, mend, **arguments)


def check_untraced(caller: str, mend: str = "", **arguments: PyTree) -> None:
    """Raises a `TracedError` where an array is traced; shapes without values pass.

    Args:
      caller: the name that errors give.
      mend: what does the same inside of transformed functions, a sentence.
      **arguments: by name, trees of anything.
    """
    for argument, tree in arguments.items():
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            if isinstance(leaf, Tracer):
                raise TracedError(
                    f"{caller}({argument}=...) reads values, and {_which(path)} is traced by jit, "
                    f"grad or vmap. Call {caller} outside of them.{' ' * bool(mend)}{mend}"
                )
    # Inside of jit even a constant is traced.
    if isinstance(jnp.zeros(()), Tracer):
        raise TracedError(
            f"{caller} reads values, and what calls it is traced by jit. Call {caller} outside."
            f"{' ' * bool(mend)}{mend}"
        )


def _which(path: tuple[Any, ...]) -> str:
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    return f"leaf {name!r}" if name else "it"


def require_params(caller: str, params: Params) -> None:
    """Raises a ValueError when an optax `update` was called without params."""
    if params is None:
        raise ValueError(f"{caller}(...).update(updates, state, params) needs the params.")
