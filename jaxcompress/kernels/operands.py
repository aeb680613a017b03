"""Checks the operands of the products: dtypes, ranks and matching sizes.

Without them XLA would multiply other numbers after rounding them to integers.
"""

from typing import Any

import jax.numpy as jnp

from jaxcompress.core.types import Array


def check_codes(caller: str, dtype: Any, ndim: int | None = 2, **operands: Array) -> None:
    """Checks that operands are codes of one dtype and rank, of any for None.

    Raises:
      TypeError: an operand is no array of the dtype.
      ValueError: an operand has another rank.

    Example:
      >>> check_codes("int8_matmul", jnp.int8, x=jnp.array([[1.7]]))
      Traceback (most recent call last):
      TypeError: int8_matmul(x=...) of dtype float32 must be int8 codes.
    """
    for argument, x in operands.items():
        _check_dtype(caller, argument, x, dtype, f"{jnp.dtype(dtype)} codes")
        _check_rank(caller, argument, x, ndim)


def check_floats(caller: str, ndim: int | None = 2, **operands: Array) -> None:
    """Checks that operands are real floating arrays of one rank, of any for None.

    Raises:
      TypeError: an operand is no real floating array.
      ValueError: an operand has another rank.
    """
    for argument, x in operands.items():
        _check_dtype(caller, argument, x, jnp.floating, "real floating numbers")
        _check_rank(caller, argument, x, ndim)


def check_sizes(caller: str, rule: str, meets: bool, **operands: Array) -> None:
    """Raises a ValueError that names the shapes unless they meet a rule.

    Example:
      >>> x, w = jnp.ones((1, 2)), jnp.ones((3, 4))
      >>> check_sizes("int8_matmul", "share K", x.shape[1] == w.shape[1], x=x, w=w)
      Traceback (most recent call last):
      ValueError: int8_matmul: x (1, 2) and w (3, 4) must share K.
    """
    if not meets:
        shapes = " and ".join(f"{argument} {x.shape}" for argument, x in operands.items())
        raise ValueError(f"{caller}: {shapes} must {rule}.")


def _check_dtype(caller: str, argument: str, x, dtype, wanted: str) -> None:
    found = getattr(x, "dtype", None)
    if found is None or not jnp.issubdtype(found, dtype):
        found = found or type(x).__name__
        raise TypeError(f"{caller}({argument}=...) of dtype {found} must be {wanted}.")


def _check_rank(caller: str, argument: str, x: Array, ndim: int | None) -> None:
    if ndim is not None and x.ndim != ndim:
        raise ValueError(f"{caller}({argument}=...) of shape {x.shape} must have {ndim} axes.")


def check_groups(caller: str, x: Array, weights: Array, scale: Array) -> None:
    """Scales (N, G) of groups of K / G weights, whole ones."""
    check_floats(caller, scale=scale)
    check_sizes(caller, "share N", weights.shape[0] == scale.shape[0], w=weights, scale=scale)
    divides = scale.shape[1] > 0 and x.shape[1] % scale.shape[1] == 0
    check_sizes(caller, "have a G that divides K", divides, x=x, scale=scale)
