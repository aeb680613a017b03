"""What roundings share that weigh errors against bits: options, grids and programs."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.checks import check_count, check_positive
from jaxcompress.core.formats.grids import Grid
from jaxcompress.core.formats.integers import Integers
from jaxcompress.core.kinds import check_takes
from jaxcompress.core.leaf import CompressedLeaf
from jaxcompress.core.observers import Range
from jaxcompress.core.rates import Rate
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.layerwise.solver import all_counted
from jaxcompress.quantize.assignment import Assignment
from jaxcompress.quantize.ranges.extremes import min_max
from jaxcompress.quantize.ranges.grids import Ranges, check_ranges
from jaxcompress.quantize.rounding.blocks import block_sums, grid_within
from jaxcompress.quantize.rounding.matrices import grid_of
from jaxcompress.quantize.rounding.rounding import Rounded, Rounding, coded


class Options(NamedTuple):
    """What is chosen beside the slope; hashable.

    Attributes:
      rate: a rate model.
      ranges: which range the codes of a block cover; None for the slope's step.
      turns: how often the bits are counted.
    """

    rate: Rate
    ranges: Ranges | None
    turns: int


class Choose(Protocol):
    """Chooses the codes of one matrix.

    Args:
      weight: (outputs, inputs) float32.
      worth: (inputs,) what a squared error costs, in bits.
      on: the grid.
      spec: the format.
      options: the rate model and the turns.

    Returns:
      (outputs, inputs) whole numbers.
    """

    def __call__(
        self, weight: Array, worth: Array, on: Grid, spec: QuantSpec, options: Options, /
    ) -> Array: ...


class Method(NamedTuple):
    """A rounding by errors and bits.

    Attributes:
      caller: what it is called.
      choose: how it chooses codes.
      step: its step, as a share of `slope_step`.
    """

    caller: str
    choose: Choose
    step: float


def rounding_by_slope(method: Method, slope: float, options: Options) -> Rounding:
    """The rounding of a method.

    Raises:
      TypeError: the rate is no function of two arguments, or `ranges` no estimator.
      ValueError: the slope is not above 0, or there is no turn.
    """
    caller, (rate, ranges, turns) = method.caller, options
    check_positive(caller, "slope", slope)
    check_takes(caller, "rate", rate, 2, "Pass a rate model, as rates.order_0.")
    if ranges is not None:
        check_ranges(caller, ranges)
    options = options._replace(turns=check_count(caller, "turns", turns))

    def array(x: Array, choice: Assignment) -> CompressedLeaf:
        return _array(x, np.float32(slope), choice, method, options)

    return Rounding(_rounding(method, slope, options, _of_output).solver, array)


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _array(
    x: Array, slope: Array, choice: Assignment, method: Method, options: Options
) -> CompressedLeaf:
    """One program for all slopes: a search of the slope compiles once."""
    return _rounding(method, slope, options, _of_weight).array(x, choice)


_LEAST_POWER = np.float32(1e-20)
"""Of a leaf that gives nothing, so that a bit is worth something there too."""


def _of_weight(weight: Array, energy: Array) -> Array:
    """A bit is worth the same in all leaves, in squared weights."""
    del weight, energy
    return jnp.ones((), jnp.float32)


def _of_output(weight: Array, energy: Array) -> Array:
    """A bit is worth a share of the leaf's squared output.

    Leaves whose outputs are small, as those that end a residual branch, would else be
    given up for those whose outputs are large. Few weights that give a whole output, as
    those of a first convolution, keep more bits each than many.
    """
    return jnp.maximum(jnp.sum(energy[None] * jnp.square(weight)), _LEAST_POWER)


def _rounding(
    method: Method,
    slope: float | Array,
    options: Options,
    unit: Callable[[Array, Array], Array],
) -> Rounding:
    """The rounding at a slope that counts in units of each leaf."""

    def round(weight: Array, second_moment: Array, spec: QuantSpec) -> Rounded:
        energy = jnp.diagonal(all_counted(second_moment))
        energy /= unit(weight, energy)
        if options.ranges is None:
            on = _sloped(weight, energy, slope, method, spec)
        else:
            on = grid_of(weight, spec, options.ranges, second_moment)
        return Rounded(method.choose(weight, energy / slope, on, spec, options), on)

    return coded(round)


def _sloped(
    weight: Array, energy: Array, slope: float | Array, method: Method, spec: QuantSpec
) -> Grid:
    """The grid whose step suits the slope, or a coarser one that covers all weights."""
    if not around_zero(spec):
        raise ValueError(
            f"{method.caller}(ranges=None): no step follows from the slope for {spec}, whose "
            "levels are no integers around zero. Pass ranges, as ranges.min_max."
        )
    start = grid_of(weight, spec, min_max)
    steps = start.steps(spec)
    share = weight.size // steps.size
    mean = block_sums(jnp.broadcast_to(energy, weight.shape), steps.shape) / share
    suited = jnp.sqrt(np.float32(6 / math.log(2)) * slope / jnp.where(mean > 0, mean, jnp.inf))
    lowest, highest = spec.levels.ends
    steps = jnp.maximum(steps, np.float32(method.step) * suited)
    return grid_within(Range(lowest * steps, highest * steps), start, weight.shape, spec)


def around_zero(spec: QuantSpec) -> bool:
    """Whether codes are integers that stand for as many steps from zero."""
    return isinstance(spec.levels, Integers) and spec.symmetric
