"""GPTQ: rounds inputs in turn, and lets those that follow make up for the errors."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.checks import check_count, check_positive
from jaxcompress.core.kinds import check_takes
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.layerwise.solver import damped, damped_factor
from jaxcompress.layerwise.sweeps import sweep
from jaxcompress.quantize.ranges.extremes import min_max
from jaxcompress.quantize.ranges.grids import Ranges, check_ranges
from jaxcompress.quantize.rounding.columns import Columns, columns_of
from jaxcompress.quantize.rounding.descent import better, polished, unit
from jaxcompress.quantize.rounding.matrices import grid_of
from jaxcompress.quantize.rounding.nearest import nearest
from jaxcompress.quantize.rounding.orders import Order, by_energy
from jaxcompress.quantize.rounding.rounding import Rounded, Rounding, coded


def gptq(
    *,
    ranges: Ranges = min_max,
    order: Order = by_energy,
    sweeps: int = 1,
    damping: float = 0.01,
    block_size: int = 128,
) -> Rounding:
    """Rounds input by input; weights of later inputs make up for the errors.

    Not for: models without calibration data; `hqq` takes none.

        H: second moment of the inputs, damped; U: upper factor of its inverse, UᵀU
        q_j = the level nearest to w_j,   error_j = (w_j - q_j) / U_jj
        w_i <- w_i - error_j · U_ji                           for each later input i

    An output that is not better than rounded to nearest gets the nearest codes. Sweeps
    of coordinate descent follow, in which each weight gets the best of its levels as
    all others are; none raises the loss (q - w) H (q - w)ᵀ of an output. In the end no
    output is worse than rounded to nearest, damped and not.

    Also known as: OPTQ, LDLQ (QuIP), Babai's nearest plane, QuantEase and CDQuant (the
    sweeps).

    Takes every format. Ranges are those of the weights as they were, so blocks that
    share a scale stay where they lie whatever the order is. Weights that are 0 stay 0
    where the format has a zero, and others make up for that. Weights of an input that
    is always 0 are rounded to nearest, and so are all without data.

    Where the damped second moment has no Cholesky factor, the damping is raised
    tenfold until it has, and the row of the report says so.

    Args:
      ranges: which range the codes of a block cover, or a search of their scales.
      order: damped second moment (inputs, inputs) -> the inputs in their turns; one of
        `quantize.rounding.orders`.
      sweeps: of coordinate descent, at least 0; each takes about as long as the rest.
      damping: share of the mean energy of the inputs that each counts at least, above
        0; more where the calibration data are few.
      block_size: inputs whose errors are taken off all later ones at once, at least 1;
        it changes the time alone.

    Returns:
      Rounding.

    Raises:
      TypeError: `ranges` is no estimator and no search, or `order` is no function of
        one argument.
      ValueError: `sweeps` or `block_size` is too small, or `damping` not above 0.

    Example:
      >>> weight = jnp.array([[-0.15, -0.41, -0.61, -0.24], [0.18, 0.25, 0.4, -0.49]])
      >>> x = jnp.array([[1.0, 2, 0, 1], [0, 1, 1, 1], [2, 1, 0, 0], [1, 0, 1, 2]]).T
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> params, int4 = {"kernel": weight.T}, jc.quantize.int4()
      >>> rounding = jc.quantize.rounding.gptq()
      >>> quantized, _ = jc.quantize.reconstruct(fn, params, [x], int4, rounding)
      >>> quantized["kernel"].unpacked_codes  # (outputs, inputs)
      Array([[-2, -4, -7, -3],
             [ 3,  3,  5, -7]], dtype=int8)

    Source: Frantar et al. 2022, arXiv:2210.17323, algorithm 1; the sweeps are those of
    Behdin et al. 2023, arXiv:2309.01885. Differs: ranges are found beforehand, inputs
    are taken by energy by default, errors are kept and taken off a block when its turn
    comes, sweeps follow (on the damped moment, which keeps them from fitting few rows),
    an output may fall back to the nearest codes, and a failed factor is told.
    """
    check_ranges("gptq", ranges)
    check_takes("gptq", "order", order, 1, "Take one of quantize.rounding.orders.")
    sweeps = check_count("gptq", "sweeps", sweeps, 0)
    check_positive("gptq", "damping", damping)
    block_size = check_count("gptq", "block_size", block_size)

    def round(weight: Array, second_moment: Array, spec: QuantSpec) -> Rounded:
        on = grid_of(weight, spec, ranges, second_moment)
        moment = unit(second_moment)
        turns = order(damped(moment, damping))
        moment = moment[turns][:, turns]
        whole, factor, raised = damped_factor(moment, damping)
        columns = columns_of(weight, on, turns, spec)
        codes, closest = nearest_plane(columns, factor, block_size), columns.nearest
        more = jnp.diagonal(whole) - jnp.diagonal(moment)
        codes = better(columns, codes, closest, moment, more)
        codes = jax.lax.fori_loop(
            0, sweeps, lambda _, codes: polished(columns, codes, whole, block_size), codes
        )
        codes = better(columns, codes, closest, moment, jnp.zeros_like(more))
        return Rounded(jnp.zeros_like(weight).at[:, turns].set(codes.T), on, raised)

    return Rounding(coded(round).solver, nearest(ranges).array)


def nearest_plane(columns: Columns, factor: Array, block_size: int) -> Array:
    """Codes (inputs, outputs) of inputs that make up for the errors of those before.

    Args:
      columns: the inputs in their turns.
      factor: U of `inverse_factor` in the same order.
      block_size: inputs whose errors are taken off all others at once.
    """

    def decide(row: tuple[Any, ...], pull: Array, error: Array) -> tuple[Array, Array]:
        weights, on, pivot = row
        del error  # 0: this input had no turn yet.
        target = weights - pull
        codes = columns.encode(target, on, weights)
        return (target - columns.decode(codes, on)) / pivot, codes

    rows = (columns.weights, columns.on, jnp.diagonal(factor))
    return sweep(decide, factor.T, jnp.zeros_like(columns.weights), rows, block_size)[1]
