"""Orders in which GPTQ rounds inputs; later ones make up for the errors of earlier."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxcompress.core import exports
from jaxcompress.core.kinds import check_shape
from jaxcompress.core.types import Array

exports.list_definitions(globals())

Order = Callable[[Array], Array]
"""Second moment (inputs, inputs), positive definite -> (inputs,) whole numbers.

Which input is rounded first, second and so on: each input once.
"""


def by_energy(second_moment: Array) -> Array:
    """Rounds the inputs of the largest mean square first.

    Weights that matter most are rounded while most others can still make up for them.
    Among equal energies the earlier goes first. Also known as: activation order,
    act-order, desc_act.

    Args:
      second_moment: (inputs, inputs) float32.

    Returns:
      (inputs,) int32.

    Raises:
      ValueError: the second moment is not a square matrix.

    Example:
      >>> jc.quantize.rounding.orders.by_energy(jnp.diag(jnp.array([1.0, 4.0, 2.0])))
      Array([1, 2, 0], dtype=int32)

    Source: the option `act-order` of the code of Frantar et al. 2022, arXiv:2210.17323.
    """
    _check("by_energy", second_moment)
    return jnp.argsort(-jnp.diagonal(second_moment), stable=True).astype(jnp.int32)


def natural(second_moment: Array) -> Array:
    """Rounds the inputs as they lie.

    Args:
      second_moment: (inputs, inputs) float32.

    Returns:
      (inputs,) int32.

    Raises:
      ValueError: the second moment is not a square matrix.

    Example:
      >>> jc.quantize.rounding.orders.natural(jnp.eye(3))
      Array([0, 1, 2], dtype=int32)

    Source: Frantar et al. 2022, arXiv:2210.17323, algorithm 1.
    """
    _check("natural", second_moment)
    return jnp.arange(len(second_moment), dtype=jnp.int32)


def min_pivot(second_moment: Array) -> Array:
    """Rounds last the input of the smallest pivot, and again among those that are left.

        d_i = H_ii, then each time: j = argmin d, which goes last of all that are left
        d_i <- d_i - f_i²,  f: the next row of the factor of H with pivot j

    The squared steps of the lattice on which GPTQ finds the nearest plane are these
    pivots, so that its bound on the error is small. Takes time as the cube of the
    inputs, one after another: several times the rounding itself.

    Args:
      second_moment: (inputs, inputs) float32.

    Returns:
      (inputs,) int32.

    Raises:
      ValueError: the second moment is not a square matrix.

    Example:
      >>> moment = jnp.array([[4.0, 1.9, 0.0], [1.9, 1.0, 0.0], [0.0, 0.0, 2.0]])
      >>> jc.quantize.rounding.orders.min_pivot(moment)
      Array([2, 0, 1], dtype=int32)

    Source: Chen et al. 2025, arXiv:2507.18553, section on the order.
    """
    _check("min_pivot", second_moment)
    inputs = len(second_moment)
    least = jnp.finfo(jnp.float32).eps * jnp.max(jnp.diagonal(second_moment))

    def take(state: tuple[Array, Array, Array], k: Array):
        pivots, taken, rows = state
        j = jnp.argmin(jnp.where(taken, jnp.inf, pivots))
        seen = jnp.matmul(rows[:, j], rows, precision=jax.lax.Precision.HIGHEST)
        row = (second_moment[j] - seen) / jnp.sqrt(jnp.maximum(pivots[j], least))
        pivots = jnp.maximum(pivots - jnp.square(row), 0.0)
        return (pivots, taken.at[j].set(True), rows.at[k].set(row)), j

    start = (
        jnp.diagonal(second_moment),
        jnp.zeros(inputs, bool),
        jnp.zeros_like(second_moment),
    )
    _, last_first = jax.lax.scan(take, start, jnp.arange(inputs))
    return last_first[::-1].astype(jnp.int32)


def _check(caller: str, second_moment: Array) -> None:
    check_shape(caller, "second_moment", second_moment, "(inputs, inputs)")
    rows, columns = second_moment.shape
    if rows != columns:
        raise ValueError(
            f"{caller}(second_moment=...) has shape {(rows, columns)} and must be square: E[x xᵀ] "
            "of the inputs."
        )
