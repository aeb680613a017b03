"""How an optimizer's moments are kept between steps; arithmetic is always float32."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from jaxcompress.core.numerics import narrowed
from jaxcompress.core.types import Array, PyTree


class Storage(NamedTuple):
    """Two pure functions between a moment and the form it is stored in.

    Invariants:
      - `encode` takes a float32 array of any shape, also an empty one, and returns
        arrays whose shapes and dtypes follow from that shape alone.
      - `decode(encode(x))` is float32 of the shape of `x`, finite where `x` is.
      - `decode(encode(0))` is exactly 0, and never negative where `x` is not.
    """

    encode: Callable[[Array], PyTree]
    decode: Callable[[PyTree], Array]


def float32() -> Storage:
    """Four bytes per number, exact: the default everywhere.

    Example:
      >>> storage = jc.optimizers.float32()
      >>> storage.decode(storage.encode(jnp.float32([0.1])))
      Array([0.1], dtype=float32)
    """
    return Storage(encode=lambda moment: moment, decode=lambda stored: stored)


def bfloat16() -> Storage:
    """Two bytes per number, rounded to nearest: 8 significant bits, float32's range.

    Good for a first moment. A running average with a decay above 1 - 2**-8 stands still
    once its steps are below half a unit in the last place, so a second moment at the
    usual 0.999 stays near what it first grew to.

    Example:
      >>> storage = jc.optimizers.bfloat16()
      >>> storage.encode(jnp.float32([1.0, 1.001, 1e-30]))
      Array([1, 1, 9.98e-31], dtype=bfloat16)
    """
    return Storage(
        encode=lambda moment: narrowed(moment, jnp.bfloat16),
        decode=lambda stored: stored.astype(jnp.float32),
    )
