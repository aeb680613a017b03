"""Sparse and low-bit at once: a sparsity solver, then codes of what stays."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxcompress.core.checks import check_range
from jaxcompress.core.kinds import check_takes
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.layerwise.solver import Solution, Solver
from jaxcompress.quantize.rounding.gptq import gptq
from jaxcompress.quantize.rounding.rounding import Rounding, check_rounding

SparsitySolver = Callable[[Array, Array, float], tuple[Array, Array]]
"""What `prune.solvers` has: (weight, second moment, sparsity) -> (weight, mask)."""


def sparse(solver: SparsitySolver, sparsity: float, *, rounding: Rounding = gptq()) -> Rounding:
    """Prunes each matrix and rounds what stays, on the same inputs.

    Not for: high sparsity of a model that can be trained: `prune.prune` with
    `fake_quantize` in the loss trains through both.

    Also known as: joint sparsification and quantization (SparseGPT's, OBC's).

        W' = solver(W, H, sparsity), with zeros at what goes
        codes = rounding(W', H), which keeps the zeros

    For `reconstruct`. Layer by layer both are done before the next layer is looked at,
    so its mask, its weights and its codes make up for both errors of the layers before;
    a model that is pruned whole and then quantized lets them make up for one each time.
    Ranges are those of the weights that stay, once they are fitted.

    Where all that stay are fitted to each other on H, as by `prune.solvers.alps` or
    `refitted`, the two errors of a matrix add up, and rounding needs to see the first
    no more:

        E[|(W - Q) x|²] = E[|(W - W') x|²] + E[|(W' - Q) x|²]

    A leaf that cannot be solved on data keeps all its weights and is rounded alone.

    Args:
      solver: one of `prune.solvers`, which has the pattern: `alps()`, say, or
        `alps(pattern=n_of_m(2, 4))`.
      sparsity: fraction to remove of each matrix, in [0, 1).
      rounding: what the weights that stay are rounded by.

    Returns:
      Rounding. A row of the report says how many codes stand for 0: those of removed
      weights, and of others that are nearest to it.

    Raises:
      TypeError: `solver` takes no three arguments, or `rounding` is no Rounding.
      ValueError: `sparsity` is outside [0, 1); when applied: the format has no zero, or
        what the solver raises.

    Example:
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> params = {"kernel": jnp.array([[1.0], [4.0]])}
      >>> x = jnp.array([[1.0, 1.0], [0.0, 1.0]])
      >>> solver = jc.prune.solvers.sparsegpt(damping=1e-9)
      >>> both, int4 = jc.quantize.rounding.sparse(solver, 0.5), jc.quantize.int4()
      >>> quantized, report = jc.quantize.reconstruct(fn, params, [x], int4, both)
      >>> quantized["kernel"].materialize().round(3)
      Array([[0. ],
             [4.5]], dtype=float32)
      >>> report.leaves[0].reason
      'rounded on its inputs; 50.0 % of its codes stand for 0'

    Source: Frantar and Alistarh 2023, arXiv:2301.00774, section 3.4, rounds in the pass
    that prunes. Differs: mask and weights are found first, by any solver; rounding is
    any that keeps zeros.
    """
    check_takes("sparse", "solver", solver, 3, "Take one of prune.solvers.")
    check_range("sparse", "sparsity", sparsity, 0, 1)
    check_rounding("sparse", rounding)
    sparsity = float(sparsity)

    def of(spec: QuantSpec) -> Solver:
        if not spec.has_zero:
            raise ValueError(
                f"sparse(...): {spec} has no code for 0, so removed weights would return. Take a "
                "format with one."
            )
        inner = rounding.solver(spec)

        def solve(weight: Array, second_moment: Array) -> Solution:
            kept, mask = solver(weight, second_moment, sparsity)
            return inner.solve(jnp.where(mask, kept, 0.0), second_moment)

        def note(found: Solution) -> str:
            zeros = jnp.mean(jax.lax.map(inner.weight, found) == 0)
            told = f"{float(zeros):.1%}".replace("%", " %")
            return "; ".join(filter(None, (inner.note(found), f"{told} of its codes stand for 0")))

        return inner._replace(solve=solve, note=note)

    return Rounding(of, rounding.array)
