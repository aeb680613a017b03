"""How error messages quote what they were given: short, on one line, by its name."""

import inspect

import numpy as np
from jax.core import Tracer

from jaxcompress.core.types import Array

MOST_CHARACTERS = 60
"""A longer quotation is cut."""


def shown(value: object) -> str:
    """A value as a message quotes it: one line of at most 60 characters.

    Arrays are quoted by dtype and shape, single numbers by their value, functions and
    classes by their name.

    Example:
      >>> [shown(each) for each in (jnp.ones((2, 3)), jnp.float32(0.5), jax.nn.relu)]
      ['float32[2, 3]', '0.5', 'relu']
    """
    if isinstance(value, Tracer):
        return f"a traced {value.dtype}{list(value.shape)}"
    if isinstance(value, Array | np.ndarray):
        return shortened(str(value)) if value.shape == () else f"{value.dtype}{list(value.shape)}"
    name = getattr(value, "__name__", None)
    if callable(value) and isinstance(name, str):
        return name
    return shortened(str(value) if isinstance(value, np.generic) else repr(value))


def shortened(text: str) -> str:
    """A text on one line, cut in its middle where it is longer than 60 characters."""
    line = " ".join(text.split())
    if len(line) <= MOST_CHARACTERS:
        return line
    half = (MOST_CHARACTERS - 1) // 2
    return f"{line[:half]}…{line[-half:]}"


def suggestion(value: object, expected: str) -> str:
    """Asks whether a function of ours or of optax was to be called; else empty.

    What such functions give are functions inside them, which are passed as they are.
    """
    if not inspect.isfunction(value) or "<" in value.__qualname__:
        return ""
    if not value.__module__.startswith(("jaxcompress", "optax")):
        return ""
    return f" Did you mean {value.__name__}(...), which gives {expected}?"
