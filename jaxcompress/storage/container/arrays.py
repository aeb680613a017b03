"""Arrays from the device to the host and back, and what no file can hold."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.storage.container.dtypes import PYTHON_TYPES, WORD_BITS
from jaxcompress.storage.container.parts import Source, of_array


def on_host(leaf) -> np.ndarray:
    """The numbers in this processor's byte order; sharded arrays are gathered."""
    x = np.asarray(leaf)
    return x.astype(x.dtype.newbyteorder("="), copy=False)


def on_device(x):
    """A host array as a JAX array where JAX has its dtype; anything else as it is."""
    # Nobody else knows the memory of x, so that the array may take it over. Unlike
    # `jnp.array`, `device_put` neither compiles a program per shape nor copies first.
    if not isinstance(x, np.ndarray) or jax.dtypes.canonicalize_dtype(x.dtype) != x.dtype:
        return x
    return jax.device_put(x)


def source(leaf) -> Source:
    """The source that stores an array or a Python number."""
    python_name = f"python {type(leaf).__name__}"
    return of_array(on_host(leaf), python_name if python_name in PYTHON_TYPES else "")


def check_storable(caller: str, name: str, leaf) -> None:
    """Refuses a leaf, or an array of a compressed one, that no file can hold.

    Raises:
      TypeError: it has no numbers, or of a dtype that cannot be stored.
    """
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        raise TypeError(
            f"{caller}(tree): leaf {name!r} is a random key, whose meaning a file cannot fix. "
            "Leave it out, or save jax.random.key_data(key) and pass what was loaded to "
            "jax.random.wrap_key_data."
        )
    if not isinstance(leaf, (jax.Array, np.ndarray, np.generic, bool, int, float, complex)):
        raise TypeError(
            f"{caller}(tree): leaf {name!r} is of type {type(leaf).__name__}, which holds no "
            "numbers that can be stored. Pass a tree of arrays only."
        )
    dtype = np.asarray(leaf).dtype
    if dtype.name not in WORD_BITS or (type(leaf) is int and dtype != np.int64):
        raise TypeError(
            f"{caller}(tree): leaf {name!r} has dtype {dtype}, which cannot be stored. Cast it to "
            f"one of {', '.join(WORD_BITS)}."
        )
