"""Criteria from calibration data: weights scored by the inputs that they multiply."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple, cast

import jax.numpy as jnp

from jaxcompress.core.axes import from_canonical
from jaxcompress.core.batches import as_batches, as_inputs
from jaxcompress.core.checks import check_concrete
from jaxcompress.core.evidence import missing
from jaxcompress.core.models import check_model
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.observers import Reading, second_moment
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Model, Params
from jaxcompress.graph.calibrate import calibrate
from jaxcompress.graph.layouts import Convolution
from jaxcompress.graph.program import trace
from jaxcompress.graph.sites import Site
from jaxcompress.graph.value_axes import ValueAxis
from jaxcompress.prune.criteria.weights import stateless
from jaxcompress.prune.criterion import Criterion

_NOT_MET = "it meets data in no dot or convolution that reads all of it, as it is stored"


def wanda(fn: Model, params: Params, batches: Iterable[Any]) -> Criterion:
    """Scores a weight by its magnitude times the norm of its input.

    Not for: the least loss that calibration data can give, which solvers reach by
    fitting the weights that stay.

        score_oi = |w_oi| · sqrt(mean over rows of x_i²)

    At a convolution i is an input channel, of the output's own group, and its rows are
    all positions of all examples: one number for a whole window, padding left out.

    Meant for large pretrained models without training, with the pattern
    `within_outputs`, `within_groups` or `n_of_m`. The model runs once over the batches,
    as it is: the data that later layers meet after pruning are not looked at.

    Also known as: Wanda.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: tree of arrays, of the names that will be pruned.
      batches: calibration data, each an input or a tuple of the model's inputs.

    Returns:
      Criterion without state. It knows the leaves that meet data in a dot or a
      convolution; a leaf that meets some in several goes by the first one that data
      reached. `unscored` are those that none reached, such as experts without tokens,
      whose inputs are not known, which is not to say that they are 0; and those that
      meet data in none, such as tables that are looked up, or of which only a part
      does, what arithmetic makes of them, or their entries in another order, as after
      a flip.

    Raises:
      ValueError: there is no batch, a batch is empty or holds a NaN, or no data reach
        any leaf; when scores are asked for: a leaf to be pruned is unscored.

    Example:
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> params = {"kernel": jnp.array([[1.0, 1.0], [2.0, 3.0]])}
      >>> criterion = jc.prune.criteria.wanda(fn, params, [jnp.array([[4.0, 1.0]])])
      >>> criterion.score((), params)
      {'kernel': Array([[4., 4.],
             [2., 3.]], dtype=float32)}

    Source: Sun et al. 2023, arXiv:2306.11695, equation 1. Differs: the root of the mean
    square in place of the norm, the same order within a leaf; convolutions.
    """
    check_model("wanda", fn)
    check_arrays("wanda", "params", params)
    check_concrete("wanda", params=params)
    batches = as_batches("wanda", batches)
    readings = calibrate(fn, params, batches, second_moment())
    met: dict[str, _Met] = {}
    for site in trace(fn, params, *as_inputs(batches[0])).sites:
        entries = site.as_stored and site.in_order
        for leaf in site.leaves if site.name in readings and entries else ():
            found = _met(readings[site.name], leaf.shape, site)
            if found is not None:
                met[leaf.name] = _first(met.get(leaf.name, found), found)
    norms = {name: jnp.sqrt(each.square) for name, each in met.items()}
    reasons = {
        name: missing(met[name].count) if name in met else _NOT_MET for name in named_leaves(params)
    }
    unscored = {name: reason for name, reason in reasons.items() if reason}

    def score_of(name: str, param: Array) -> Array:
        size = jnp.abs(param.astype(jnp.float32))
        if param.shape == ():
            return size
        if name in unscored or name not in norms:
            raise ValueError(
                f"wanda(fn, params, batches): leaf {name!r} has no scores: "
                f"{unscored.get(name, _NOT_MET)}. Give data that reach it, or leave it out with "
                "select=."
            )
        return size * norms[name]

    criterion = stateless(lambda state, params: map_named(score_of, params))
    return criterion._replace(unscored=unscored)


class _Met(NamedTuple):
    """What a leaf meets at a site.

    Attributes:
      square: the mean square of each weight's input, broadcasts to the leaf.
      count: (stack…, batch…) of the rows that told it.
      seen: whether some did, broadcasts to the leaf.
    """

    square: Array
    count: Array
    seen: Array


def _met(reading: Reading, shape: tuple[int, ...], site: Site) -> _Met | None:
    """The reading of a site for a leaf of this shape; None where it is of another."""
    spread = _spread if site.is_matmul else _spread_channels
    square = spread(reading.value, shape, site)
    if square is None:
        return None
    seen = jnp.broadcast_to(reading.count[..., None] > 0, reading.value.shape)
    return _Met(square, reading.count, cast(Array, spread(seen, shape, site)))


def _first(one: _Met, other: _Met) -> _Met:
    """The first reading, or the other one where no data reached the first."""
    if one.count.shape != other.count.shape:
        return one if bool(jnp.all(one.count)) else other
    return _Met(
        jnp.where(one.seen, one.square, other.square),
        jnp.where(one.count > 0, one.count, other.count),
        one.seen | other.seen,
    )


def _spread(reading: Array, shape: tuple[int, ...], site: Site) -> Array | None:
    """The reading of a dot so that it broadcasts to the leaf; None if it does not."""
    kept = {*site.axes.batch, *site.axes.contracting}
    sizes = tuple(shape[i] if i in kept else 1 for i in site.axes.order)
    if math.prod(sizes) != reading.size:
        return None
    return from_canonical(reading.reshape(sizes), site.axes)


def _spread_channels(reading: Array, shape: tuple[int, ...], site: Site) -> Array | None:
    """The same of a convolution, whose reading is (stack…, channels of all groups).

    A group has its own channels, and its outputs lie side by side.
    """
    layout = cast(Convolution, site.layout)
    groups, stack = layout.groups, len(site.stack)
    (output,) = site.operand_axes.output
    outer = site.operand_parts[output] if groups > 1 else ()
    inner = site.operand_parts[layout.kernel_axes[1]]
    axes = _whole_axes((*outer, *inner), shape)
    # A layer that is no slice of a scan has other channels, which were not read.
    unread = {i for i in {*site.axes.batch} ^ {*range(stack)} if shape[i] > 1}
    if axes is None or unread or layout.batch_groups > 1:
        return None
    outputs = math.prod(part.size for part in outer)
    square = reading.reshape(*site.stack, groups, -1)
    square = jnp.repeat(square, outputs // groups, axis=stack)  # (stack…, outputs or 1, inputs)
    order = (*range(stack), *axes)
    square = square.reshape([shape[axis] for axis in order])
    square = jnp.transpose(square, sorted(range(len(order)), key=order.__getitem__))
    return jnp.expand_dims(square, tuple(i for i in range(len(shape)) if i not in order))


def _whole_axes(axis: ValueAxis, shape: tuple[int, ...]) -> list[int] | None:
    """The leaf's axes that an operand's axis holds in this order, each as a whole."""
    found = []
    for leaf_axis, size in axis:
        if size > 1 and (leaf_axis is None or size != shape[leaf_axis]):
            return None
        if size > 1:
            found.append(leaf_axis)
    return found
