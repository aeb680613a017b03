"""A leaf as matrices: what patterns see that cut outputs and inputs into pieces."""

import math
from collections.abc import Callable

import jax.numpy as jnp

from jaxcompress.core.axes import LeafAxes, from_canonical, to_canonical
from jaxcompress.core.sharding import with_results_sharded_alike
from jaxcompress.core.types import Array
from jaxcompress.prune.patterns.pattern import check_roles, check_sparsity

MatrixMask = Callable[[Array, Array | float], Array]
"""(scores (batch…, outputs, inputs), sparsity () or (batch…, 1, 1)) to a bool mask."""

InputsMask = Callable[[Array, Array | float, int], Array]
"""(scores, sparsity () or of one for each slice, axis of inputs) to a bool mask."""


def on_matrices(
    caller: str,
    mask: MatrixMask,
    scores: Array,
    sparsity: Array | float,
    leaf_axes: LeafAxes,
) -> Array:
    """The mask of a leaf from the mask of its matrices.

    Args:
      caller: the pattern that errors name.
      mask: of the matrices; outputs and inputs are flattened in the leaf's order.
      scores: (...) float; the leaf's own layout.
      sparsity: in [0, 1]; () or one per slice along the batch axes.
      leaf_axes: of the leaf.

    Returns:
      (...) bool of the scores' shape and sharding.

    Raises:
      ValueError: a `sparsity` is outside [0, 1], or roles are not known.

    Example:
      >>> axes = jc.LeafAxes(contracting=(0,), output=(1,))
      >>> transposed = lambda matrices, sparsity: matrices > sparsity
      >>> on_matrices("example", transposed, jnp.array([[0.1, 0.9]]), 0.5, axes)
      Array([[False,  True]], dtype=bool)
    """
    check_sparsity(caller, sparsity)
    check_roles(caller, scores, leaf_axes)
    batch = len(leaf_axes.batch)
    outputs = math.prod(scores.shape[i] for i in leaf_axes.output)
    inputs = math.prod(scores.shape[i] for i in leaf_axes.contracting)

    def of_leaf(scores: Array, sparsity: Array | float) -> Array:
        canonical = to_canonical(scores, leaf_axes)
        matrices = canonical.reshape(*canonical.shape[:batch], outputs, inputs)
        if jnp.ndim(sparsity):
            shares = to_canonical(jnp.asarray(sparsity), leaf_axes)
            sparsity = shares.reshape(*shares.shape[:batch], 1, 1)
        return from_canonical(mask(matrices, sparsity).reshape(canonical.shape), leaf_axes)

    return with_results_sharded_alike(of_leaf, scores, sparsity)


def on_inputs(
    caller: str,
    mask: InputsMask,
    scores: Array,
    sparsity: Array | float,
    leaf_axes: LeafAxes,
) -> Array:
    """The mask of a leaf from a mask that looks along the inputs of each output.

    Inputs are the contracting axes as one. Where these lie side by side they are looked
    at in place, since to transpose a leaf takes longer than to rank its entries.

    Args:
      caller: the pattern that errors name.
      mask: of the scores and their axis of inputs, flattened in the leaf's order.
      scores: (...) float; the leaf's own layout.
      sparsity: in [0, 1]; () or one per slice along the batch axes.
      leaf_axes: of the leaf.

    Returns:
      (...) bool of the scores' shape and sharding.

    Raises:
      ValueError: a `sparsity` is outside [0, 1], or roles are not known.

    Example:
      >>> axes = jc.LeafAxes(contracting=(0,), output=(1,))
      >>> above = lambda scores, sparsity, axis: scores > sparsity
      >>> on_inputs("example", above, jnp.array([[0.1, 0.9]]), 0.5, axes)
      Array([[False,  True]], dtype=bool)
    """
    check_sparsity(caller, sparsity)
    check_roles(caller, scores, leaf_axes)
    contracting = leaf_axes.contracting
    first = contracting[0] if contracting else scores.ndim
    end = first + len(contracting)

    def in_place(scores: Array, sparsity: Array | float) -> Array:
        shape = scores.shape
        inputs = scores.reshape(*shape[:first], math.prod(shape[first:end]), *shape[end:])
        if jnp.ndim(sparsity):
            shares = jnp.shape(sparsity)
            sparsity = jnp.reshape(sparsity, (*shares[:first], 1, *shares[end:]))
        return mask(inputs, sparsity, first).reshape(shape)

    if contracting == tuple(range(first, end)):
        return with_results_sharded_alike(in_place, scores, sparsity)
    return on_matrices(
        caller,
        lambda matrices, sparsity: mask(matrices, sparsity, matrices.ndim - 1),
        scores,
        sparsity,
        leaf_axes,
    )
