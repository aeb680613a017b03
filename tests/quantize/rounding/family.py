"""The family of roundings: one row for each, which the table of laws is run on."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxcompress.core.spec import QuantSpec
from jaxcompress.quantize import formats, ranges, rounding, scales
from jaxcompress.quantize.rounding import Rounding

Measure = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(errors (outputs, inputs), second moment of inputs) -> (outputs,)."""

FORMATS = [
    formats.int3(),
    formats.uint2(group_size=4),
    formats.nvfp4(),
    formats.codebook(3, group_size=4),
    formats.int2(per="tensor"),
]
"""Integers, floats and stored levels, each shared and stored in another way."""


def on_outputs(error: np.ndarray, second_moment: np.ndarray) -> np.ndarray:
    """What the error adds to each output: e H eᵀ."""
    return np.sum((error @ second_moment) * error, axis=1)


def promises_nothing(error: np.ndarray, second_moment: np.ndarray) -> np.ndarray:
    return np.zeros(len(error))


def by_energy(error: np.ndarray, second_moment: np.ndarray) -> np.ndarray:
    return np.sum(np.square(error) * np.diag(second_moment), axis=1)


def by_power(power: float) -> Measure:
    return lambda error, second_moment: np.sum(np.abs(error) ** power, axis=1)


class Row(NamedTuple):
    """A rounding, under the name of its function.

    Attributes:
      make: what it is called as.
      measure: what in all is never more than that of rounding to nearest; of one that
        promises nothing, zero.
      formats: what it is tested on.
      reads: whether it reads the second moment.
      free: whether a weight may get any code, whatever others get.
    """

    make: Callable[[], Rounding]
    measure: Measure
    formats: Sequence[QuantSpec] = tuple(FORMATS)
    reads: bool = True
    free: bool = True


AROUND = {"low_rank", "rotated", "sparse"}
"""Those that are made of another, and whose laws are in files of their own."""

ROUNDINGS = {
    "nearest": Row(rounding.nearest, on_outputs, reads=False),
    "gptq": Row(rounding.gptq, on_outputs),
    "weighted": Row(lambda: rounding.nearest(scales.weighted()), by_energy),
    "sign_round, swept": Row(
        lambda: rounding.sign_round(steps=20, ranges=scales.sweep()),
        promises_nothing,
        [formats.nvfp4()],
    ),
    "hqq": Row(lambda: rounding.hqq(norm=0.5), by_power(0.5), reads=False),
    "stochastic": Row(
        lambda: rounding.stochastic(jax.random.key(0)), promises_nothing, reads=False
    ),
    "rate_distortion": Row(
        lambda: rounding.rate_distortion(1e-30, ranges=ranges.min_max), by_energy
    ),
    "trellis": Row(
        lambda: rounding.trellis(1e-6, ranges=ranges.min_max),
        promises_nothing,
        [formats.int3(), formats.int4(group_size=4)],
        free=False,
    ),
    "sign_round": Row(lambda: rounding.sign_round(steps=20), on_outputs),
    "ada_round": Row(lambda: rounding.ada_round(steps=20), on_outputs),
}
