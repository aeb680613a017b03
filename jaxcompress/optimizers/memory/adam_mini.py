"""Adam-mini: Adam with one mean of squares for each block of weights."""

import optax
from jax.typing import ArrayLike

from jaxcompress.core.axes import Axes, LeafAxes
from jaxcompress.core.types import Array, Selector
from jaxcompress.optimizers.descent import descending
from jaxcompress.optimizers.hyperparameters import check_decays, check_sizes
from jaxcompress.optimizers.memory.axiswise import axiswise, mean_along
from jaxcompress.optimizers.moments import average, divided, root, unbiased


def scale_by_adam_mini(
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    *,
    eps: ArrayLike = 1e-8,
    axes: Axes | None = None,
) -> optax.GradientTransformation:
    """The mean of gradients over the root of one mean of squares for each block.

        m <- b1 · m + (1 - b1) · g
        v <- b2 · v + (1 - b2) · mean of g² over the block
        update = m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)

    A block is one index of a leaf's first output axis with all the weights into it, for
    each index of its batch axes:

        kernel (in, out), kernel (…, in, out) of a convolution    an output unit
        kernel (model, heads, width) of query, key or value       a head
        embedding (tokens, width), last layer (width, tokens)     a token
        bias, norm: leaves that meet no data                      a number

    Args:
      b1: () in [0, 1), how long the mean of gradients remembers.
      b2: () in [0, 1), how long the means of squares remember.
      eps: () at least 0, outside the root.
      axes: from `graph.axes`; by default the layout of `assumed_axes`, in which only
        the last axis is an output: heads, tables and scanned layers are for `axes` to
        tell.

    Returns:
      Transformation with a `MomentsState` of the moments `first_moment` and
      `second_moment`, the latter of size 1 along the axes of a block; an update is 0
      where the divisor is.

    Raises:
      ValueError: a number is outside its range; when `init` sees the params: `axes` was
        made for others.
      TypeError: when `init` sees the params: a leaf is not real floating.

    Example:
      >>> scaled = jc.optimizers.scale_by_adam_mini()
      >>> grads = jnp.array([[1.0, 0.0], [1.0, 3.0]])
      >>> scaled.update(grads, scaled.init(grads))[0].round(2)
      Array([[1.  , 0.  ],
             [1.  , 1.41]], dtype=float32)

    Source: Zhang et al. 2024, arXiv:2406.16793, algorithms 1 and 3. Differs: blocks
    follow the axes and not the names, so values have a mean for each head, as queries
    do, where a kernel keeps heads apart; a bias or a norm is Adam's, since it is small
    and, stacked by a scan, would be one block for all layers.
    """
    return _adam_mini("scale_by_adam_mini", b1, b2, eps, axes)


def adam_mini(
    learning_rate: ArrayLike | optax.Schedule,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    weight_decay: ArrayLike = 0.0,
    select: Selector | None = None,
    axes: Axes | None = None,
) -> optax.GradientTransformation:
    """`scale_by_adam_mini`, then decoupled `weight_decay`, then the learning rate.

    Args:
      learning_rate: at least 0: a number, a () array or a schedule; as for AdamW.
      b1: () in [0, 1).
      b2: () in [0, 1).
      eps: () at least 0, outside the root.
      weight_decay: () at least 0.
      select: which leaves decay; by default matrices and kernels, see `weights`. Under
        `inject_hyperparams` it goes into `static_args`.
      axes: from `graph.axes`; by default the layout of `assumed_axes`.

    Raises:
      ValueError: a number is outside its range; in `update`, with a decay: params are
        missing.

    Example:
      >>> optimizer = jc.optimizers.adam_mini(0.1)
      >>> optimizer.update(jnp.array([2.0]), optimizer.init(jnp.zeros(1)))[0]
      Array([-0.1], dtype=float32)
    """
    scaled = _adam_mini("adam_mini", b1, b2, eps, axes)
    return descending("adam_mini", scaled, learning_rate, weight_decay, select)


def block_axes(roles: LeafAxes) -> tuple[int, ...]:
    """The axes of a leaf along which a block lies; none for a leaf that meets no data.

    Example:
      >>> block_axes(LeafAxes(contracting=(0,), output=(1, 2)))
      (0, 2)
    """
    return roles.contracting + roles.output[1:]


def _adam_mini(
    caller: str, b1: ArrayLike, b2: ArrayLike, eps: ArrayLike, axes: Axes | None
) -> optax.GradientTransformation:
    check_decays(caller, b1=b1, b2=b2)
    check_sizes(caller, eps=eps)

    def step(
        roles: LeafAxes, count: Array, gradient: Array, first: Array, second: Array
    ) -> tuple[Array, Array, Array]:
        squares = mean_along(gradient * gradient, block_axes(roles))
        first = average(first, gradient, b1)
        second = average(second, squares, b2)
        divisor = root(unbiased(second, count, b2), eps, 0.0)
        return divided(unbiased(first, count, b1), divisor), first, second

    return axiswise(
        caller,
        step,
        axes,
        first_moment=lambda roles, ndim: (),
        second_moment=lambda roles, ndim: block_axes(roles),
    )
