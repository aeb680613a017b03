"""Which part of examples a check looks at."""

from collections.abc import Callable

from jaxcompress.core.messages import shown
from jaxcompress.core.types import PyTree
from jaxcompress.validate.leakage.blocks import count, in_memory

PART = "It takes the examples and gives the part to look at."

Part = Callable[[PyTree], PyTree]
"""Examples, a tree of arrays (n, ...), to a part or a function of them (n, ...)."""


def everything(examples: PyTree) -> PyTree:
    """The examples as they are."""
    return examples


def part_of(of: Part, examples: PyTree) -> PyTree:
    """The part of a block, checked; an error of `of` says what it was given."""
    try:
        part = of(examples)
    except (LookupError, TypeError) as error:
        raise TypeError(
            f"check(checks): of(examples) fails with {error!r} on {shown(examples)}."
        ) from error
    tree = in_memory("check", "of", part)
    if count(tree) != count(examples):
        raise ValueError(
            f"check(checks): of(examples) gives {count(tree)} rows for {count(examples)} examples."
        )
    return tree
