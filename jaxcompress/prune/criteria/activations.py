"""What a weight is worth by the data it meets: criteria from calibration."""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from jaxcompress.core.axes import LeafAxes, from_canonical
from jaxcompress.core.criterion import Criterion
from jaxcompress.core.names import map_named
from jaxcompress.core.observers import second_moment
from jaxcompress.core.types import Array, Model, Params
from jaxcompress.graph.calibrate import calibrate
from jaxcompress.graph.program import trace
from jaxcompress.prune.criteria.weights import stateless


def wanda(fn: Model, params: Params, batches: Sequence[Any]) -> Criterion:
    """A weight is worth its size times that of the input it meets.

        score_oi = |w_oi| · sqrt(mean over rows of x_i²)

    Meant for large pretrained models without training, with the pattern
    `within_outputs`, `within_groups` or `n_of_m`. The model runs once over the batches,
    as it is: the data that later layers meet after pruning are not looked at.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: tree of arrays, of the names that will be pruned.
      batches: calibration data, each an input or a tuple of the model's inputs.

    Returns:
      Criterion without state. It knows the leaves that meet data in a dot; a leaf that
      meets some in several dots goes by the first one.

    Raises:
      ValueError: there is no batch, or a batch holds a NaN; when scores are asked for:
        a leaf to be pruned meets data in no dot.

    Example:
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> params = {"kernel": jnp.array([[1.0, 1.0], [2.0, 3.0]])}
      >>> criterion = jc.prune.wanda(fn, params, [jnp.array([[4.0, 1.0]])])
      >>> criterion.score((), params)
      {'kernel': Array([[4., 4.],
             [2., 3.]], dtype=float32)}

    Source: Sun et al. 2023, arXiv:2306.11695, equation 1. Differs: the root of the mean
    square in place of the norm, the same order within a leaf.
    """
    if not batches:
        raise ValueError("wanda(batches=[]) holds no batch. Pass at least one.")
    inputs = batches[0] if isinstance(batches[0], tuple) else (batches[0],)
    readings = calibrate(fn, params, batches, second_moment())
    norms: dict[str, Array] = {}
    for site in trace(fn, params, *inputs).sites:
        for leaf in site.leaves if site.is_matmul else ():
            shape = _reading_shape(leaf.shape, site.axes)
            if math.prod(shape) == readings[site.name].size:
                norms.setdefault(leaf.name, _spread(readings[site.name], leaf.shape, site.axes))

    def score_of(name: str, param: Array) -> Array:
        size = jnp.abs(param.astype(jnp.float32))
        if param.shape == ():
            return size
        if name not in norms:
            raise ValueError(
                f"wanda(fn, params, batches): leaf {name!r} of shape {param.shape} meets data in "
                "no dot that reads all of it. Leave it out with select=."
            )
        return size * norms[name]

    return stateless(lambda state, params: map_named(score_of, params))


def _reading_shape(shape: tuple[int, ...], axes: LeafAxes) -> tuple[int, ...]:
    """The sizes of a leaf in canonical order, 1 for the output axes."""
    kept = {*axes.batch, *axes.contracting}
    return tuple(shape[i] if i in kept else 1 for i in axes.order)


def _spread(reading: Array, shape: tuple[int, ...], axes: LeafAxes) -> Array:
    """The root mean square of each input, so that it broadcasts to the leaf."""
    return from_canonical(jnp.sqrt(reading).reshape(_reading_shape(shape, axes)), axes)
