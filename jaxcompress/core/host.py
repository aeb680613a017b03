"""Arrays in the memory of a CPU, which NumPy reads where they lie.

JAX compiles an operation outside of `jax.jit` anew for every shape, which takes far
longer than the operation does on the arrays that are looked at here.
"""

from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np


def on_host(x: Any) -> bool:
    """Whether NumPy reads an array where it lies, and JAX takes an array like it back.

    Example:
      >>> on_host(np.ones(2)), on_host(jax.random.key(0))
      (True, False)
    """
    if isinstance(x, jax.core.Tracer) or not isinstance(x, jax.Array):
        return isinstance(x, np.ndarray)
    if jnp.issubdtype(x.dtype, jax.dtypes.extended) or x.weak_type:
        return False
    return [device.platform for device in x.devices()] == ["cpu"]


def holds_nan(x: Any) -> bool:
    """Whether an array of numbers, not traced, holds a NaN.

    Example:
      >>> holds_nan(np.array([1.0, np.nan])), holds_nan(jnp.ones(2))
      (True, False)
    """
    return bool(np.isnan(np.asarray(x)).any() if on_host(x) else _any_nan(x))


@jax.jit
def _any_nan(x: Any) -> jax.Array:
    return jnp.any(jnp.isnan(x))
