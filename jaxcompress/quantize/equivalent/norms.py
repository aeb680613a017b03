"""Folding the scales of norms into the weights beside them."""

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.checks import check_concrete
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.report import KEPT, LeafReport, Report
from jaxcompress.core.sizes import size_bytes
from jaxcompress.core.trees import check_call
from jaxcompress.core.types import Array, Model, Params, PyTree
from jaxcompress.graph import trace
from jaxcompress.graph.symmetries import Move, Scaling, Scalings, scale, scalings
from jaxcompress.quantize.equivalent.search import bounded


def fold_norms(fn: Model, params: Params, *inputs: PyTree) -> tuple[Params, Report]:
    """Moves the scales of norms into the weights that they lie beside.

    Not for: training with rounded weights, for which `training.folded_norms` folds in
    the step, with gradients.

    A leaf that multiplies data channel by channel, as the scale of a batch, layer or
    RMS norm, hands its magnitudes on, and is 1 or -1 afterwards (0 stays 0):

        into the layer before it, where that makes the channels (a batch norm behind
          a convolution): its kernel, its bias and the running mean take |scale|
        else into the layers that read it: they take |scale|, the shift its inverse

    The running variance stays, since 1 / sqrt(variance + epsilon) is no power of it.
    Where one weight serves two norms, or another equation reads a channel, there is
    nothing to fold, and the report says so. The leaves remain, so that every program
    runs with the result.

    Also known as: batch-norm folding, norm fusion, LayerNorm folding.

    Args:
      fn: the model in evaluation mode, `fn(params, *inputs) -> outputs`.
      params: tree of floating arrays.
      inputs: arrays or shapes that the model takes.

    Returns:
      (params, report): the same structure and function.

    Raises:
      TypeError: an argument is of the wrong kind.

    Example:
      >>> fn = lambda params, x: (jnp.tanh(x) * params["scale"]) @ params["kernel"]
      >>> params = {"scale": jnp.array([2.0, -3.0]), "kernel": jnp.ones((2, 1))}
      >>> after, _ = jc.quantize.equivalent.fold_norms(fn, params, jnp.ones(2))
      >>> after["scale"], after["kernel"].ravel()
      (Array([ 1., -1.], dtype=float32), Array([2., 3.], dtype=float32))

    Source: Jacob et al. 2018, arXiv:1712.05877, section 3.2; for norms before their
    readers Ashkboos et al. 2024, arXiv:2404.00456, section 4. Differs: the scale alone
    is moved, by its magnitude; the running variance and the shift stay leaves.
    """
    check_call("fold_norms", fn, params, inputs)
    check_concrete("fold_norms", params=params)
    program = trace(fn, params, *inputs)
    weights = {leaf.name for site in program.sites for leaf in site.leaves}
    found = scalings(fn, params, *inputs)
    told: dict[str, tuple[str, str]] = {}
    after = params
    for name in sorted(found.gains - weights):
        for way in ways_into_weights(name, np.shape(named_leaves(params)[name]), found, weights):
            after = _folded(after, name, way)
            into = sorted({each.leaf for each in way.moves} & weights)
            told[name] = ("folded", f"into {', '.join(into)}")
            for each in way.moves:
                told.setdefault(each.leaf, ("scaled", f"takes the scale {name!r}"))
    rows, results = [], named_leaves(after)
    for name, leaf in named_leaves(params).items():
        action, reason = told.get(name, (KEPT, _why(name, found, weights)))
        sizes = size_bytes(leaf), size_bytes(results[name])
        rows.append(LeafReport(name, tuple(np.shape(leaf)), action, reason, *sizes))
    return after, Report("fold_norms", tuple(rows))


def _folded(params: Params, name: str, way: Scaling) -> Params:
    """The params with what a way moves of a scale in the weights."""
    move = move_of(name, way)
    size = np.ones(way.size)
    taken = move.channels >= 0
    size[move.channels[taken]] = np.abs(np.asarray(named_leaves(params)[name], float))[taken]
    with np.errstate(divide="ignore"):
        factors = bounded(size ** (-1.0 / move.degree))
    after = scale(params, way, jnp.asarray(factors, jnp.float32))
    return map_named(lambda each, leaf: _ones(leaf) if each == name else leaf, after)


def ways_into_weights(
    name: str, shape: tuple[int, ...], found: Scalings, weights: set[str]
) -> tuple[Scaling, ...]:
    """The scalings that move a scale alone into weights, before it if possible.

    One; or several, each of other entries, as for the layers of a stack whose channels
    are not alike.
    """
    ways = [
        scaling
        for scaling in found.all
        if [move.leaf for move in scaling.moves].count(name) == 1
        and not {move.leaf for move in scaling.moves} & (found.gains - weights - {name})
        and _apart(move_of(name, scaling), shape)
        and any(move.leaf in weights for move in scaling.moves)
    ]
    chosen, free = [], np.ones(shape, bool)
    for way in sorted(ways, key=lambda way: any(move.contracting for move in way.moves)):
        taken = move_of(name, way).channels >= 0
        if np.all(free[taken]):
            chosen.append(way)
            free &= ~taken
    return tuple(chosen)


def move_of(name: str, way: Scaling) -> Move:
    """What happens to one leaf."""
    return next(move for move in way.moves if move.leaf == name)


def _ones(leaf: Array) -> Array:
    """The leaf with exactly 1 and -1, where a scale times its inverse was rounded."""
    leaf = jnp.asarray(leaf)
    near = jnp.abs(jnp.abs(leaf.astype(jnp.float32)) - 1) <= 4 * jnp.finfo(jnp.float32).eps
    return jnp.where(near, jnp.sign(leaf), leaf)


def _apart(move: Move, shape: tuple[int, ...]) -> bool:
    """Whether every entry that takes a factor has one of its own."""
    taken = np.sort(move.channels[move.channels >= 0])
    return bool(move.channels.shape == shape and taken.size and (np.diff(taken) > 0).all())


def _why(name: str, found: Scalings, weights: set[str]) -> str:
    if name in found.gains - weights:
        return "a scale that no weight can take alone"
    return "takes no scale of a norm"
