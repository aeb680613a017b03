"""Cross-layer equalization: channels of weights brought to one range, without data."""

from collections.abc import Iterator
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.checks import check_concrete, check_count
from jaxcompress.core.models import check_model
from jaxcompress.core.names import named_leaves
from jaxcompress.core.report import KEPT, LeafReport, Report
from jaxcompress.core.sizes import size_bytes
from jaxcompress.core.trees import check_call
from jaxcompress.core.types import Model, Params, PyTree
from jaxcompress.graph import trace
from jaxcompress.graph.symmetries import Move, Scaling, scale, scalings
from jaxcompress.quantize.equivalent.search import bounded
from jaxcompress.quantize.equivalent.ways import check_weights

CLOSE = 1e-3
"""Sweeps end once no channel's factor differs more from 1."""


class Ranges(NamedTuple):
    """The largest magnitude of each channel, in weights on both ends of a scaling."""

    above: np.ndarray
    below: np.ndarray


def equalize(fn: Model, params: Params, *inputs: PyTree, sweeps: int = 20) -> tuple[Params, Report]:
    """Brings each channel to one range in the weights that make it and that read it.

    Not for: formats with a scale for each output channel, as `int8` and `int4` have by
    default, which do most of it alone.

    With one scale per tensor, a channel of small weights is lost beside a large one.
    Between two weights that share channels, through a relu for example,

        factor_i = sqrt(range of channel i where it is read / range where it is made)

    multiplies what makes channel i and divides what reads it, so that both have the
    same range for it. Biases, norm shifts and running means follow as the program says
    (`graph.symmetries.scalings`). Sweeps over all scalings are repeated, since a weight
    has channels on both sides.

    Also known as: CLE, data-free quantization, weight equalization.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: tree of floating arrays.
      inputs: arrays or shapes that the model takes.
      sweeps: at most so many.

    Returns:
      (params, report): the same structure and function; per leaf the largest ratio of
      its channels' ranges, before and after.

    Raises:
      ValueError: `sweeps` is no count, or a weight is not finite.
      TypeError: an argument is of the wrong kind.

    Example:
      >>> fn = lambda params, x: (jax.nn.relu(x @ params["in"])) @ params["out"]
      >>> params = {"in": jnp.array([[1.0, 16.0]]), "out": jnp.array([[4.0], [1.0]])}
      >>> after, _ = jc.quantize.equivalent.equalize(fn, params, jnp.ones((1, 1)))
      >>> after["in"].ravel(), after["out"].ravel()
      (Array([2., 4.], dtype=float32), Array([2., 4.], dtype=float32))

    Source: Nagel et al. 2019, arXiv:1906.04721, section 4.1. Differs: pairs of layers
    are those that the program has, queries and keys among them; no bias is absorbed.
    """
    check_model("equalize", fn)
    check_call("equalize", fn, params, inputs)
    sweeps = check_count("equalize", "sweeps", sweeps)
    check_concrete("equalize", params=params)
    program = trace(fn, params, *inputs)
    check_weights("equalize", params, program)
    weights = {leaf.name for site in program.sites for leaf in site.leaves}
    pairs = [each for each in scalings(fn, params, *inputs).all if _pairs(each, weights)]
    after = params
    for _ in range(sweeps if pairs else 0):
        change = 0.0
        for each in pairs:
            found = _ranges(each, after, weights)
            with np.errstate(divide="ignore", invalid="ignore"):
                factors = bounded(np.sqrt(found.below / found.above))
            after = scale(after, each, jnp.asarray(factors, jnp.float32))
            change = max(change, float(np.abs(np.log(factors)).max(initial=0.0)))
        if change < CLOSE:
            break
    return after, _report(params, after, pairs, weights)


def _pairs(scaling: Scaling, weights: set[str]) -> bool:
    """Whether weights lie on both ends, each to the first degree."""
    degrees = {move.degree for move in scaling.moves if move.leaf in weights}
    return degrees == {1, -1}


def _ranges(scaling: Scaling, params: Params, weights: set[str]) -> Ranges:
    leaves, ends = named_leaves(params), {}
    for degree in (1, -1):
        ends[degree] = np.zeros(scaling.size)
        for move in scaling.moves:
            if move.leaf in weights and move.degree == degree:
                channels, sizes = _entries(move, leaves[move.leaf])
                np.maximum.at(ends[degree], channels, sizes)
    return Ranges(ends[1], ends[-1])


def _entries(move: Move, leaf) -> tuple[np.ndarray, np.ndarray]:
    """The channels that a move takes in a leaf, and the largest entry of each place."""
    others = tuple(axis for axis, size in enumerate(move.channels.shape) if size == 1)
    sizes = np.abs(np.asarray(leaf, np.float64)).max(axis=others, keepdims=True, initial=0.0)
    taken = move.channels >= 0
    return move.channels[taken], sizes[taken]


def _report(params: Params, after: Params, pairs: list[Scaling], weights: set[str]) -> Report:
    before, later = named_leaves(params), named_leaves(after)
    made = dict(_spreads(before, pairs, weights))
    now = dict(_spreads(later, pairs, weights))
    moved = {move.leaf for each in pairs for move in each.moves}
    rows = []
    for name, leaf in before.items():
        if name in made:
            action = "equalized"
            reason = f"largest over smallest channel {made[name]:.3g} before, {now[name]:.3g} after"
        elif name in moved:
            action, reason = "scaled", "takes the factors of its channels"
        else:
            action, reason = KEPT, "no factor may move between it and another weight"
        sizes = size_bytes(leaf), size_bytes(later[name])
        rows.append(LeafReport(name, tuple(np.shape(leaf)), action, reason, *sizes))
    return Report("equalize", tuple(rows))


def _spreads(leaves, pairs: list[Scaling], weights: set[str]) -> Iterator[tuple[str, float]]:
    """Per leaf the largest ratio of channels' ranges, zeros left out."""
    for each in pairs:
        for move in each.moves:
            if move.leaf in weights:
                channels, sizes = _entries(move, leaves[move.leaf])
                found = np.zeros(each.size)
                np.maximum.at(found, channels, sizes)
                found = found[found > 0]
                yield move.leaf, float(found.max() / found.min()) if found.size else 1.0
