"""What solves one matrix, and the linear algebra that solvers share.

A solver lowers the error of a matrix W (outputs, inputs) on the inputs x that it met:

    E[|(W - W') x|²] = trace((W - W') · H · (W - W')ᵀ),   H = E[x xᵀ]
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.kinds import check_kind, check_takes
from jaxcompress.core.matrices import from_matrices
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.types import Array, PyTree

Solution = PyTree
"""What a solver finds for one matrix: arrays in any tree."""


class Solver(NamedTuple):
    """How a leaf is solved, matrix by matrix, and what it becomes.

    Attributes:
      solve: (weight (outputs, inputs), second moment (inputs, inputs)), both float32,
        -> solution. Compiled, and mapped over the matrices of a leaf.
      weight: solution -> (outputs, inputs) float32: what the leaves after it see.
      leaf: (solutions, leaf, axes) -> what takes the leaf's place: an array, a
        `QTensor`, a `LowRank`. Solutions are those of all its matrices on a leading
        axis, in the order of `as_matrices(leaf, axes)`.
      note: solutions -> what a report has to tell of the leaf beside; empty by default.
      needs_data: a matrix that meets no input but 0 is refused. Else it is solved with
        the identity as its second moment.
    """

    solve: Callable[[Array, Array], Solution]
    weight: Callable[[Solution], Array]
    leaf: Callable[[Solution, Array, LeafAxes], Any]
    note: Callable[[Solution], str] = lambda solutions: ""
    needs_data: bool = True


def weight_solver(solve: Callable[[Array, Array], Array]) -> Solver:
    """A solver whose solution is the weight itself, and whose leaf is an array.

    Args:
      solve: (weight (outputs, inputs), second moment (inputs, inputs)) -> weight, all
        float32.

    Example:
      >>> halved = jc.layerwise.weight_solver(lambda weight, second_moment: weight / 2)
      >>> roles = jc.LeafAxes(contracting=(0,), output=(1,))
      >>> halved.leaf(jnp.ones((1, 3, 2)), jnp.zeros((2, 3)), roles).shape
      (2, 3)
    """
    check_takes("weight_solver", "solve", solve, 2, "Pass solve(weight, second_moment).")

    def leaf(solutions: Array, leaf: Array, axes: LeafAxes) -> Array:
        return from_matrices(narrowed(solutions, leaf.dtype), axes, like=leaf)

    return Solver(solve, lambda solution: solution, leaf)


def check_solver(caller: str, argument: str, solver: object) -> None:
    """Raises a TypeError unless it is a solver, which says too what a leaf becomes.

    Example:
      >>> check_solver("solve", "solvers['kernel']", lambda weight, moment: weight)
      Traceback (most recent call last):
      TypeError: solve(solvers['kernel']=<lambda>) must be of type Solver, not function.
      Make one of a function with layerwise.weight_solver.
    """
    mend = "Make one of a function with layerwise.weight_solver."
    check_kind(caller, argument, solver, Solver, mend)


def damped(second_moment: Array, damping: Array | float) -> Array:
    """The second moment made safe to invert.

        H + damping · m · I,   m: mean of the diagonal entries above 0

    An input that is always 0 gets m, so that nothing else depends on it.

    Args:
      second_moment: (inputs, inputs) float32.
      damping: share of the mean that every input counts at least, above 0.

    Returns:
      (inputs, inputs) float32, positive definite.

    Example:
      >>> damped(jnp.array([[4.0, 0.0], [0.0, 0.0]]), 0.25)
      Array([[5., 0.],
             [0., 5.]], dtype=float32)
    """
    energy = jnp.diagonal(second_moment)
    seen = energy > 0
    mean = jnp.sum(energy) / jnp.maximum(jnp.sum(seen, dtype=energy.dtype), 1)
    mean = jnp.where(mean > 0, mean, 1.0)
    return second_moment + jnp.diag(damping * mean + jnp.where(seen, 0.0, mean))


def all_counted(second_moment: Array) -> Array:
    """The second moment, in which an input that is always 0 counts as the others do.

    Its diagonal entry becomes m of `damped`. Without it a scale that the input shares
    with others is fitted to the others alone, which may leave its weights anywhere: and
    other data than those of the calibration may reach it.

    Args:
      second_moment: (inputs, inputs) float32.

    Returns:
      (inputs, inputs) float32; it is the same where no diagonal entry is 0.

    Example:
      >>> all_counted(jnp.array([[4.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 2.0]]))
      Array([[4., 0., 1.],
             [0., 3., 0.],
             [1., 0., 2.]], dtype=float32)
    """
    energy = jnp.diagonal(second_moment)
    seen = energy != 0
    # Divided first, so that the sum of enormous ones is a number.
    mean = jnp.sum(energy / jnp.maximum(jnp.sum(seen, dtype=energy.dtype), 1))
    return second_moment + jnp.diag(jnp.where(seen, 0.0, mean))


def inverse_factor(matrix: Array) -> Array:
    """The upper U of `inverse(matrix) = Uᵀ · U`, without forming the inverse.

    The Cholesky factor L of the matrix in reversed order, inverted and reversed back.

    Args:
      matrix: (size, size) float32, positive definite.

    Returns:
      (size, size) float32, upper triangular.

    Example:
      >>> inverse_factor(jnp.array([[5.0, 1.0], [1.0, 1.0]]))
      Array([[ 0.5, -0.5],
             [ 0. ,  1. ]], dtype=float32)
    """
    lower = jnp.linalg.cholesky(matrix[::-1, ::-1])
    identity = jnp.eye(len(matrix), dtype=matrix.dtype)
    return jax.scipy.linalg.solve_triangular(lower, identity, lower=True)[::-1, ::-1]


_MOST = 1e12
"""Of the mean energy that many times its share exceed any entry of a second moment."""


class DampedFactor(NamedTuple):
    """A second moment that was damped until it had a factor; see `damped_factor`.

    Attributes:
      matrix: (inputs, inputs) float32, damped.
      factor: its `inverse_factor`.
      raised: () float32, by what the damping was multiplied: 1, 10, 100, …; infinity
        where nothing helped, and matrix and factor are the identity.
    """

    matrix: Array
    factor: Array
    raised: Array


def damped_factor(second_moment: Array, damping: float) -> DampedFactor:
    """The `inverse_factor` of the damped second moment, damped more until it has one.

    Rounding errors leave the second moment of a few rows, or of inputs of very unequal
    energies, without a Cholesky factor: then the damping is raised tenfold, and again.

    Args:
      second_moment: (inputs, inputs) float32, finite.
      damping: share of the mean energy that every input counts at least, above 0.

    Example:
      >>> float(damped_factor(jnp.array([[1.0, 1.2], [1.2, 1.0]]), 0.1).raised)
      10.0
    """

    def failed(state: tuple[Array, Array]) -> Array:
        factor, times = state
        return ~jnp.all(jnp.isfinite(factor)) & (times <= _MOST)

    def raise_once(state: tuple[Array, Array]) -> tuple[Array, Array]:
        _, times = state
        return inverse_factor(damped(second_moment, damping * times)), times * 10

    start = jnp.full_like(second_moment, jnp.nan), jnp.ones((), second_moment.dtype)
    factor, times = jax.lax.while_loop(failed, raise_once, start)
    found, times = jnp.all(jnp.isfinite(factor)), times / 10
    identity = jnp.eye(len(factor), dtype=factor.dtype)
    matrix = damped(second_moment, damping * times)
    return DampedFactor(
        jnp.where(found, matrix, identity),
        jnp.where(found, factor, identity),
        jnp.where(found, times, jnp.inf),
    )
