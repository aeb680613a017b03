"""Arrays from the device to the host and back, and what no file can hold."""

from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from jaxcompress.storage.container.dtypes import WORD_BITS
from jaxcompress.storage.container.parts import Source, of_array


def on_host(leaf: Any) -> np.ndarray:
    """The numbers in this processor's byte order; sharded arrays are gathered."""
    x = np.asarray(leaf)
    return x.astype(x.dtype.newbyteorder("="), copy=False)


def on_device(x: Any):
    """A host array as a JAX array where JAX has its dtype; anything else as it is."""
    # Nobody else knows the memory of x, so that the array may take it over. Unlike
    # `jnp.array`, `device_put` neither compiles a program per shape nor copies first.
    if not isinstance(x, np.ndarray) or jax.dtypes.canonicalize_dtype(x.dtype) != x.dtype:
        return x
    return jax.device_put(x)


def source(leaf: Any) -> Source:
    """The source that stores an array or a Python number."""
    return of_array(on_host(leaf), f"python {type(leaf).__name__}" if _is_number(leaf) else "")


def _is_number(leaf) -> bool:
    # By its exact type: np.float64 and members of IntEnum are numbers of Python too.
    return type(leaf) in (bool, int, float, complex)


def check_storable(caller: str, name: str, leaf: Any) -> None:
    """Refuses a leaf, or an array of a compressed one, that no file can hold.

    Raises:
      TypeError: it has no numbers, or of a dtype that cannot be stored, or more than
        numbers, as masked arrays have.
      ValueError: its numbers are deleted, or partly on devices of other processes.
    """
    place = f"{caller}(tree): leaf {name!r}"
    if isinstance(leaf, jax.Array):
        _check_present(caller, place, leaf)
    elif isinstance(leaf, np.ma.MaskedArray):
        raise TypeError(
            f"{place} is a masked array, whose mask a file would lose. Pass leaf.filled(value), or "
            "leaf.data and np.ma.getmaskarray(leaf) as two leaves."
        )
    elif isinstance(leaf, np.ndarray) and type(leaf) not in (np.ndarray, np.memmap):
        raise TypeError(
            f"{place} is a {type(leaf).__name__}, which would come back as a plain array. Pass "
            "np.asarray(leaf)."
        )
    elif not (isinstance(leaf, (np.ndarray, np.generic)) or _is_number(leaf)):
        raise TypeError(
            f"{place} is of type {type(leaf).__name__}, which holds no numbers that can be stored. "
            "Pass a tree of arrays only."
        )
    dtype = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
    if dtype.name not in WORD_BITS or (type(leaf) is int and dtype != np.int64):
        raise TypeError(
            f"{place} has dtype {dtype}, which cannot be stored. Cast it to one of "
            f"{', '.join(WORD_BITS)}."
        )


def _check_present(caller: str, place: str, x: jax.Array) -> None:
    """Raises unless this process has numbers of the array that a file can hold."""
    if isinstance(x, jax.core.Tracer):
        raise TypeError(
            f"{place} is traced by jit, grad or vmap and has no numbers yet. Call {caller} outside "
            "of transformed functions."
        )
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        raise TypeError(
            f"{place} is a random key, whose meaning a file cannot fix. Leave it out, or save "
            "jax.random.key_data(key) and pass what was loaded to jax.random.wrap_key_data."
        )
    if x.is_deleted():
        raise ValueError(
            f"{place} is deleted: it was donated to a jitted function, or its delete() was called. "
            "Pass what that function returned, or a copy made before."
        )
    if not (x.is_fully_addressable or x.is_fully_replicated):
        raise ValueError(
            f"{place} is spread over the devices of several processes. Gather it in all of them by "
            "jax.experimental.multihost_utils.process_allgather(leaf, tiled=True)."
        )
