"""Quantization on data, block by block: what a block gives changes least."""

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.batches import as_batches, as_inputs
from jaxcompress.core.checks import check_concrete, check_finite
from jaxcompress.core.kinds import check_kind, check_model
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.report import KEPT, LeafReport, Report
from jaxcompress.core.rules import Rules
from jaxcompress.core.sizes import size_bytes
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Model, Params
from jaxcompress.graph.program import axes as axes_of
from jaxcompress.graph.program import trace
from jaxcompress.layerwise.blocks import Block, blocks, with_matrix
from jaxcompress.layerwise.turns import Turn, no_matrix
from jaxcompress.quantize.assignment import Assignment, assign
from jaxcompress.quantize.ranges.extremes import min_max
from jaxcompress.quantize.rounding.matrices import decoded, grid_of, matrix_spec
from jaxcompress.quantize.rounding.nearest import nearest
from jaxcompress.quantize.rounding.rounding import Rounded
from jaxcompress.quantize.rounding.sign_round import moved, rates, rounded, untuned
from jaxcompress.quantize.rounding.tuning import Tuning

LOOKS = 8
"""How often all batches are gone through, to find the best step."""


def reconstruct_blocks(
    fn: Model, params: Params, batches: Iterable[Any], spec: QuantSpec | Rules, tuning: Tuning
) -> tuple[Params, Report]:
    """Quantizes block by block, tuning all weights of a block for what it gives.

    Also known as: block-wise reconstruction, BRECQ, QDrop, AutoRound on blocks.

    A block is what lies between two places of the program that one value crosses: a
    residual block, a layer of a scan, of a plain chain each layer with what follows it.
    All its weights are rounded with offsets and ranges as `rounding.sign_round` has
    them, tuned together for the mean squared error of what comes out of the block,
    against the model as it was. What goes in is what the quantized blocks before give,
    mixed with what the model as it was gives (`drop`). The best step over all batches
    stays, so that no block errs more than rounded to nearest on the same inputs.

    Weights that are 0 stay 0 where the format has a zero. Leaves that are no matrix are
    rounded to nearest first. Compiled once for each block.

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
    check_model("reconstruct_blocks", fn)
    mend = "Call rounding.block_tuning(key)."
    check_kind("reconstruct_blocks", "tuning", tuning, Tuning, mend)
    check_arrays("reconstruct_blocks", "params", params)
    check_concrete("reconstruct_blocks", params=params)
    batches = [as_inputs(batch) for batch in as_batches("reconstruct_blocks", batches)]
    program, roles = trace(fn, params, *batches[0]), axes_of(fn, params, *batches[0])
    choices = assign("reconstruct_blocks", params, spec, roles, None)
    assigned = {name: each for name, each in choices.items() if isinstance(each, Assignment)}
    leaves = named_leaves(params)
    for name in assigned:
        check_finite("reconstruct_blocks", name, leaves[name])
    apart = {name: no_matrix(program, name) for name in assigned}
    apart = {name: each.reason for name, each in apart.items() if each is not None}
    plain = nearest()
    found = {name: plain.array(leaves[name], assigned[name]) for name in apart}
    started = map_named(lambda name, leaf: found.get(name, leaf), params)
    reasons = {name: f"rounded without data: {why}" for name, why in apart.items()}
    tuned = [name for name in assigned if name not in apart]
    solutions: dict[str, dict[tuple[int, ...], Rounded]] = {name: {} for name in tuned}
    specs = {
        name: matrix_spec(own.spec, leaves[name].shape, own.axes)
        for name, own in assigned.items()
        if name not in apart
    }
    roles_now: dict[str, LeafAxes] = {}
    shares: dict[str, list[float]] = {name: [] for name in tuned}
    if tuned:
        for block, now in blocks(
            "reconstruct_blocks", fn, started, batches, tuned, tuning.matrices
        ):
            own = {turn: specs[turn[0]] for turn in block.section.turns}
            best, first, last = _tuned(block, own, tuning)
            for turn, (codes, on) in best.items():
                name, index = turn
                roles_now[name] = block.axes[turn]
                shares[name].append(float(last) / float(first) if first > 0 else 1.0)
                solutions[name][index] = Rounded(codes, on)
                values = jax.vmap(lambda c, g, s=own[turn]: decoded(c, g, s))(codes, on)
                now[name] = with_matrix(now[name], turn, values, block.axes[turn])
    for name in tuned:
        stack = [solutions[name][index] for index in sorted(solutions[name])]
        whole = jax.tree.map(lambda *each: jnp.concatenate(each), *stack)
        whole = whole._replace(codes=whole.codes.astype(specs[name].code_dtype))
        found[name] = plain.solver(specs[name]).leaf(whole, leaves[name], roles_now[name])
        share = f"{np.mean(shares[name]):.0%}"
        reasons[name] = f"tuned with its block, whose error fell to {share} of rounding to nearest"
    quantized = map_named(lambda name, leaf: found.get(name, leaf), params)
    rows = []
    for name, leaf in leaves.items():
        choice, before = choices[name], size_bytes(leaf)
        if isinstance(choice, str):
            rows.append(LeafReport(name, np.shape(leaf), KEPT, choice, before, before))
        else:
            after, told = size_bytes(found[name]), str(choice.spec)
            rows.append(LeafReport(name, np.shape(leaf), told, reasons[name], before, after))
    return quantized, Report("reconstruct_blocks", tuple(rows))


def _tuned(block: Block, specs: Mapping[Turn, QuantSpec], tuning: Tuning):
    """(codes, grids) by turn, and the errors of the block at first and at its best."""
    flat = {
        turn: weight.reshape(-1, *weight.shape[-2:]).astype(jnp.float32)
        for turn, weight in block.weights.items()
    }
    run = jax.jit(functools.partial(_train, block, specs, tuning))
    return run(flat, block.fixed, block.now, block.before, block.targets)


def _train(
    block: Block,
    specs: Mapping[Turn, QuantSpec],
    tuning: Tuning,
    flat: Mapping[Turn, Array],
    fixed: Mapping[int, Any],
    now: Mapping[int, Array],
    before: Mapping[int, Array],
    targets: tuple[Array, ...],
):
    starts = {
        turn: jax.vmap(lambda matrix, spec=specs[turn]: grid_of(matrix, spec, min_max))(matrices)
        for turn, matrices in flat.items()
    }
    energies = (jnp.mean(jnp.square(target.astype(jnp.float32))) for target in targets)
    energy = [jnp.where(each > 0, each, 1.0) for each in energies]
    count = len(targets[0])

    def read(tuned):
        return {
            turn: jax.vmap(lambda w, t, g, s=specs[turn]: rounded(w, t, g, s))(
                flat[turn], tuned[turn], starts[turn]
            )
            for turn in flat
        }

    def error(tuned, data, target):
        values = {turn: each[0] for turn, each in read(tuned).items()}
        outputs = block.outputs(values, fixed, data)
        return sum(
            jnp.mean(jnp.square(y.astype(jnp.float32) - t.astype(jnp.float32))) / e
            for y, t, e in zip(outputs, target, energy, strict=True)
        )

    def batch(tree, index):
        return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, index, keepdims=False), tree)

    def whole(tuned):
        return jnp.mean(jax.lax.map(lambda part: error(tuned, part[0], part[1]), (now, targets)))

    def mixed(index, step):
        own, other = batch(now, index), batch(before, index)
        if tuning.drop == 0:
            return own
        keys = jax.random.split(jax.random.fold_in(tuning.key, step), len(own))
        return {
            place: jnp.where(jax.random.uniform(k, x.shape) < tuning.drop, other[place], x)
            if jnp.issubdtype(x.dtype, jnp.floating)
            else x
            for k, (place, x) in zip(keys, own.items(), strict=True)
        }

    def step(tuned, at):
        number, rate = at
        index = number % count
        slopes = jax.grad(error)(tuned, mixed(index, number), batch(targets, index))
        return {turn: moved(tuned[turn], slopes[turn], rate, 1.0) for turn in tuned}, None

    def look(state, part):
        tuned, best, least = state
        tuned, _ = jax.lax.scan(step, tuned, part)
        now_error = whole(tuned)
        better = now_error < least
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), tuned, best)
        return (tuned, best, jnp.minimum(now_error, least)), None

    begin = {turn: jax.vmap(untuned)(flat[turn], starts[turn]) for turn in flat}
    first = whole(begin)
    looks = min(LOOKS, tuning.steps)
    length = -(-tuning.steps // looks)
    numbers = jnp.arange(looks * length, dtype=jnp.int32).reshape(looks, length)
    rate = jnp.asarray(rates(looks * length, tuning.travel)).reshape(looks, length)
    (_, best, last), _ = jax.lax.scan(look, (begin, begin, first), (numbers, rate))
    return {turn: each[1:] for turn, each in read(best).items()}, first, last
