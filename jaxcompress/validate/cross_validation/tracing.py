"""Whether a program can be compiled as a whole, and if not, why, in one sentence."""

import re
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from jaxcompress.core.checks import TracedError

UNTRACEABLE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.NonConcreteBooleanIndexError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    TracedError,
)
"""What code raises because it looks at values that a traced array does not have."""
QUOTED = re.compile(r"Tracer\b|\bTraced<|\ba traced \w+\[")
"""How other errors quote such an array: of shapes, and in checks of arguments."""

MOST_EQUATIONS = 10_000
"""More take a minute to compile, and come from a loop in Python."""


def compiled(function: Callable[..., Any], *arguments: Any) -> Callable[..., Any] | str:
    """The function compiled for such arguments, or why it cannot be.

    Errors that have nothing to do with tracing are raised as they are.

    Returns:
      The compiled function, to be called with these arguments; or a sentence.
    """
    try:
        traced = jax.jit(function).trace(*arguments)
    except Exception as error:
        reason = untraceable(error)
        if reason:
            return reason
        raise
    count = equations(traced.jaxpr.jaxpr)
    if count > MOST_EQUATIONS:
        return (
            f"it traces to {count:,} operations, too many to compile as one program, as a loop in "
            "Python does; loop by jax.lax.scan"
        )
    return traced.lower().compile()


def untraceable(error: BaseException) -> str:
    """Why an error is one of tracing; empty where it is none.

    An error that quotes a traced array, or was raised because of one of these, counts
    too. Where it is a mistake of the recipe's own, it comes again without tracing.
    """
    for each in _chain(error):
        if isinstance(each, UNTRACEABLE) or QUOTED.search(str(each)):
            return f"{_sentence(str(each))}{_place(each)}"
    return ""


def equations(jaxpr: Any) -> int:
    """The operations of a program, those of each call inside counted once per call."""
    return sum(1 + sum(equations(inner) for inner in _inner(each.params)) for each in jaxpr.eqns)


def _inner(params: dict[str, Any]) -> Iterator[Any]:
    for leaf in jax.tree.leaves(params, is_leaf=lambda node: hasattr(node, "eqns")):
        inner = getattr(leaf, "jaxpr", leaf)
        if hasattr(inner, "eqns"):
            yield inner


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _sentence(message: str) -> str:
    """The first sentence; what follows in JAX's messages explains tracing."""
    return message.partition("\n")[0].partition(". ")[0].rstrip(".")


def _place(error: BaseException) -> str:
    """The line of the recipe: the last one outside of installed packages."""
    own = str(Path(__file__).parents[2])
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not (frame.filename.startswith(own) or "-packages" in frame.filename)
    ]
    if not frames:
        return ""
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno}: {frames[-1].line})"
