"""Checks of the numbers that optimizers are given."""

from numbers import Real
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_count, check_range, check_rate, check_size
from jaxcompress.core.types import Array


def check_decays(caller: str, **decays: ArrayLike) -> None:
    """Raises a ValueError for a number outside [0, 1), and for an array that is narrow.

    Arrays may be traced, so their values pass; but in bfloat16 0.999 is 1, with which a
    running mean never starts.
    """
    for argument, value in decays.items():
        check_range(caller, argument, value, 0, 1)
        check_narrow(caller, argument, value)


def check_narrow(caller: str, argument: str, value: ArrayLike) -> None:
    """Raises a ValueError for an array of fewer bits than float32."""
    dtype = jnp.result_type(value)
    narrow = jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits < 32
    if narrow and not isinstance(value, Real):
        raise ValueError(
            f"{caller}({argument}=...) is an array of dtype {dtype}, too narrow for a decay. "
            "Make it float32; in optax.inject_hyperparams with hyperparam_dtype=jnp.float32."
        )


def check_sizes(caller: str, **sizes: ArrayLike) -> None:
    """Raises a ValueError unless each is a finite number of at least 0."""
    for argument, value in sizes.items():
        check_size(caller, argument, value)


def check_rates(caller: str, **rates: ArrayLike | optax.Schedule) -> None:
    """Raises a ValueError unless each is as in `check_sizes`, or a schedule."""
    for argument, value in rates.items():
        check_rate(caller, argument, value)


def check_counts(caller: str, least: int = 1, **counts: ArrayLike) -> tuple[Any, ...]:
    """The counts in order as ints, or int32 arrays of what () arrays of ints hold.

    The value of a traced array passes, whatever it is; but a float never divides a step
    number evenly unless it is whole, and in float32 step numbers end at 2**24.

    Raises:
      ValueError: a count is neither an int of at least `least` nor an array of one.
    """

    def whole(argument: str, value: Any) -> int | Array:
        dtype = value.dtype if isinstance(value, Array | np.ndarray) else np.dtype(object)
        if not jnp.issubdtype(dtype, jnp.integer) or value.shape:
            return check_count(caller, argument, value, least)
        if not isinstance(value, Tracer):
            check_count(caller, argument, int(value), least)
        return jnp.asarray(value, jnp.int32)

    return tuple(whole(argument, value) for argument, value in counts.items())
