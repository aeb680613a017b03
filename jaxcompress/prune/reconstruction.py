"""One-shot pruning on data: layer by layer, kept weights adjusted by a solver."""

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.batches import as_batches, as_inputs
from jaxcompress.core.checks import check_concrete
from jaxcompress.core.evidence import missing
from jaxcompress.core.left_out import Obstacle, UnfitLeafError, without_data
from jaxcompress.core.matrices import from_matrices, matrix_shape
from jaxcompress.core.models import check_model
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.report import Report
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Model, Params
from jaxcompress.graph.program import Program, axes, trace
from jaxcompress.layerwise.correction import Correction, check_correction
from jaxcompress.layerwise.driver import solve
from jaxcompress.layerwise.moments import row_counts
from jaxcompress.layerwise.remarks import with_remarks
from jaxcompress.layerwise.solver import Solver
from jaxcompress.layerwise.turns import no_matrix, sites_of
from jaxcompress.prune import chosen
from jaxcompress.prune.allocations.totals import uniform
from jaxcompress.prune.patterns.pattern import unstructured
from jaxcompress.prune.post_training.one_shot import removal_report
from jaxcompress.prune.solvers.solver import SparsitySolver, check_solver
from jaxcompress.prune.target import Aim, Target, without_steps


def reconstruct(
    fn: Model,
    params: Params,
    batches: Iterable[Any],
    solver: SparsitySolver,
    target: Aim,
    *,
    correction: Correction = 0.0,
) -> tuple[Params, Report]:
    """Prunes layer by layer, adjusting kept weights to preserve each layer's outputs.

    Not for: models with time to train; on LeNets `prune` ended at a lower error than
    this and as many epochs in all.

    In the order of the program, and of a scanned stack layer by layer, each leaf's
    matrix is pruned on the inputs that it meets once all before it are pruned, so that
    its outputs change least. No labels and no gradients. Also known as: one-shot
    pruning with weight reconstruction, layer-wise optimal brain compression.

    With a `correction` a leaf also makes up for leaves before it: with x what it met in
    the whole model and x' what it meets now, it is solved as

        W + correction · W · E[(x - x') x'ᵀ] · E[x' x'ᵀ]⁻¹,   the inverse damped

    which at 1 answers x' most like W answers x. The whole way fits the calibration data
    too closely; on a small transformer half of it did better. `layerwise.held_out`
    batches choose the share of each leaf.

    Weights that are 0 stay 0, so those that were pruned before do not return, whatever
    pattern pruned them; they count among those that go.

    The model runs twice over the batches: once to count what reaches each leaf, once in
    segments cut at the leaves (`layerwise.solve`), so time is linear in depth and equal
    layers compile once; a correction runs it a third time. The values at a cut are kept
    for all batches, and (inputs, inputs) numbers for the leaf that is solved. Where the
    model cannot be cut at a leaf, as in a `while`, in a scan that does not slice it or
    at several sites, it runs again up to that leaf, and the report says why.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: tree of arrays, finite where they are pruned.
      batches: calibration data, each an input or a tuple of the model's inputs; some
        hundred rows more than a leaf has inputs are enough. A convolution has a row for
        each position that it computes: the inputs in its window, zeros of padding too.
      solver: one of `prune.solvers`, `sparsegpt()` for example.
      target: fraction to remove of each matrix, in [0, 1), or `Rules` of it; or a
        `Target` that selects leaves besides. By default all weights, without those
        that are no matrices (see the errors), that the solver does not take or that no
        row of the batches reaches but zeros. The pattern is the solver's own.
      correction: how far each leaf makes up for the drift of its inputs, in [0, 1], or
        `layerwise.held_out` batches, which choose it for each layer.

    Returns:
      (params, report): the same structure, shapes and dtypes; what
      was done to each leaf.

    Raises:
      ValueError: there is no batch or an empty one; a sparsity is outside [0, 1) or the
        correction outside [0, 1]; the target has a pattern, an allocation or axes of
        its own; nothing is selected or a rule is never used; a leaf to prune is not
        finite, meets data that are not, or is to be corrected in a loop of unknown
        length; a leaf that `select` or a rule other than "*" names is empty, the
        solver's pattern does not fit it, no data reach it, or it meets data elsewhere
        than in dots (or convolutions without groups) that read all of it alike and as
        it is stored; or all are such; no data reach a leaf any more once those before
        it are pruned; a solver finds no finite weights, gives a matrix or masks of
        another shape, or weights outside its masks.
      TypeError: such a leaf is not real floating or already compressed, or a sparsity
        is a schedule.

    Example:
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> params = {"kernel": jnp.array([[1.0], [4.0]])}
      >>> x = jnp.array([[1.0, 1.0], [0.0, 1.0]])
      >>> solver = jc.prune.solvers.sparsegpt(damping=1e-9)
      >>> pruned, report = jc.prune.reconstruct(fn, params, [x], solver, 0.5)
      >>> pruned["kernel"].round(3)
      Array([[0. ],
             [4.5]], dtype=float32)
      >>> report.leaves[0].action
      '50.0 % removed'

    Source: Frantar and Alistarh 2023, arXiv:2301.00774, section 4, whose layers are
    pruned in order; the correction is the asymmetric calibration of Li et al. 2025,
    arXiv:2504.02692, taken part of the way as by Cha et al. 2026, arXiv:2602.05902.
    Differs: leaf by leaf, in place of all of a block at once; the correction comes
    before the solver, and not in its steps.
    """
    check_model("reconstruct", fn)
    check_arrays("reconstruct", "params", params)
    check_solver("reconstruct", solver)
    check_correction("reconstruct", correction)
    check_concrete("reconstruct", params=params)
    batches = [as_inputs(batch) for batch in as_batches("reconstruct", batches)]
    target = _of_matrices(target)
    program = trace(fn, params, *batches[0])
    target = dataclasses.replace(target, axes=axes(fn, params, *batches[0]))
    choice = _choice(fn, program, params, batches, solver, target)
    at = functools.cache(functools.partial(_at, solver))
    solvers = {
        name: at(float(chosen.value_at(0, group.sparsity)))
        for group in choice.groups
        for name in group.axes
    }
    solved = solve("reconstruct", fn, params, batches, solvers, correction)
    for name, (weights, keep) in solved.solutions.items():
        _check_solution(name, weights, keep)
    leaves = named_leaves(params)
    masks = {
        name: from_matrices(keep, solved.axes[name], like=leaves[name])
        for name, (_, keep) in solved.solutions.items()
    }
    pruned = map_named(lambda name, leaf: solved.leaves.get(name, leaf), params)
    removing = chosen.mask_tree(masks, params)
    report = removal_report("reconstruct", params, removing, choice, target)
    return pruned, with_remarks(report, solved)


def _choice(
    fn: Model,
    program: Program,
    params: Params,
    batches: list[tuple[Any, ...]],
    solver: SparsitySolver,
    target: Target,
) -> chosen.Choice:
    """The leaves that are matrices, that the solver takes and that data reach."""
    choice = chosen.choose_fixed("reconstruct", params, target)
    obstacles = {name: no_matrix(program, name) for name in choice.axes}
    leaves, not_solved = named_leaves(params), functools.cache(_not_solved)
    for name, roles in choice.axes.items():
        _, rows, columns = matrix_shape(leaves[name].shape, roles)
        obstacles[name] = obstacles[name] or not_solved(solver, rows, columns)
    unfit = {name: each for name, each in obstacles.items() if each is not None}
    choice = choice.without("reconstruct", unfit, target)
    sites = sites_of("reconstruct", program, choice.axes)
    counts = row_counts(fn, program, params, batches, sites)
    unreached = {name: missing(count) for name, count in counts.items() if missing(count)}
    return choice.without("reconstruct", without_data(unreached), target)


def _not_solved(solver: SparsitySolver, rows: int, columns: int) -> Obstacle | None:
    """What the solver, or its pattern, has against matrices of a shape."""
    shapes = [jax.ShapeDtypeStruct((size, columns), jnp.float32) for size in (rows, columns)]
    try:
        jax.eval_shape(lambda weight, moment: solver(weight, moment, 0.0), *shapes)
    except UnfitLeafError as unfit:
        return unfit.obstacle
    return None


def _of_matrices(target: Aim) -> Target:
    """The target, checked to give no more than the sparsity of each matrix."""
    target = without_steps("reconstruct", target)
    given = {
        "pattern": target.pattern is not unstructured,
        "allocate": target.allocate is not uniform,
        "axes": target.axes is not None,
    }
    for argument in (name for name, changed in given.items() if changed):
        raise ValueError(
            f"reconstruct: Target({argument}=...) has no meaning here. Solvers take a pattern, "
            "as sparsegpt(pattern=...); each matrix loses its own share; axes are those of the "
            "program."
        )
    return target


def _check_solution(name: str, weights: Array, keep: Array) -> None:
    """Raises a ValueError unless masks say which weights are there."""
    if keep.dtype != bool or keep.shape != weights.shape:
        raise ValueError(
            f"reconstruct(solver=...): leaf {name!r} gets masks of dtype {keep.dtype} and shape "
            f"{keep.shape[1:]}. A solver gives bool masks of a matrix's shape {weights.shape[1:]}."
        )
    if bool(jnp.any(jnp.where(keep, 0, weights))):
        raise ValueError(
            f"reconstruct(solver=...): leaf {name!r} gets weights outside the masks that are not "
            "0. A solver gives where(mask, weight, 0), and the mask."
        )


def _at(solver: SparsitySolver, sparsity: float) -> Solver:
    """The solver at one sparsity; it finds weights and masks."""

    def leaf(found: tuple[Array, Array], leaf: Array, axes: LeafAxes) -> Array:
        weights, _ = found
        return from_matrices(narrowed(weights, leaf.dtype), axes, like=leaf)

    return Solver(
        solve=lambda weight, second_moment: solver(weight, second_moment, sparsity),
        weight=lambda found: found[0],
        leaf=leaf,
    )
