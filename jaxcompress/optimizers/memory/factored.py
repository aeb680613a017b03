"""Adafactor: the mean of squared gradients of a matrix as one row and one column."""

import math

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.axes import Axes, LeafAxes
from jaxcompress.core.checks import check_positive
from jaxcompress.core.penalties import group_norms
from jaxcompress.core.types import Array, Selector
from jaxcompress.optimizers.descent import descending
from jaxcompress.optimizers.hyperparameters import check_sizes
from jaxcompress.optimizers.memory.axiswise import axiswise, mean_along
from jaxcompress.optimizers.moments import as_float32, divided


def scale_by_factored(
    exponent: ArrayLike = 0.8,
    *,
    eps: ArrayLike = 1e-30,
    limit: ArrayLike = 1.0,
    axes: Axes | None = None,
) -> optax.GradientTransformation:
    """Divides by the root of a mean of squares of which only the margins are kept.

        r <- (1 - s) · r + s · mean over inputs of (g² + eps),    s = t^-exponent
        c <- (1 - s) · c + s · mean over outputs of (g² + eps)
        u = g / sqrt(r · c / mean of r)
        update = u / max(1, root mean square of u / limit)

    The rows of a matrix are its outputs, the columns what is summed over: for a
    convolution kernel m outputs and the n numbers of a patch. It keeps m + n numbers
    for m · n. A leaf that meets no data (a bias, a norm) keeps all of its squares.

    Args:
      exponent: () at least 0; the memory grows to about t^exponent updates.
      eps: () at least 0, added to squares.
      limit: () above 0, the largest root mean square of a matrix's update.
      axes: from `graph.axes`; by default the layout of `assumed_axes`. Layers of a
        scan and experts are matrices of their own, if `axes` is given.

    Returns:
      Transformation with a `MomentsState` of the moments `row_moment` and
      `column_moment`, of each leaf's rank; an update is 0 where the divisor is.

    Raises:
      ValueError: a number is outside its range; when `init` sees the params: `axes` was
        made for others.
      TypeError: when `init` sees the params: a leaf is not real floating.

    Example:
      >>> scaled = jc.optimizers.scale_by_factored()
      >>> grads = jnp.array([[1.0, -2.0], [2.0, 4.0], [0.0, 0.0]])
      >>> scaled.update(grads, scaled.init(grads))[0]
      Array([[ 1., -1.],
             [ 1.,  1.],
             [ 0.,  0.]], dtype=float32)

    Source: Shazeer and Stern 2018, arXiv:1804.04235, algorithm 4. Differs from
    `optax.scale_by_factored_rms`: matrices are found by the roles of axes, not by
    which are longest, and none is too small.
    """
    return _factored("scale_by_factored", exponent, eps, limit, axes)


def adafactor(
    learning_rate: ArrayLike | optax.Schedule,
    *,
    exponent: ArrayLike = 0.8,
    eps: ArrayLike = 1e-30,
    limit: ArrayLike = 1.0,
    weight_decay: ArrayLike = 0.0,
    select: Selector | None = None,
    axes: Axes | None = None,
) -> optax.GradientTransformation:
    """`scale_by_factored`, then decoupled `weight_decay`, then the learning rate.

    Args:
      learning_rate: at least 0: a number, a () array or a schedule; as for Adam.
      exponent: () at least 0; the memory grows to about t^exponent updates.
      eps: () at least 0, added to squares.
      limit: () above 0, the largest root mean square of a matrix's update.
      weight_decay: () at least 0.
      select: which leaves decay; by default matrices and kernels, see `weights`. Under
        `inject_hyperparams` it goes into `static_args`.
      axes: from `graph.axes`; by default the layout of `assumed_axes`.

    Raises:
      ValueError: a number is outside its range; in `update`, with a decay: params are
        missing.

    Example:
      >>> optimizer = jc.optimizers.adafactor(0.1)
      >>> optimizer.update(jnp.array([2.0]), optimizer.init(jnp.zeros(1)))[0]
      Array([-0.1], dtype=float32)

    Source: Shazeer and Stern 2018, arXiv:1804.04235. Differs: the rate is the caller's,
    neither fixed to 1 / sqrt(t) nor multiplied by the size of the params, and there is
    no momentum, as in the paper's own setting.
    """
    scaled = _factored("adafactor", exponent, eps, limit, axes)
    return descending("adafactor", scaled, learning_rate, weight_decay, select)


def clipped(update: Array, within: tuple[int, ...], limit: ArrayLike) -> Array:
    """The update of one leaf, the root mean square of each group at most `limit`.

    Args:
      update: (…) float32.
      within: the axes of a group; all others count the groups.
      limit: () above 0, or infinity.

    Returns:
      float32 of the same shape.

    Example:
      >>> clipped(jnp.array([[3.0, 4.0, 0.0, 0.0], [0.5, 0.5, 0.5, 0.5]]), (1,), 1.0)
      Array([[1.2, 1.6, 0. , 0. ],
             [0.5, 0.5, 0.5, 0.5]], dtype=float32)
    """
    limit = as_float32(limit)
    entries = math.prod(update.shape[axis] for axis in within)
    size = group_norms(update, within) / max(entries, 1) ** 0.5
    return update * jnp.where(size > limit, limit / jnp.where(size > 0, size, 1.0), 1.0)


def _outputs(roles: LeafAxes, ndim: int) -> tuple[int, ...]:
    """The axes that count outputs; all axes of a leaf that meets no data."""
    return roles.output if roles.meets_data else tuple(range(ndim))


def _factored(
    caller: str, exponent: ArrayLike, eps: ArrayLike, limit: ArrayLike, axes: Axes | None
) -> optax.GradientTransformation:
    check_sizes(caller, exponent=exponent, eps=eps)
    check_positive(caller, "limit", limit)

    def step(
        roles: LeafAxes, count: Array, gradient: Array, rows: Array, columns: Array
    ) -> tuple[Array, Array, Array]:
        share = count.astype(jnp.float32) ** -as_float32(exponent)
        squares = gradient * gradient + as_float32(eps)
        outputs = _outputs(roles, gradient.ndim)
        rows = (1 - share) * rows + share * mean_along(squares, roles.contracting)
        columns = (1 - share) * columns + share * mean_along(squares, outputs)
        # Roots before the product, which may be below the least float32.
        divisor = jnp.sqrt(divided(rows, mean_along(rows, outputs))) * jnp.sqrt(columns)
        update = clipped(divided(gradient, divisor), outputs + roles.contracting, limit)
        return update, rows, columns

    return axiswise(
        caller,
        step,
        axes,
        row_moment=lambda roles, ndim: roles.contracting,
        column_moment=_outputs,
    )
