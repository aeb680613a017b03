"""Muon: momentum whose singular values are all made about 1."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.axes import Axes
from jaxcompress.core.kinds import check_select, check_shape
from jaxcompress.core.matrices import as_matrices, from_matrices, matrix_shape
from jaxcompress.core.names import map_named
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.penalties import group_norms
from jaxcompress.core.selectors import meeting_data
from jaxcompress.core.trees import chosen_by, named_axes
from jaxcompress.core.types import Array, Params, Selector
from jaxcompress.optimizers.classic.adam import adamw
from jaxcompress.optimizers.classic.momentum import scale_by_nesterov
from jaxcompress.optimizers.descent import descending
from jaxcompress.optimizers.hyperparameters import (
    check_counts,
    check_decays,
    check_rates,
    check_sizes,
)
from jaxcompress.optimizers.leafwise import check_gradients, check_trainable
from jaxcompress.optimizers.matrix.matrices import hidden, matrix_axes
from jaxcompress.optimizers.matrix.products import product
from jaxcompress.optimizers.matrix.scales import Scale, checked_scale
from jaxcompress.optimizers.moments import as_float32, divided

# Of x, x³ and x⁵: steep at 0, at most 1.21 on [0, 1.21], and [0.68, 1.14] into itself.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalized(x: Array, steps: ArrayLike = 5, eps: ArrayLike = 1e-7) -> Array:
    """The same singular vectors, with singular values near 1, by Newton-Schulz.

        x <- x / (‖x‖ + eps)
        x <- 3.4445 · x + (-4.7750 · B + 2.0315 · B²) · x,  B = x · x^T;  `steps` times

    Args:
      x: (batch, m, n) float32; a batch of matrices, each by itself.
      steps: () int, at least 1. After 5, what began above a hundredth of the norm is in
        [0.68, 1.14]; above a 500th, in [0.68, 1.21].
      eps: () at least 0; shorter matrices do not get to full length.

    Returns:
      (batch, m, n) float32; a matrix of zeros stays zero.

    Example:
      >>> x = jnp.array([[[3.0, 0.0, 0.0], [0.0, 0.5, 0.0]]])
      >>> jnp.linalg.svd(jc.optimizers.orthogonalized(x), compute_uv=False).round(2)
      Array([[1.04, 0.71]], dtype=float32)

    Source: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon.
    """
    check_shape("orthogonalized", "x", x, "(batch, m, n)")
    (steps,) = check_counts("orthogonalized", steps=steps)
    check_sizes("orthogonalized", eps=eps)
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = divided(x, group_norms(x, (1, 2)) + as_float32(eps))
    first, third, fifth = COEFFICIENTS

    def step(_: Array, x: Array) -> Array:
        square = product(x, x.mT)
        mixed = third * square + fifth * product(square, square)
        return first * x + product(mixed, x)

    x = jax.lax.fori_loop(0, steps, step, x)
    return x.mT if tall else x


def scale_by_muon(
    momentum: ArrayLike = 0.95,
    *,
    steps: ArrayLike = 5,
    eps: ArrayLike = 1e-7,
    scale: Scale | None = None,
    axes: Axes | None = None,
) -> optax.GradientTransformation:
    """Nesterov's momentum, each matrix orthogonalised and scaled by its shape.

        m <- momentum · m + g
        update = scale(rows, columns) · orthogonalized(g + momentum · m)

    For matrices alone; `muon` does the split.

    Bound: no singular value of a matrix's update is above 1.21 · scale for the default
    5 steps, whatever the gradients.

    Args:
      momentum: () in [0, 1).
      steps: () int, at least 1: of Newton-Schulz.
      eps: () at least 0; momenta shorter than this shrink to nothing.
      scale: (rows, columns) to a number; by default `spectral_scale`. Under
        `inject_hyperparams` it goes into `static_args`.
      axes: from `graph.axes`; by default the layout of `assumed_axes`.

    Returns:
      Transformation with a `MomentsState`.

    Raises:
      ValueError: a number is outside its range; when `init` sees the params: a leaf
        does not multiply data as a matrix, or is a table that is looked up.
      TypeError: when `init` sees the params: a leaf is not real floating.

    Example:
      >>> scaled = jc.optimizers.scale_by_muon()
      >>> grads = jnp.diag(jnp.array([3.0, -0.5]))
      >>> scaled.update(grads, scaled.init(jnp.zeros((2, 2))))[0].round(2)
      Array([[ 0.71,  0.  ],
             [ 0.  , -1.04]], dtype=float32)

    Source: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon. Differs:
    products are float32, and rows are outputs whatever the layout.
    """
    check_decays("scale_by_muon", momentum=momentum)
    check_sizes("scale_by_muon", eps=eps)
    (steps,) = check_counts("scale_by_muon", steps=steps)
    accelerated = scale_by_nesterov(momentum)
    known = named_axes("scale_by_muon", axes)
    scale = checked_scale("scale_by_muon", scale)

    def init(params: Params) -> optax.OptState:
        check_trainable("scale_by_muon", params)
        map_named(lambda name, leaf: matrix_axes("scale_by_muon", name, leaf, known), params)
        return accelerated.init(params)

    def update(updates: optax.Updates, state: Any, params: Params = None):
        check_gradients("scale_by_muon", updates, params)

        def orthogonal(name: str, push: Array, gradient: Array) -> Array:
            roles = matrix_axes("scale_by_muon", name, push, known)
            _, rows, columns = matrix_shape(push.shape, roles)
            unit = orthogonalized(as_matrices(push, roles), steps, eps)
            return narrowed(from_matrices(scale(rows, columns) * unit, roles, push), gradient.dtype)

        wide = jax.tree.map(lambda gradient: gradient.astype(jnp.float32), updates)
        pushes, state = accelerated.update(wide, state)
        return map_named(orthogonal, pushes, updates), state

    return optax.GradientTransformation(init, update)


def muon(
    learning_rate: ArrayLike | optax.Schedule,
    *,
    adam_learning_rate: ArrayLike | optax.Schedule | None = None,
    momentum: ArrayLike = 0.95,
    steps: ArrayLike = 5,
    eps: ArrayLike = 1e-7,
    scale: Scale | None = None,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.95,
    weight_decay: ArrayLike = 0.0,
    select: Selector | None = None,
    axes: Axes | None = None,
) -> optax.GradientTransformationExtraArgs:
    """`scale_by_muon` for hidden matrices, `adamw` for all other leaves.

    Not for: the last layer and tables, which are better left to Adam.

    A table that is only looked up is told by `axes`; name the others:

        body = jc.none_of(jc.matching("head/*"))
        hidden = jc.all_of(jc.optimizers.hidden(axes), body)
        optimizer = jc.optimizers.muon(0.02, adam_learning_rate=3e-4, select=hidden)

    Args:
      learning_rate: at least 0: a number, a () array or a schedule; 0.02 is usual with
        `spectral_scale`, and Adam's own with `adam_scale`.
      adam_learning_rate: the same for all other leaves; by default `learning_rate`,
        which suits `adam_scale`. With `spectral_scale`, 3e-4 is usual.
      momentum: () in [0, 1), of the matrices.
      steps: () int, at least 1: of Newton-Schulz.
      eps: () at least 0; momenta shorter than this shrink to nothing.
      scale: (rows, columns) to a number: `spectral_scale`, the default, or
        `adam_scale`. Under `inject_hyperparams` it goes into `static_args`.
      b1: () in [0, 1), of Adam.
      b2: () in [0, 1), of Adam.
      weight_decay: () at least 0, decoupled; of all leaves that meet data.
      select: which leaves go to Muon; by default `hidden(axes)`. Under
        `inject_hyperparams` it goes into `static_args`.
      axes: from `graph.axes`; by default the layout of `assumed_axes`.

    Returns:
      Transformation with an `optax.transforms.PartitionState` of "muon" and "adam".

    Raises:
      ValueError: a number is outside its range; when `init` sees the params: a selected
        leaf does not multiply data as a matrix; in `update`, with a decay: params are
        missing.
      TypeError: when `init` sees the params: a leaf is not real floating.

    Example:
      >>> optimizer = jc.optimizers.muon(0.1, adam_learning_rate=0.01)
      >>> params = {"kernel": jnp.ones((1, 1)), "bias": jnp.ones(2)}
      >>> optimizer.update(params, optimizer.init(params), params)[0]
      {'bias': Array([-0.01, -0.01], dtype=float32),
       'kernel': Array([[-0.0696]], dtype=float32)}

    Also known as: momentum orthogonalized by Newton-Schulz.

    Source: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon; decay and
    `adam_scale` from Liu et al. 2025, arXiv:2502.16982.
    """
    check_decays("muon", momentum=momentum, b1=b1, b2=b2)
    rest = learning_rate if adam_learning_rate is None else adam_learning_rate
    check_rates("muon", learning_rate=learning_rate, adam_learning_rate=rest)
    check_sizes("muon", eps=eps)
    check_sizes("muon", weight_decay=weight_decay)
    check_counts("muon", steps=steps)
    checked_scale("muon", scale)
    check_select("muon", select)
    named_axes("muon", axes)

    orthogonal = scale_by_muon(momentum, steps=steps, eps=eps, scale=scale, axes=axes)
    decays = meeting_data(axes)
    matrices = descending("muon", orthogonal, learning_rate, weight_decay, decays)
    others = adamw(rest, b1=b1, b2=b2, weight_decay=weight_decay, select=decays)

    def labels(params: Params):
        chosen = chosen_by("muon", select or hidden(axes), params)
        return map_named(lambda name, _: "muon" if chosen[name] else "adam", params)

    return optax.partition({"muon": matrices, "adam": others}, labels)
