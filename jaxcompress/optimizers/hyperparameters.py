"""Checks of what optimizers are told, and the step that a learning rate makes."""

from numbers import Real

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_range


def check_decays(caller: str, **decays: ArrayLike) -> None:
    """Raises a ValueError for a number outside [0, 1), and for an array that is narrow.

    Arrays may be traced, so their values pass; but in bfloat16 0.999 is 1, with which a
    running mean never starts.
    """
    for argument, value in decays.items():
        if isinstance(value, Real):
            check_range(caller, argument, float(value), 0, 1)
            continue
        dtype = jnp.result_type(value)
        if jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits < 32:
            raise ValueError(
                f"{caller}({argument}=...) is an array of dtype {dtype}, too narrow for a decay. "
                "Make it float32; in optax.inject_hyperparams with hyperparam_dtype=jnp.float32."
            )


def check_sizes(caller: str, **sizes: ArrayLike | optax.Schedule) -> None:
    """Raises a ValueError for a number below 0; arrays and schedules pass."""
    for argument, value in sizes.items():
        if isinstance(value, Real) and not 0 <= float(value) < float("inf"):
            raise ValueError(f"{caller}({argument}={value}) must be finite and at least 0.")


def check_counts(caller: str, **counts: ArrayLike) -> None:
    """Raises a ValueError for an int below 1; arrays pass."""
    for argument, value in counts.items():
        if isinstance(value, int) and value < 1:
            raise ValueError(f"{caller}({argument}={value}) must be at least 1.")


def descent(learning_rate: ArrayLike | optax.Schedule) -> optax.GradientTransformation:
    """Minus the learning rate times the update, in the update's dtype.

    It is `optax.scale_by_learning_rate`, to which an array (as `inject_hyperparams`
    gives) goes as a constant schedule: so it does not widen narrow updates.
    """
    if callable(learning_rate):
        return optax.scale_by_learning_rate(learning_rate)
    if isinstance(learning_rate, Real):
        return optax.scale_by_learning_rate(float(learning_rate))
    return optax.scale_by_learning_rate(lambda count: learning_rate)
