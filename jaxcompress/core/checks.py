"""Argument checks that many callables share; each message names the mend."""

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.types import Params


def check_range(caller: str, argument: str, value: float, low: float, high: float) -> None:
    """Raises a ValueError unless low <= value < high; a NaN never passes."""
    if not low <= value < high:
        raise ValueError(f"{caller}({argument}={value}) must be in [{low}, {high}).")


def check_positive(caller: str, argument: str, value: float) -> None:
    """Raises a ValueError unless value > 0."""
    if not value > 0:
        raise ValueError(f"{caller}({argument}={value}) must be above 0.")


def check_real(caller: str, name: str, leaf) -> None:
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


def check_finite(caller: str, name: str, leaf) -> None:
    """Raises a ValueError when a concrete array holds a NaN or an infinity."""
    bad = leaf.size - int(jnp.sum(jnp.isfinite(leaf)))
    if bad:
        first = tuple(int(i) for i in np.argwhere(~np.isfinite(np.asarray(leaf, np.float32)))[0])
        raise ValueError(
            f"{caller}: leaf {name!r} holds {bad} values that are not finite, the first at "
            f"{first}. "
            "Compress a model that trained without them."
        )


def require_params(caller: str, params: Params) -> None:
    """Raises a ValueError when an optax `update` was called without params."""
    if params is None:
        raise ValueError(f"{caller}(...).update(updates, state, params) needs the params.")
