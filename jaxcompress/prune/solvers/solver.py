"""The types of functions that prune one matrix."""

from collections.abc import Callable

from jaxcompress.core.kinds import check_takes
from jaxcompress.core.types import Array

SparsitySolver = Callable[[Array, Array, float], tuple[Array, Array]]
"""(weight (outputs, inputs), second moment of the inputs (inputs, inputs), sparsity) to
(weight with removed entries exactly 0, bool mask of what stays); all float32. Compiled,
so it is made of `jax.numpy`."""

ColumnRounding = Callable[[Array], Callable[[Array, Array], Array]]
"""weight (outputs, inputs), as it was, to a function that rounds one of its columns:
(column (outputs,), which of the inputs it is ()) to the values that its codes stand
for, (outputs,). Ranges are those of the weight as it was."""


def unrounded(weight: Array) -> Callable[[Array, Array], Array]:
    """Columns stay as they are."""
    del weight
    return lambda column, position: column


def check_solver(caller: str, solver: SparsitySolver) -> None:
    """Raises a TypeError unless it is a function of weight, second moment and sparsity.

    Example:
      >>> check_solver("reconstruct", jc.prune.solvers.sparsegpt)
      Traceback (most recent call last):
      TypeError: reconstruct(solver=sparsegpt) must be a function of 3 arguments. Take
      one of prune.solvers. Did you mean sparsegpt(...), which gives one?
    """
    check_takes(caller, "solver", solver, 3, "Take one of prune.solvers.")
