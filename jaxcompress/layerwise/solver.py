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
    """

    solve: Callable[[Array, Array], Solution]
    weight: Callable[[Solution], Array]
    leaf: Callable[[Solution, Array, LeafAxes], Any]


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


def damped(second_moment: Array, damping: float) -> Array:
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
