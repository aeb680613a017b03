"""Training with norms folded into weights: the view that moves their scales."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.names import named_leaves
from jaxcompress.core.trees import check_call
from jaxcompress.core.types import Array, Model, Params, PyTree, View
from jaxcompress.graph import trace
from jaxcompress.graph.symmetries import Move, Scaling, scale, scalings
from jaxcompress.quantize.equivalent.divisors import Variance, variances
from jaxcompress.quantize.equivalent.norms import move_of, ways_into_weights
from jaxcompress.quantize.equivalent.search import MOST


class _Fold(NamedTuple):
    """How the scale of one norm moves into weights.

    Attributes:
      move: what happens to the leaf of the scale.
      way: what happens to all leaves.
      variance: what the scale is divided by, where the norm stores it.
    """

    move: Move
    way: Scaling
    variance: Variance | None


def folded_norms(fn: Model, params: Params, *inputs: PyTree) -> View:
    """The view that folds norms into the weights beside them, differentiable.

    Not for: rounding without training, before which `equivalent.fold_norms` moves the
    scales once.

        weight -> weight · |scale| / sqrt(variance + epsilon)
        scale  -> sign(scale) · sqrt(variance + epsilon),   so that the norm multiplies
                  by 1 or -1; where it stores no variance, both without the root

    For training with weights that are rounded after folding, as they will run:

        fn(quantized_view(folded(params)), *inputs)

    A batch norm behind a convolution goes into its kernel, its bias and the running
    mean; any other norm into the layers that read it, and its shift takes the inverse.
    Outputs and gradients of all leaves are those of the model itself, in floats, to
    rounding; so it is trained, and the optimizer moves the leaves as they were. A scale
    that is 0 or not finite stays as it is.

    Statistics are frozen: `fn` is the model in evaluation mode, which reads the running
    mean and variance. Train by the bridge's `train_fn` until they are good, then
    through `fn` with this view; `recalibrate` estimates them anew.

    In the end ship `quantize(jax.jit(folded)(params), spec)`; the leaves of norms
    remain, so that the same program runs.

    Also known as: batch-norm folding in training, folded quantization-aware training,
    BN fusion, frozen batch norm.

    Args:
      fn: the model in evaluation mode, `fn(params, *inputs) -> outputs`.
      params: tree of floating arrays or shapes; only shapes matter.
      inputs: arrays or shapes that the model takes.

    Returns:
      View for params of these shapes, to be used inside of jit. Which norms it folds,
      and why not others, `equivalent.fold_norms` reports.

    Raises:
      TypeError: an argument is of the wrong kind.
      ValueError: no weight can take the scale of any norm; or (when applied) params
        have other leaves or shapes.

    Example:
      >>> def fn(params, x):
      ...     norm = jax.lax.rsqrt(params["var"] + 1e-3) * params["scale"]
      ...     return jax.nn.relu(x @ params["kernel"] * norm) @ params["out"]
      >>> params = {
      ...     "kernel": jnp.ones((1, 2)),
      ...     "var": jnp.full(2, 3.999),
      ...     "scale": jnp.array([2.0, -6.0]),
      ...     "out": jnp.ones((2, 1)),
      ... }
      >>> folded = jc.quantize.training.folded_norms(fn, params, jnp.ones(1))
      >>> after = folded(params)
      >>> after["kernel"].ravel().round(3).tolist(), after["scale"].round(3).tolist()
      ([1.0, 3.0], [2.0, -2.0])

    Source: Jacob et al. 2018, arXiv:1712.05877, section 3.2. Differs: statistics are
    those stored, not those of the batch, from the first step on.
    """
    check_call("folded_norms", fn, params, inputs)
    program = trace(fn, params, *inputs)
    weights = {leaf.name for site in program.sites for leaf in site.leaves}
    found, divisors = scalings(fn, params, *inputs), variances(program)
    shapes = {leaf.name: leaf.shape for leaf in program.leaves}
    folds = [
        _Fold(move_of(name, way), way, divisors.get(name))
        for name in sorted(found.gains - weights)
        for way in ways_into_weights(name, shapes[name], found, weights)
    ]
    if not folds:
        raise ValueError(
            "folded_norms(fn=...): no weight can take the scale of any norm. See the report of "
            "equivalent.fold_norms(fn, params, *inputs) for what is in the way."
        )

    def view(params: Params) -> Params:
        for fold in folds:
            params = scale(params, fold.way, _factors(named_leaves(params), fold))
        return params

    return view


def _factors(leaves: dict[str, Array], fold: _Fold) -> Array:
    """The factors that make the scale of a norm 1, of each channel of the way."""
    name, channels = fold.move.leaf, fold.move.channels
    if name not in leaves or jnp.shape(leaves[name]) != channels.shape:
        raise ValueError(
            f"folded_norms(...)(params=...) has no leaf {name!r} of shape {channels.shape}, whose "
            "scale is folded. Call folded_norms on these params."
        )
    gain = jnp.asarray(leaves[name], jnp.float32)
    held = jnp.ones_like(gain)
    if fold.variance is not None:
        held = jnp.asarray(leaves[fold.variance.leaf], jnp.float32) + fold.variance.epsilon
    size = jnp.abs(gain) * jax.lax.rsqrt(held)
    # Where there is nothing to fold a 1 stands in, before any slope can be NaN.
    says = (size > 0) & jnp.isfinite(size)
    size = jnp.abs(jnp.where(says, gain, 1.0)) * jax.lax.rsqrt(jnp.where(says, held, 1.0))
    factors = jnp.clip(size ** (-1.0 / fold.move.degree), 1 / MOST, MOST)
    taken = channels >= 0
    return jnp.ones(fold.way.size, jnp.float32).at[channels[taken]].set(factors[taken])
