"""Whether outputs on words are those of the same program in floats, and of training."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcompress.core.types import PyTree


class Agreement(NamedTuple):
    """How many outputs differ from those of training, on the given inputs.

    Attributes:
      count: numbers of outputs.
      differing: how many are not equal to the bit.
      largest: the largest difference.
    """

    count: int
    differing: int
    largest: float

    def __str__(self) -> str:
        if not self.differing:
            return f"all {self.count} outputs are training's to the bit"
        return (
            f"{self.differing} of {self.count} outputs differ from training's, by at most "
            f"{self.largest:.3g}: training rounds its sums where scales are no powers of two, and "
            "XLA what is computed of sums as it compiles each program"
        )


Outputs = tuple[Callable[..., Any], PyTree]
"""A function (params, *inputs) to outputs, and its params."""


def agreement(
    words: Outputs, exact: Outputs, training: Outputs, inputs: tuple[Any, ...]
) -> Agreement | None:
    """Compares outputs on words with training's; None for shapes alone.

    Each is compiled alone, as users do: in one program with others XLA rounds the sums
    of training otherwise.

    Args:
      words: what is compared.
      exact: what it must be, by other means.
      training: what it should be.
      inputs: arrays, or shapes.

    Raises:
      ValueError: outputs are not the exact ones.
    """
    if any(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(inputs)):
        return None
    found, expected, trained = (
        jax.jit(fn)(params, *inputs) for fn, params in (words, exact, training)
    )
    unlike = compared(found, expected)
    if unlike.differing:
        raise ValueError(
            f"packed_model(inputs=...): {unlike.differing} of {unlike.count} outputs differ from "
            f"those of the same program without words, by at most {unlike.largest:.3g}. Its "
            "floats round otherwise where XLA compiles them with others; pass shapes in the "
            "place of inputs to pack it all the same."
        )
    return compared(found, trained)


def compared(found: PyTree, expected: PyTree) -> Agreement:
    """The agreement of two trees of outputs."""
    pairs = [
        [np.asarray(x, np.float64).reshape(-1) for x in pair]
        for pair in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    ]
    one, other = (np.concatenate([pair[i] for pair in pairs] or [[]]) for i in (0, 1))
    unlike = ~((one == other) | (np.isnan(one) & np.isnan(other)))
    return Agreement(
        len(one), int(unlike.sum()), float(np.max(np.abs(one - other)[unlike], initial=0.0))
    )
