"""Quantization on data: layer by layer, so that each layer's outputs change least."""

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.report import Report
from jaxcompress.core.rules import Rules
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Model, Params
from jaxcompress.layerwise.correction import Correction, check_correction
from jaxcompress.layerwise.driver import solve
from jaxcompress.layerwise.remarks import remarks
from jaxcompress.layerwise.solver import Solver
from jaxcompress.quantize.assignment import Assignment
from jaxcompress.quantize.rounding.matrices import matrix_spec
from jaxcompress.quantize.rounding.nearest import nearest
from jaxcompress.quantize.rounding.rounding import Rounding, check_rounding
from jaxcompress.quantize.task import finished, reach_of, task_of


def reconstruct(
    fn: Model,
    params: Params,
    batches: Iterable[Any],
    spec: QuantSpec | Rules[Any],
    rounding: Rounding = nearest(),
    *,
    correction: Correction = 0.0,
) -> tuple[Params, Report]:
    """Quantizes layer by layer, rounding each so that its outputs change least.

    Not for: 8 bits, where `quantize` rounds to nearest at next to no loss, and models
    without data.

    In the order of the program, and of a scanned stack layer by layer, each leaf's
    matrix is rounded on the second moment of the inputs that it meets once all before
    it are quantized. No labels and no gradients. Also known as: post-training
    quantization with weight reconstruction, layer-wise calibration.

    With a `correction` a leaf also makes up for leaves before it: with x what it met in
    the whole model and x' what it meets now, what is rounded is

        W + correction · W · E[(x - x') x'ᵀ] · E[x' x'ᵀ]⁻¹,   the inverse damped

    A leaf that cannot be solved on data (a table that is looked up, a grouped
    convolution, one that no row of the batches reaches but zeros) is rounded first and
    without data, and its row says why. So is, at its turn, a matrix that meets nothing
    but zeros, such as an expert's that is never chosen. Weights that are 0 stay 0 where
    the format has a zero, so those that were pruned do not return; not under
    `rounding.low_rank` and `rounding.rotated`, whose leaves mix the weights.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: tree of arrays, finite where they are quantized.
      batches: calibration data, each an input or a tuple of the model's inputs; some
        hundred rows more than a leaf has inputs are enough.
      spec: one spec for every weight that meets data, or rules over their names; a leaf
        without a rule stays as it is.
      rounding: one of `quantize.rounding`, `gptq()` for example.
      correction: how far each leaf makes up for the drift of its inputs, in [0, 1], or
        `layerwise.held_out` batches, which choose it for each layer.

    Returns:
      (params, report). Leaves that are not quantized are the same objects as before.

    Raises:
      TypeError: what a leaf gets is no QuantSpec, `rounding` is no Rounding, or a leaf
        that a rule other than "*" names is already quantized or not real floating.
      ValueError: there is no batch or an empty one; the correction is outside [0, 1];
        nothing is selected or a rule is never used; a leaf to quantize, or what it
        meets, is not finite; its blocks do not divide a leaf that a rule names, or any.

    Example:
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> params = {"kernel": jnp.array([[1.0, 0.3], [-0.6, 0.0]])}
      >>> x = jnp.array([[1.0, 1.0], [0.0, 1.0]])
      >>> int4 = jc.quantize.int4()
      >>> quantized, report = jc.quantize.reconstruct(fn, params, [x], int4)
      >>> quantized["kernel"]
      QTensor(int4 per channel, shape=(2, 2), dtype=float32)
      >>> report.leaves[0].reason
      'rounded on its inputs'

    Source: the order of layers is that of Frantar et al. 2022, arXiv:2210.17323; the
    correction is W* of Arai and Ichikawa 2025, arXiv:2504.09629, and Li et al. 2025,
    arXiv:2504.02692. Differs: leaf by leaf, in place of all of a block at once.
    """
    check_rounding("reconstruct", rounding)
    check_correction("reconstruct", correction)
    task = task_of("reconstruct", fn, params, batches, spec)
    apart, leaves = reach_of(task).apart, named_leaves(task.params)
    found = {name: rounding.array(leaves[name], task.assigned[name]) for name in apart}
    reasons = {name: f"rounded without data: {reason}" for name, reason in apart.items()}
    rest = {name: each for name, each in task.assigned.items() if name not in apart}
    solvers = _solvers(rounding, leaves, rest)
    if solvers:
        started = map_named(lambda name, leaf: found.get(name, leaf), task.params)
        solved = solve("reconstruct", fn, started, task.batches, solvers, correction)
        found |= solved.leaves
        for name, solver in solvers.items():
            told = (*remarks(name, solved), solver.note(solved.solutions[name]))
            how = "on its inputs" if any(solved.reached[name]) else "without data"
            reasons[name] = "; ".join((f"rounded {how}", *filter(None, told)))
    return finished(task, found, reasons)


def _solvers(rounding: Rounding, leaves: Mapping[str, Any], assigned: Mapping[str, Assignment]):
    """The solver of each leaf; those of one spec share it, and so its programs."""

    @functools.cache
    def solver(spec: QuantSpec) -> Solver:
        return rounding.solver(spec)._replace(needs_data=False)

    return {
        name: solver(matrix_spec(spec, leaves[name].shape, roles))
        for name, (spec, roles) in assigned.items()
    }
