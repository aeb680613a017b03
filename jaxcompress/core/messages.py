"""How error messages quote what they were given: short, on one line, by its name."""

import inspect
import reprlib
from glob import escape

import numpy as np
from jax.core import Tracer

from jaxcompress.core.types import Array

MOST_CHARACTERS = 60
"""A longer quotation is cut in its middle."""

_BRIEF = reprlib.Repr()
_BRIEF.maxstring = _BRIEF.maxother = MOST_CHARACTERS
_BRIEF.maxlist = _BRIEF.maxtuple = _BRIEF.maxset = _BRIEF.maxdict = 4
_BRIEF.maxlevel = 2


def shown(value: object) -> str:
    """A value as a message quotes it: one line of at most 60 characters.

    Arrays are quoted by dtype and shape, single numbers by their value, functions and
    classes by their name. Of a large container only the first entries are looked at.

    Example:
      >>> [shown(each) for each in (jnp.ones((2, 3)), jnp.float32(0.5), jax.nn.relu)]
      ['float32[2, 3]', '0.5', 'relu']
      >>> shown("x" * 10**6)
      "'xxxxxxxxxxxxxxxxxxxxxxxxxxx...xxxxxxxxxxxxxxxxxxxxxxxxxxxx'"
    """
    if isinstance(value, Tracer):
        return f"a traced {value.dtype}{list(value.shape)}"
    if isinstance(value, Array | np.ndarray):
        return _short(str(value)) if value.shape == () else f"{value.dtype}{list(value.shape)}"
    name = getattr(value, "__name__", None)
    if callable(value) and isinstance(name, str):
        return name
    return _short(str(value) if isinstance(value, np.generic) else _BRIEF.repr(value))


def _short(text: str) -> str:
    line = " ".join(text.split())
    if len(line) <= MOST_CHARACTERS:
        return line
    half = (MOST_CHARACTERS - 1) // 2
    return f"{line[:half]}…{line[-half:]}"


def literally(pattern: str, names: list[str]) -> str:
    """How a pattern names the leaf that is called just so; empty where there is none.

    Example:
      >>> literally("layer[0]", ["layer[0]"])
      " In patterns [ ] ? and * stand for characters: name this leaf 'layer[[]0]'."
    """
    if pattern not in names:
        return ""
    return f" In patterns [ ] ? and * stand for characters: name this leaf {escape(pattern)!r}."


def suggestion(value: object, expected: str) -> str:
    """Asks whether a function of ours or of optax was to be called; else empty.

    What such functions give are functions inside them, which are passed as they are.
    """
    if not inspect.isfunction(value) or "<" in value.__qualname__:
        return ""
    if not value.__module__.startswith(("jaxcompress", "optax")):
        return ""
    return f" Did you mean {value.__name__}(...), which gives {expected}?"
