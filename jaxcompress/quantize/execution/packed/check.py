"""Whether outputs on words are those of the same program in floats, and of training."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxcompress.core.rules import Rules
from jaxcompress.core.types import Params, PyTree
from jaxcompress.graph.program import Program
from jaxcompress.quantize.execution.packed.running import in_floats
from jaxcompress.quantize.execution.packed.weights import SignSite


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
            f"{self.largest:.3g}: it sums scaled signs, which rounds but for powers of two"
        )


def agreement(
    program: Program,
    params: Params,
    inputs: tuple,
    static: Mapping[str, SignSite],
    rules: Rules,
    run: Callable,
    arrays: Sequence,
) -> Agreement | None:
    """Compares outputs with those of two programs in floats; None for shapes alone."""
    if any(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(inputs)):
        return None

    @jax.jit
    def expected(params, inputs):
        return [in_floats(program, params, inputs, each, rules) for each in (static, {})]

    found, (exact, training) = jax.jit(run)(arrays, inputs), expected(params, inputs)
    unlike = compared(found, exact)
    if unlike.differing:
        raise ValueError(
            f"packed_model(inputs=...): {unlike.differing} of {unlike.count} outputs differ from "
            f"those of the same program without words, by at most {unlike.largest:.3g}. Its "
            "floats round otherwise where XLA compiles them with others; pass shapes in the "
            "place of inputs to pack it all the same."
        )
    return compared(found, training)


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
