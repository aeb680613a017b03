"""Quantization on data, block by block: what a block gives changes least."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.kinds import check_kind
from jaxcompress.core.leaf import CompressedLeaf
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.report import Report
from jaxcompress.core.rules import Rules
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array, Model, Params
from jaxcompress.layerwise.blocks import blocks, with_matrix
from jaxcompress.quantize.block_descent import tuned
from jaxcompress.quantize.rounding.matrices import decoded, matrix_spec
from jaxcompress.quantize.rounding.nearest import nearest
from jaxcompress.quantize.rounding.rounding import Rounded
from jaxcompress.quantize.rounding.tuning import Tuning
from jaxcompress.quantize.task import Task, finished, reach_of, task_of


def reconstruct_blocks(
    fn: Model, params: Params, batches: Iterable[Any], spec: QuantSpec | Rules[Any], tuning: Tuning
) -> tuple[Params, Report]:
    """Quantizes block by block, tuning all weights of a block for what it gives.

    Not for: haste, since each block is compiled and tuned by gradients; `reconstruct`
    solves matrix by matrix.

    Also known as: block-wise reconstruction, BRECQ, QDrop, AutoRound on blocks.

    A block is what lies between two places of the program that one value crosses: a
    residual block, a layer of a scan, of a plain chain each layer with what follows it.
    All its weights are rounded with offsets and ranges as `rounding.sign_round` has
    them, tuned together for the mean squared error of what comes out of the block,
    against the model as it was. What goes in is what the quantized blocks before give,
    mixed with what the model as it was gives (`drop`). The best step over all batches
    stays, so that no block errs more than rounded to nearest on the same inputs.

    Weights that are 0 stay 0 where the format has a zero. Leaves that are no matrix,
    and those that no row of the batches reaches but zeros, are rounded to nearest
    first, and their rows say why. Compiled once for each block.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: tree of arrays, finite where they are quantized.
      batches: calibration data of one shape, each an input or a tuple of inputs.
      spec: one spec for every weight that meets data, or rules over their names.
      tuning: what `rounding.block_tuning` gives.

    Returns:
      (params, report). Leaves that are not quantized are the same objects as before.

    Raises:
      TypeError: what a leaf gets is no QuantSpec, or `tuning` is no Tuning.
      ValueError: there is no batch, an empty one, or batches of several shapes; nothing
        is selected or a rule is never used; a leaf to quantize is not finite.

    Example:
      >>> fn = lambda params, x: x + jnp.tanh(x @ params["up"]) @ params["down"]
      >>> params = {"up": jnp.eye(2), "down": 0.3 * jnp.eye(2)}
      >>> tuning = jc.quantize.rounding.block_tuning(jax.random.key(0), steps=2)
      >>> int4, x = jc.quantize.int4(), jnp.eye(2)
      >>> found, _ = jc.quantize.reconstruct_blocks(fn, params, [x], int4, tuning)
      >>> found["up"]
      QTensor(int4 per channel, shape=(2, 2), dtype=float32)

    Source: Li et al. 2021, arXiv:2102.05426, section 3.2; Wei et al. 2022,
    arXiv:2203.05740, section 4.3. Differs: signed steps on offsets and ranges
    (arXiv:2309.05516) in place of AdaRound; blocks are found in the program; weights
    alone are quantized; no weighting by task gradients.
    """
    mend = "Call rounding.block_tuning(key)."
    check_kind("reconstruct_blocks", "tuning", tuning, Tuning, mend)
    task = task_of("reconstruct_blocks", fn, params, batches, spec)
    (apart, partly), leaves = reach_of(task), named_leaves(task.params)
    found = {name: nearest().array(leaves[name], task.assigned[name]) for name in apart}
    reasons = {name: f"rounded without data: {why}" for name, why in apart.items()}
    started = map_named(lambda name, leaf: found.get(name, leaf), task.params)
    for name, solution in _solved(task, started, tuning, list(partly)).items():
        found[name] = _leaf(solution, leaves[name], _spec(task, name))
        share = f"{np.mean(solution.shares):.0%}"
        told = f"tuned with its block, whose error fell to {share} of rounding to nearest"
        reasons[name] = "; ".join(filter(None, (told, partly[name])))
    return finished(task, found, reasons)


class _Solution(NamedTuple):
    """What is found of a leaf.

    Attributes:
      axes: their roles.
      layers: the codes by index of a layer.
      shares: of the errors of its blocks, in units of rounding to nearest.
    """

    axes: LeafAxes
    layers: dict[tuple[int, ...], Rounded]
    shares: list[float]


def _solved(
    task: Task, started: Params, tuning: Tuning, names: Sequence[str]
) -> dict[str, _Solution]:
    """Tunes block after block, each on what those before it give."""
    found: dict[str, _Solution] = {}
    if not names:
        return found
    specs = {name: _spec(task, name) for name in names}
    walk = blocks(task.caller, task.fn, started, task.batches, names, tuning.matrices)
    for block, now in walk:
        own = {turn: specs[turn[0]] for turn in block.section.turns}
        best = tuned(block, own, tuning)
        for turn, rounded in best.rounded.items():
            name, index = turn
            axes = block.axes[turn]
            solution = found.setdefault(name, _Solution(axes, {}, []))
            solution.layers[index] = rounded
            solution.shares.append(best.share)
            values = jax.vmap(lambda c, g, s=own[turn]: decoded(c, g, s))(*rounded[:2])
            now[name] = with_matrix(now[name], turn, values, axes)
    return found


def _leaf(solution: _Solution, leaf: Array, spec: QuantSpec) -> CompressedLeaf:
    """The leaf of all its layers."""
    layers = [solution.layers[index] for index in sorted(solution.layers)]
    whole = jax.tree.map(lambda *each: jnp.concatenate(each), *layers)
    whole = whole._replace(codes=whole.codes.astype(spec.code_dtype))
    return nearest().solver(spec).leaf(whole, leaf, solution.axes)


def _spec(task: Task, name: str) -> QuantSpec:
    """The spec of a leaf's matrices."""
    choice = task.assigned[name]
    return matrix_spec(choice.spec, named_leaves(task.params)[name].shape, choice.axes)
