"""Pruning with weights that make up for what went, one leaf after another.

Each leaf is solved on the inputs that the leaves before it, already pruned, give it.
The maths of one matrix is a solver's.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.checks import check_batches, check_finite, check_share
from jaxcompress.core.evidence import missing
from jaxcompress.core.matrices import as_matrices, from_matrices
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.report import Report
from jaxcompress.core.rules import Rules
from jaxcompress.core.selectors import inexact
from jaxcompress.core.types import Array, Model, Params, Selector
from jaxcompress.graph.program import Program, axes, trace
from jaxcompress.layerwise.drift import corrected, cross_moments
from jaxcompress.layerwise.solver import Solver
from jaxcompress.layerwise.turns import (
    Sites,
    Turn,
    reading_axes,
    second_moments,
    sites_of,
    turns,
)
from jaxcompress.prune import chosen
from jaxcompress.prune.post_training.one_shot import removal_report
from jaxcompress.prune.target import Sparsity, Target, without_steps


def reconstruct(
    fn: Model,
    params: Params,
    batches: Sequence[Any],
    solver: Solver,
    *,
    sparsity: Rules[Sparsity] | Sparsity,
    correction: float = 0.0,
    select: Selector | None = None,
) -> tuple[Params, Report]:
    """Prunes weight after weight of a trained model; what stays makes up for what went.

    In the order of the program, and of a scanned stack layer by layer, each leaf's
    matrix is solved on the inputs that it meets when all before it are pruned, so that
    its outputs change least. No labels and no gradients.

    With a `correction` a leaf also makes up for leaves before it: with x what it met in
    the whole model and x' what it meets now, it is solved as

        W + correction · W · E[(x - x') x'ᵀ] · E[x' x'ᵀ]⁻¹,   the inverse damped

    which at 1 answers x' most like W answers x. The whole way fits the calibration data
    too closely; on a small transformer half of it did better.

    One program is compiled for all leaves. It runs once over the batches for each leaf
    and layer, and holds (inputs, inputs) numbers for each of them, and the windows of a
    convolution for one batch; where that is too much memory, pass smaller batches, or
    prune the first leaves with `select`, then the next in another call. A correction
    compiles another program for each leaf, and holds what it meets in one batch.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: tree of arrays, finite where they are pruned.
      batches: calibration data, each an input or a tuple of the model's inputs; some
        hundred rows more than a leaf has inputs are enough. A convolution has a row for
        each position that it computes: the inputs in its window, zeros of padding too.
      solver: `sparsegpt()`, or `optimal_brain_surgeon()` for small leaves.
      sparsity: fraction to remove of each matrix, in [0, 1), or `Rules` of it; leaves
        without a rule stay.
      correction: how far each leaf makes up for the drift of its inputs, in [0, 1].
      select: which leaves; by default those that meet data in a dot or convolution and
        are not looked up besides, without those that no row of the batches reaches but
        zeros.

    Returns:
      (params, report): the same structure, shapes and dtypes; what
      was done to each leaf.

    Raises:
      ValueError: there is no batch or an empty one; a sparsity is outside [0, 1) or the
        correction outside [0, 1]; nothing is selected or a rule is never used; a leaf
        to prune is empty or not finite, meets data that are not, none, or elsewhere
        than in dots (or convolutions without groups) that read all of it alike and as
        it is stored, or is to be corrected in a loop of unknown length; no data reach a
        leaf that `select` or a rule of its own names, any, or one any more once those
        before it are pruned; a solver finds no finite weights.
      TypeError: a selected leaf is not real floating or already compressed, or a
        sparsity is a schedule.

    Example:
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> params = {"kernel": jnp.array([[1.0], [4.0]])}
      >>> x = jnp.array([[1.0, 1.0], [0.0, 1.0]])
      >>> solver = jc.prune.solvers.sparsegpt(damping=1e-9)
      >>> pruned, report = jc.prune.reconstruct(fn, params, [x], solver, sparsity=0.5)
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
    check_batches("reconstruct", batches)
    check_share("reconstruct", "correction", correction)
    batches = [batch if isinstance(batch, tuple) else (batch,) for batch in batches]
    program = trace(fn, params, *batches[0])
    roles = axes(fn, params, *batches[0])
    target = Target(sparsity, select=select or _multiplied(program), axes=roles)
    target = without_steps("reconstruct", target)
    found = chosen.fixed_groups("reconstruct", params, target)
    shares = {
        name: float(chosen.value_at(0, group.sparsity)) for group in found for name in group.axes
    }
    sites = sites_of("reconstruct", program, shares)
    moments = second_moments(fn, program, batches, sites)
    unreached = {name: missing(each) for name, each in moments.counts(params).items()}
    unreached = {name: reason for name, reason in unreached.items() if reason}
    found, left = chosen.with_data("reconstruct", found, unreached, Target(sparsity, select=select))
    sites = {name: each for name, each in sites.items() if name not in left}
    leaves = named_leaves(params)
    order = {name: reading_axes(each[0]) for name, each in sites.items()}
    for name in sites:
        check_finite("reconstruct", name, leaves[name])
    masks = {name: jnp.ones(leaves[name].shape, bool) for name in sites}
    aimed = _correction(fn, params, batches, sites, correction)
    solve = jax.jit(functools.partial(_each, solver), static_argnums=2)
    for name, index in dict.fromkeys(turns(program.block, sites)):
        now = map_named(lambda name, _: leaves[name], params)
        met = moments.read(now, (name, index))
        _check_met(name, met)
        weight = aimed(_matrices(leaves[name], order[name])[index], met, now, (name, index))
        solved, keep = solve(weight, met, shares[name])
        _check_solved(name, solved)
        solved = narrowed(solved, leaves[name].dtype)
        leaves[name] = _with_matrices(leaves[name], order[name], index, solved)
        masks[name] = _with_matrices(masks[name], order[name], index, keep)
    pruned = map_named(lambda name, _: leaves[name], params)
    removing = chosen.mask_tree(masks, params)
    report = removal_report("reconstruct", params, removing, found, left)
    return pruned, report


def _multiplied(program: Program) -> Selector:
    """Leaves that meet data in dots and convolutions alone, and as real numbers."""
    left_out = {
        leaf.name
        for site in program.sites
        if site.is_complex or not site.observable
        for leaf in site.leaves
    }

    def select(params: Params):
        met = {leaf.name for site in program.sites for leaf in site.leaves} - left_out
        return map_named(lambda name, chosen: chosen and name in met, inexact()(params))

    return select


def _each(solver: Solver, weight: Array, moments: Array, sparsity: float) -> tuple[Array, Array]:
    """The solver on every matrix of (batch…, outputs, inputs), one after another."""
    flat = _flat(weight), _flat(moments)
    solved, keep = jax.lax.map(lambda each: solver(each[0], each[1], sparsity), flat)
    return solved.reshape(weight.shape), keep.reshape(weight.shape)


def _correction(
    fn: Model, whole: Params, batches: Sequence[tuple], sites: Sites, share: float
) -> Callable[[Array, Array, Params, Turn], Array]:
    """(matrices, what they meet, params now, turn) -> matrices to solve instead."""
    if share == 0:
        return lambda weight, met, now, turn: weight
    crosses = cross_moments(fn, batches, sites)

    @jax.jit
    def each(weight: Array, cross: Array, met: Array) -> Array:
        flat = _flat(weight), _flat(cross), _flat(met)
        return jax.lax.map(lambda m: corrected(m[0], m[1], m[2], share), flat).reshape(weight.shape)

    return lambda weight, met, now, turn: each(weight, crosses(whole, now, turn), met)


def _flat(matrices: Array) -> Array:
    """(batch…, rows, columns) with one batch axis, float32."""
    return matrices.reshape(-1, *matrices.shape[-2:]).astype(jnp.float32)


def _matrices(leaf: Array, roles: LeafAxes) -> Array:
    """The leaf as (batch…, outputs, inputs), whole on every device."""
    matrices = as_matrices(leaf, roles)
    return matrices.reshape(*(leaf.shape[axis] for axis in roles.batch), *matrices.shape[1:])


def _with_matrices(leaf: Array, roles: LeafAxes, index: tuple[int, ...], new: Array) -> Array:
    """The leaf, as it lies, with other values for the matrices at an index."""
    changed = _matrices(leaf, roles).at[index].set(new.astype(leaf.dtype))
    return from_matrices(changed, roles, like=leaf)


def _check_met(name: str, moments: Array) -> None:
    if not bool(jnp.all(jnp.isfinite(moments))):
        raise ValueError(
            f"reconstruct(batches=...): leaf {name!r} meets inputs whose products are not finite. "
            "Clean the data, or scale them."
        )
    if not bool(jnp.all(jnp.any(moments, axis=(-2, -1)))):
        raise ValueError(
            f"reconstruct(batches=...): a matrix of leaf {name!r} meets no input but 0. Give data "
            "that reach it, prune less before it, or leave it out with select=."
        )


def _check_solved(name: str, weight: Array) -> None:
    if not bool(jnp.all(jnp.isfinite(weight))):
        raise ValueError(
            f"reconstruct(solver=...): leaf {name!r} gets weights that are not finite. Raise the "
            "solver's damping, or give more data."
        )
