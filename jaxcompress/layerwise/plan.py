"""Plans: the segments of a model for each shape that batches have."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.types import Model, Params
from jaxcompress.graph.program import trace
from jaxcompress.layerwise.segments import Stage, stages
from jaxcompress.layerwise.turns import Turn, reading_axes, sites_of
from jaxcompress.layerwise.unrolled import Unrolled, unrolled


class Plan(NamedTuple):
    """How the model runs over batches of one shape.

    Attributes:
      program: the model, flat.
      stages: its segments, each with the leaves at its end.
      batches: the leaves of each batch's inputs.
      axes: the roles of the axes of the leaves to solve, by name.
    """

    program: Unrolled
    stages: tuple[Stage, ...]
    batches: list[list[Any]]
    axes: dict[str, LeafAxes]

    @property
    def turns(self) -> list[list[Turn]]:
        """The matrices at the end of each segment, in the order of the leaves."""
        return [[reading.turn for reading in stage.readings] for stage in self.stages]


def plans_of(
    caller: str, fn: Model, params: Params, batches: Sequence[tuple[Any, ...]], names: Iterable[str]
) -> list[Plan]:
    """One plan for each shape of batch, all with the same leaves at the same cuts.

    Args:
      caller: the name of the verb in errors.
      fn: the model.
      params: its tree.
      batches: tuples of the model's inputs, at least one.
      names: of the leaves to solve.

    Raises:
      ValueError: a leaf is no matrix (`sites_of`), or batches of one shape make a
        program that meets the leaves in another order than those of another.
    """
    alike: dict[Any, list[tuple[Any, ...]]] = {}
    for inputs in batches:
        leaves, structure = jax.tree.flatten(inputs)
        alike.setdefault((structure, *map(jax.typeof, leaves)), []).append(inputs)
    names = tuple(names)
    found = [_plan(caller, fn, params, each, names) for each in alike.values()]
    if any(plan.turns != found[0].turns for plan in found):
        raise ValueError(
            f"{caller}(batches=...): batches of other shapes make a program that meets the leaves "
            "in another order. Give batches of one shape."
        )
    return found


def _plan(
    caller: str,
    fn: Model,
    params: Params,
    batches: Sequence[tuple[Any, ...]],
    names: tuple[str, ...],
) -> Plan:
    program = trace(fn, params, *batches[0])
    sites = sites_of(caller, program, names)
    flat = unrolled(program, sites)
    return Plan(
        flat,
        tuple(stages(flat.operations)),
        [jax.tree.leaves(inputs, is_leaf=is_compressed) for inputs in batches],
        {name: reading_axes(each[0]) for name, each in sites.items()},
    )
