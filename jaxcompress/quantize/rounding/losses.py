"""The loss that tuned roundings lower, and the better of two for each row of blocks."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.formats.grids import Grid
from jaxcompress.core.formats.sharing import spread
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.layerwise.solver import all_counted
from jaxcompress.quantize.scales.blockwise import where_better


class Candidate(NamedTuple):
    """Codes, and what they cost.

    Attributes:
      losses: (row blocks, 1).
      codes: (outputs, inputs).
      on: their grid.
    """

    losses: Array
    codes: Array
    on: Grid


def output_losses(second_moment: Array, on: Grid, spec: QuantSpec) -> Callable[[Array], Array]:
    """What errors of a matrix add to the squares of its outputs, (outputs,).

        loss_i = (e_i · H · e_iᵀ) / (mean diagonal of H · largest step²)

    with H of `all_counted`: an input that no data reached counts as others do.

    Args:
      second_moment: (inputs, inputs); need not be positive definite.
      on: the grid whose steps errors are compared with.
      spec: its format.

    Returns:
      Function of errors (outputs, inputs). Its gradient is 2 · e · H, in one product.

    Example:
      >>> on = Grid(jnp.ones((1, 1)))
      >>> losses = output_losses(jnp.eye(2), on, jc.quantize.int8())
      >>> losses(jnp.array([[1.0, 0.0], [1.0, 2.0]]))
      Array([1., 5.], dtype=float32)
    """
    energy = jnp.mean(jnp.abs(jnp.diagonal(second_moment)))
    moment = second_moment / jnp.where(energy > 0, energy, 1.0)
    moment = all_counted(moment)
    unit = jnp.max(on.steps(spec))

    def losses(errors: Array) -> Array:
        errors = errors / unit
        pull = jnp.matmul(errors, moment, precision=jax.lax.Precision.HIGHEST)
        rows = jnp.sum(jax.lax.stop_gradient(pull) * errors, axis=1)
        # Its slope is twice this: H is symmetric, so it needs no second product.
        return 2 * rows - jax.lax.stop_gradient(rows)

    return losses


def in_bands(losses: Array, on: Grid) -> Array:
    """Losses of outputs (outputs,), summed over those that share a row of blocks."""
    return jnp.sum(losses.reshape(on.scale.shape[0], -1), axis=1, keepdims=True)


def better(one: Candidate, other: Candidate) -> Candidate:
    """Of two candidates the better one, for each row of blocks; the second if alike."""
    wins = one.losses < other.losses
    codes = jnp.where(spread(wins, one.codes[:, :1].shape), one.codes, other.codes)
    losses = jnp.where(wins, one.losses, other.losses)
    return Candidate(losses, codes, where_better(wins, one.on, other.on))
