"""What quantization on data begins and ends with: checks, leaves, their report."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.batches import as_batches, as_inputs
from jaxcompress.core.checks import check_concrete, check_finite
from jaxcompress.core.evidence import missing
from jaxcompress.core.models import check_model
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.report import KEPT, LeafReport, Report
from jaxcompress.core.rules import Rules
from jaxcompress.core.sizes import size_bytes
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Model, Params
from jaxcompress.graph.program import Program, axes, trace
from jaxcompress.layerwise.moments import row_counts
from jaxcompress.layerwise.turns import no_matrix, sites_of
from jaxcompress.quantize.assignment import RULED, Assignment, assign
from jaxcompress.quantize.weights import stored_as

MEND = "give batches that reach it"


class Task(NamedTuple):
    """A model to quantize on data.

    Attributes:
      caller: the name of the verb in errors.
      fn: the model.
      params: as they are.
      batches: tuples of the model's inputs, at least one.
      program: of the first batch.
      choices: by name, what each leaf gets, or why it stays.
    """

    caller: str
    fn: Model
    params: Params
    batches: list[tuple[Any, ...]]
    program: Program
    choices: dict[str, Assignment | str]

    @property
    def assigned(self) -> dict[str, Assignment]:
        """The leaves that are quantized."""
        return {name: each for name, each in self.choices.items() if isinstance(each, Assignment)}


class Reach(NamedTuple):
    """Which leaves data can say something of.

    Attributes:
      apart: by name, why a leaf cannot be solved on data.
      partly: by name of any other, which of its matrices no data reached; or empty.
    """

    apart: dict[str, str]
    partly: dict[str, str]


def task_of(
    caller: str, fn: Model, params: Params, batches: Iterable[Any], spec: QuantSpec | Rules[Any]
) -> Task:
    """Checks what a verb is given, and chooses its leaves.

    Raises:
      TypeError: the model, the tree or what a leaf gets is of the wrong kind.
      ValueError: there is no batch or an empty one; nothing is selected, a rule is
        never used or does not fit; a leaf to quantize is not finite.
    """
    check_model(caller, fn)
    check_arrays(caller, "params", params)
    check_concrete(caller, params=params)
    inputs = [as_inputs(batch) for batch in as_batches(caller, batches)]
    program, roles = trace(fn, params, *inputs[0]), axes(fn, params, *inputs[0])
    choices = assign(caller, params, spec, roles, None, RULED)
    task = Task(caller, fn, params, inputs, program, choices)
    leaves = named_leaves(params)
    for name in task.assigned:
        check_finite(caller, name, leaves[name])
    # Those of NumPy get the dtype that they have in programs, as float32 for float64.
    arrays = {name: jnp.asarray(leaves[name]) for name in task.assigned}
    return task._replace(params=map_named(lambda name, leaf: arrays.get(name, leaf), params))


def reach_of(task: Task) -> Reach:
    """Which of the leaves to quantize no matrix stands for, and which no data reach."""
    obstacles = {name: no_matrix(task.program, name) for name in task.assigned}
    apart = {name: each.reason for name, each in obstacles.items() if each is not None}
    matrices = [name for name in task.assigned if name not in apart]
    sites = sites_of(task.caller, task.program, matrices)
    if not sites:
        return Reach(apart, {})
    counts = row_counts(task.fn, task.program, task.params, task.batches, sites)
    unreached = {name for name, count in counts.items() if not np.any(count)}
    apart |= {name: f"{missing(counts[name])}; {MEND}" for name in unreached}
    return Reach(apart, {n: missing(each) for n, each in counts.items() if n not in unreached})


def finished(
    task: Task, found: Mapping[str, Any], reasons: Mapping[str, str]
) -> tuple[Params, Report]:
    """The quantized params, and one row for each leaf.

    Args:
      task: the task.
      found: by name, the compressed leaves.
      reasons: by name, how they were found.
    """
    quantized = map_named(lambda name, leaf: found.get(name, leaf), task.params)
    rows = []
    for name, leaf in named_leaves(task.params).items():
        choice, new = task.choices[name], found.get(name, leaf)
        told = (KEPT, choice) if isinstance(choice, str) else (stored_as(new), reasons[name])
        rows.append(LeafReport(name, np.shape(leaf), *told, size_bytes(leaf), size_bytes(new)))
    return quantized, Report(task.caller, tuple(rows))
