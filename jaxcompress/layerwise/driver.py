"""The driver: solves each leaf on the inputs that the leaves solved before it give.

The program runs once, in segments cut at the leaves (`segments`); what becomes of one
matrix is decided by a solver (`solver`).
"""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.batches import as_batches
from jaxcompress.core.checks import check_concrete, check_finite
from jaxcompress.core.kinds import check_text
from jaxcompress.core.left_out import UnfitLeafError
from jaxcompress.core.matrices import as_matrices, from_matrices
from jaxcompress.core.models import check_model
from jaxcompress.core.names import named_leaves
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.trees import check_arrays, check_named
from jaxcompress.core.types import Array, Model, Params
from jaxcompress.layerwise.correction import (
    Correction,
    HeldOut,
    Judge,
    check_correction,
    flat_matrices,
    judging_plans,
    moved,
    shares_of,
)
from jaxcompress.layerwise.frontier import Frontier, all_finite, filled, reached
from jaxcompress.layerwise.plan import Plan, plans_of
from jaxcompress.layerwise.segments import Rerun
from jaxcompress.layerwise.solver import Solution, Solver, check_solver
from jaxcompress.layerwise.stream import Programs
from jaxcompress.layerwise.turns import Turn


class Solved(NamedTuple):
    """The solved leaves, by name.

    Attributes:
      leaves: what takes their place.
      solutions: what the solver found, for all matrices of a leaf on a leading axis.
      axes: the roles of a leaf's axes, in the order in which its matrices lie.
      uncut: of leaves at which the program could not be cut, the reason.
      shares: of the correction, where held-out batches chose it: of each leaf, layer by
        layer in the order of the stack.
      reached: which matrices of each leaf, in the order of the stack, met inputs other
        than 0; the others were solved with the identity as their second moment.
    """

    leaves: dict[str, Any]
    solutions: dict[str, Solution]
    axes: dict[str, LeafAxes]
    uncut: dict[str, str]
    shares: dict[str, tuple[float, ...]]
    reached: dict[str, tuple[bool, ...]]


def solve(
    caller: str,
    fn: Model,
    params: Params,
    batches: Sequence[tuple[Any, ...]],
    solvers: Mapping[str, Solver],
    correction: Correction = 0.0,
) -> Solved:
    """Solves leaves of a model, each on the inputs that the solved ones before give it.

    In the order of the program, and of a scanned stack layer by layer. Each matrix is
    solved on the second moment of its inputs, in the model whose leaves before it are
    solved already. With a `correction`, a matrix W whose inputs were x and are now x'
    is first replaced by

        W + correction · W · E[(x - x') x'ᵀ] · E[x' x'ᵀ]⁻¹,   the inverse damped

    where W is not 0: weights that were pruned before stay 0.

    The program runs once over the batches, in segments cut at the leaves, and with a
    correction a second time, with the leaves as they were. Segments that are alike, as
    those of equal layers are, compile once. The values at a cut are kept for all
    batches, by the host where they are many. Where the program cannot be cut at a leaf
    (in a `while`, in a scan that does not slice it, at several sites), what lies
    between the last cut and the leaf runs once more for it.

    Args:
      caller: the name of the verb in errors.
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: tree of arrays; leaves that are not solved may be compressed.
      batches: tuples of the model's inputs, at least one.
      solvers: of the leaves to solve, by name.
      correction: how far each leaf makes up for the drift of its inputs, in [0, 1], or
        `held_out` batches that choose it.

    Returns:
      Solved.

    Raises:
      ValueError: a leaf is not finite, or meets data elsewhere than in dots (or
        convolutions without groups) that read all of it alike and as it is stored; it
        meets data whose products are not finite, or nothing but 0 where its solver
        needs data; there is no batch, an empty one, or batches of one shape make a
        program with another order of leaves than those of another; a solver finds
        weights that are not finite, or of another shape; the correction is outside
        [0, 1]; a corrected leaf meets more or fewer inputs than it did, or some in a
        loop of unknown length.

    Example:
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> params, x = {"kernel": jnp.eye(2)}, jnp.array([[1.0, 2.0]])
      >>> by_energy = lambda weight, moment: weight * jnp.diagonal(moment)[None]
      >>> solver = jc.layerwise.weight_solver(by_energy)
      >>> solved = jc.layerwise.solve("mine", fn, params, [(x,)], {"kernel": solver})
      >>> solved.leaves["kernel"]
      Array([[1., 0.],
             [0., 4.]], dtype=float32)
    """
    check_text("solve", "caller", caller)
    check_model(caller, fn)
    check_arrays(caller, "params", params)
    check_named(caller, "solvers", solvers, check_solver)
    check_correction(caller, correction)
    check_concrete(caller, params=params)
    plans = plans_of(caller, fn, params, as_batches(caller, batches), solvers)
    leaves, programs = _Leaves(caller, params, solvers, plans[0].axes), Programs()
    shares = shares_of(correction)
    drifting = leaves.before if any(shares) else None
    frontier = Frontier(caller, plans, leaves.now, drifting, programs)
    held_out = judging_plans(fn, params, correction, plans)
    judge = Judge(held_out, leaves.now, leaves.before, programs)
    taken: dict[str, dict[tuple[int, ...], float]] = {name: {} for name in solvers}
    met_by: dict[str, dict[tuple[int, ...], list[bool]]] = {name: {} for name in solvers}
    for index, stage in enumerate(zip(*(plan.stages for plan in plans), strict=True)):
        frontier.advance(stage)
        judge.advance(index)
        for place, readings in enumerate(zip(*(each.readings for each in stage), strict=True)):
            (name, layer) = turn = readings[0].turn
            needed = solvers[name].needs_data
            weight, met = leaves.matrices(turn), frontier.second_moment(readings, needed)
            candidates = [weight]
            if drifting is not None:
                candidates = moved(weight, frontier.cross_moment(readings), met, shares)
            found = [leaves.solved_at(turn, each, filled(met)) for each in candidates]
            best = judge.best((index, place), weight, [solved for _, solved in found], needed)
            leaves.put(turn, *found[best])
            taken[name][layer] = shares[best]
            met_by[name][layer] = reached(met).ravel().tolist()
    told = _by_layer(taken) if isinstance(correction, HeldOut) else {}
    met = {name: tuple(itertools.chain(*each)) for name, each in _by_layer(met_by).items()}
    return Solved(*leaves.solved(), plans[0].axes, _uncut(plans[0]), told, met)


def _uncut(plan: Plan) -> dict[str, str]:
    """Of leaves at which the program could not be cut, the reason."""
    readings = (reading for stage in plan.stages for reading in stage.readings)
    return {each.turn[0]: each.reason for each in readings if isinstance(each, Rerun)}


def _by_layer(found: Mapping[str, dict[tuple[int, ...], Any]]) -> dict[str, tuple[Any, ...]]:
    """What was found of each leaf, in the order of its layers."""
    return {name: tuple(each[layer] for layer in sorted(each)) for name, each in found.items()}


class _Leaves:
    """The leaves as they were, as they are now, and what the solvers have found."""

    def __init__(
        self,
        caller: str,
        params: Params,
        solvers: Mapping[str, Solver],
        axes: Mapping[str, LeafAxes],
    ):
        self.caller, self.solvers, self.axes = caller, solvers, axes
        self.before = named_leaves(params)
        self.now = dict(self.before)
        self.found: dict[str, dict[tuple[int, ...], Solution]] = {name: {} for name in solvers}
        # Leaves that share a solver share its programs.
        self.mapped = functools.cache(_mapped)
        for name in solvers:
            check_finite(caller, name, self.before[name])

    def matrices(self, turn: Turn) -> Array:
        """(batch…, outputs, inputs) of a leaf at its turn."""
        name, index = turn
        return _matrices_at(self.now[name], index, self.axes[name])

    def solved_at(self, turn: Turn, weight: Array, met: Array) -> tuple[Solution, Array]:
        """What is found for (batch…, outputs, inputs) matrices, and their weights."""
        name, _ = turn
        flat = flat_matrices(weight)
        try:
            solution, solved = self.mapped(self.solvers[name])(flat, flat_matrices(met))
        except UnfitLeafError as unfit:
            where = f"{self.caller}: leaf {name!r} cannot be solved"
            raise UnfitLeafError(where, unfit.obstacle) from unfit
        if jnp.shape(solved) != flat.shape:
            raise ValueError(
                f"{self.caller}(solver=...): leaf {name!r} gets a matrix of shape "
                f"{jnp.shape(solved)[1:]} for one of shape {flat.shape[1:]}. A solver gives "
                "(outputs, inputs), as it takes them."
            )
        if not bool(all_finite(solved)):
            raise ValueError(
                f"{self.caller}(solver=...): leaf {name!r} gets weights that are not finite. Raise "
                "the solver's damping, or give more data."
            )
        return solution, solved

    def put(self, turn: Turn, solution: Solution, solved: Array) -> None:
        """Keeps what was found, and lets all leaves after it see its weights."""
        name, index = turn
        self.found[name][index] = solution
        self.now[name] = _with_matrices(self.now[name], index, solved, self.axes[name])

    def solved(self) -> tuple[dict[str, Any], dict[str, Solution]]:
        """The replacements of the leaves, and the solutions of all their matrices."""
        solutions = {name: _in_order(found) for name, found in self.found.items()}
        leaves = {
            name: solver.leaf(solutions[name], self.before[name], self.axes[name])
            for name, solver in self.solvers.items()
        }
        return leaves, solutions


def _mapped(solver: Solver) -> Callable[[Array, Array], tuple[Solution, Array]]:
    """The solver on matrices with one leading axis, one after another."""

    def solve(matrices: tuple[Array, Array]) -> tuple[Solution, Array]:
        solution = solver.solve(*matrices)
        return solution, solver.weight(solution)

    return jax.jit(lambda weights, moments: jax.lax.map(solve, (weights, moments)))


@functools.partial(jax.jit, static_argnames="axes")
def _matrices_at(leaf: Array, index: tuple[int, ...], axes: LeafAxes) -> Array:
    """(batch…, outputs, inputs) of one layer of a leaf."""
    return _matrices(leaf, axes)[index]


@functools.partial(jax.jit, static_argnames="axes")
def _with_matrices(leaf: Array, index: tuple[int, ...], solved: Array, axes: LeafAxes) -> Array:
    """The leaf with other (matrices, outputs, inputs) in one layer."""
    matrices = _matrices(leaf, axes)
    solved = narrowed(solved, leaf.dtype).reshape(matrices.shape[len(index) :])
    return from_matrices(matrices.at[index].set(solved), axes, like=leaf)


def _matrices(leaf: Array, axes: LeafAxes) -> Array:
    """The leaf as (batch…, outputs, inputs), whole on every device."""
    matrices = as_matrices(leaf, axes)
    return matrices.reshape(*(leaf.shape[axis] for axis in axes.batch), *matrices.shape[1:])


def _in_order(found: Mapping[tuple[int, ...], Solution]) -> Solution:
    """The solutions of all layers on one axis, in the order of the stack."""
    return jax.tree.map(lambda *layers: jnp.concatenate(layers), *(found[i] for i in sorted(found)))
