"""Ten values that are mostly wrong, and for which kinds of argument they are right."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

import jaxcompress as jc

WRONG: dict[str, Callable[[], Any]] = {
    "text": lambda: "text",
    "None": lambda: None,
    "nan": lambda: float("nan"),
    "jnp nan": lambda: jnp.float32(float("nan")),
    "-1": lambda: -1,
    "jnp -1": lambda: jnp.int32(-1),
    "1.5": lambda: 1.5,
    "jnp 1.5": lambda: jnp.float32(1.5),
    "True": lambda: True,
    "function": lambda: jc.quantize.int8,
    "dict": lambda: {"text": object()},
}
"""Each made anew, since nothing may depend on what it did to the one before."""

NOTHING = frozenset[str]()
NUMBER = frozenset(("-1", "jnp -1", "1.5", "jnp 1.5"))
SIZE = frozenset(("1.5", "jnp 1.5"))
"""Finite and at least 0."""
WHOLE = frozenset(("-1",))
"""An int of either sign, as an axis is."""
FUNCTION = frozenset(("function",))
RATE = SIZE | FUNCTION
"""A schedule is any function."""
TEXT = frozenset(("text",))
NONE = frozenset(("None",))
BOOL = frozenset(("True",))

ENTRIES = frozenset(("jnp nan", "jnp -1", "jnp 1.5"))
"""An array of real numbers without axes."""
ARRAY = frozenset(("nan", "jnp nan", "True")) | NUMBER
"""A number is an array without axes; its values are data, which nobody can refuse."""
TREE = ARRAY | NONE
"""None is a tree without leaves."""
MASKS = NONE | {"True"}
"""A bool is a mask without axes; masks are fitted where params are seen."""
ANYTHING = frozenset(WRONG)
