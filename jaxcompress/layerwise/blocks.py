"""Blocks of a flat program: runs of operations that one value comes out of.

    … ──► [ residual block, layer of a scan, … ]──► x ──► [ next ]──► …

A program can be cut wherever a single value that depends on chosen leaves is read
further on: behind the sum of a residual block, behind a layer of a stack, behind each
layer of a plain chain. What lies between two such places is a block.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.leaf import materialize
from jaxcompress.core.matrices import as_matrices, from_matrices
from jaxcompress.core.names import named_leaves
from jaxcompress.core.types import Array, Model, Params
from jaxcompress.layerwise.frontier import all_finite
from jaxcompress.layerwise.operations import Equation, Operation, Value, fused
from jaxcompress.layerwise.plan import plans_of
from jaxcompress.layerwise.segments import Stage, leading_to, stage_of
from jaxcompress.layerwise.stream import Programs, Stream
from jaxcompress.layerwise.turns import Turn
from jaxcompress.layerwise.unrolled import Unrolled

_SUMS = {"add", "add_any", "sub"}

Matrices = dict[Turn, Array]
"""By turn (batch…, outputs, inputs) float32."""


class Section(NamedTuple):
    """A block of the flat program.

    Attributes:
      turns: the matrices that it is the first to read.
      run: values of its inputs -> what comes out of it.
      stage: how a stream goes on to its end.
    """

    turns: tuple[Turn, ...]
    run: Operation
    stage: Stage


class Block(NamedTuple):
    """A block at its turn, with all before it solved.

    Attributes:
      section: where it lies.
      weights: its matrices, as they are.
      leaves: by turn, where its leaf lies among the inputs.
      axes: by turn, the roles of its leaf's axes.
      fixed: inputs that are the same for all batches, by their place.
      now: (batches, …) inputs in the model whose blocks before are solved, by place.
      before: the same in the model as it was.
      targets: (batches, …) what came out of the block in the model as it was.
    """

    section: Section
    weights: Matrices
    leaves: dict[Turn, int]
    axes: dict[Turn, LeafAxes]
    fixed: dict[int, Any]
    now: dict[int, Array]
    before: dict[int, Array]
    targets: tuple[Array, ...]

    def outputs(self, matrices: Matrices, fixed: Mapping[int, Any], varying: Mapping[int, Array]):
        """What comes out of the block with other matrices, on one batch."""
        values = dict(fixed) | dict(varying)
        for turn, matrix in matrices.items():
            place, axes = self.leaves[turn], self.axes[turn]
            values[place] = _replaced(values[place], turn[1], matrix, axes)
        return self.section.run.run(*materialize([values[each] for each in sorted(values)]))


def sections_of(program: Unrolled, least: int) -> list[Section]:
    """The blocks of a flat program, in its order.

    Args:
      program: opened around the chosen leaves.
      least: how many matrices a block has at least, but for the last one.
    """
    ends = _ends(program.operations, least)
    left, solved, found = list(program.operations), set[Turn](), []
    read = {value for each in program.operations for value in each.inputs}
    for begin, end in itertools.pairwise([0, *ends]):
        inside = [each for each in program.operations[begin:end] if each.outputs[0].varies]
        operations = leading_to(inside, left)
        turns = tuple(dict.fromkeys(turn for each in operations for turn in each.turns))
        turns = tuple(turn for turn in turns if turn not in solved)
        solved |= set(turns)
        # What is made of later leaves too, such as a stack of them, is made again then.
        done = {each for each in operations if all(solved >= value.turns for value in each.outputs)}
        left = [each for each in left if each not in done]
        later = {value for each in left for value in each.inputs}
        made = (value for each in inside for value in each.outputs)
        outputs = [
            value
            for value in made
            if value.turns
            and (value in later or value not in read)
            and jnp.issubdtype(value.aval.dtype, jnp.floating)
        ]
        found.append(Section(turns, fused(operations, outputs), stage_of(operations, left, ())))
    return found


def _ends(operations: Sequence[Operation], least: int) -> list[int]:
    """Behind which operations blocks end."""
    last = {value: place for place, each in enumerate(operations) for value in each.inputs}
    crossing = [0] * (len(operations) + 1)
    for place in _added_once(operations):
        for cut in range(place + 1):
            crossing[cut] += 1
    for place, each in enumerate(operations):
        for value in each.outputs:
            if value.varies and value.turns and value in last:
                for cut in range(place + 1, last[value] + 1):
                    crossing[cut] += 1
    first: dict[Turn, int] = {}
    for place, each in enumerate(operations):
        for turn in each.turns:
            first.setdefault(turn, place)
    homes = sorted(first.values())
    ends, inside = [], 0
    for cut in range(1, len(operations)):
        if crossing[cut] <= 1:
            count = sum(home < cut for home in homes)
            if count == len(homes):
                break  # The last block goes to the end.
            if ends and count == inside:
                ends[-1] = cut  # What follows the last matrix belongs to it.
            elif count - inside >= least:
                inside = count
                ends.append(cut)
    return [*ends, len(operations)]


def _added_once(operations: Sequence[Operation]) -> list[int]:
    """Where what no chosen leaf has touched is added to what one has.

    There the first residual block ends. A mask or positions, which many blocks add, end
    none of them.
    """
    places: dict[Value, list[int]] = {}
    for place, each in enumerate(operations):
        plain = isinstance(each, Equation) and each.step.eqn.primitive.name in _SUMS
        if plain and any(value.varies and value.turns for value in each.inputs):
            for value in each.inputs:
                if value.varies and not value.turns:
                    places.setdefault(value, []).append(place)
    return [found[0] for found in places.values() if len(found) == 1]


def blocks(
    caller: str,
    fn: Model,
    params: Params,
    batches: Sequence[tuple[Any, ...]],
    names: Any,
    least: int,
) -> Iterator[tuple[Block, dict[str, Any]]]:
    """The blocks of a model one after another, each once those before it are solved.

    Args:
      caller: the name of the verb in errors.
      fn: the model.
      params: its tree.
      batches: tuples of inputs of one shape, at least one.
      names: of the leaves whose matrices are solved.
      least: matrices of a block, at least.

    Yields:
      (block, leaves by name), the latter to be changed to what was found: they are seen
      by all blocks after it.

    Raises:
      ValueError: batches are of several shapes; what a block gives is not finite; or as
        `layerwise.solve`.
    """
    plans = plans_of(caller, fn, params, batches, names)
    if len(plans) > 1:
        raise ValueError(
            f"{caller}(batches=...): batches are of {len(plans)} shapes, and blocks are tuned on "
            "batches of one. Cut or pad them alike."
        )
    (plan,) = plans
    now = named_leaves(params)
    before, programs = dict(now), Programs()
    streams = [Stream(plan.program, each, plan.batches, programs) for each in (now, before)]
    places = {value: name for name, value in plan.program.leaves.items()}
    for section in sections_of(plan.program, least):
        inputs = section.run.inputs
        if section.turns and section.run.outputs:
            at = {places[value]: place for place, value in enumerate(inputs) if value in places}
            values = [
                [stream.values(inputs, batch) for batch in range(len(plan.batches))]
                for stream in streams
            ]
            run = programs.of(section.run.likeness, section.run.run)
            targets = [run(*materialize(each)) for each in values[1]]
            _check_finite(caller, section, targets)
            yield (
                Block(
                    section,
                    {
                        turn: _matrices(now[turn[0]], plan.axes[turn[0]])[turn[1]]
                        for turn in section.turns
                    },
                    {turn: at[turn[0]] for turn in section.turns},
                    {turn: plan.axes[turn[0]] for turn in section.turns},
                    {p: values[0][0][p] for p, value in enumerate(inputs) if not value.varies},
                    _stacked(inputs, values[0]),
                    _stacked(inputs, values[1]),
                    tuple(jnp.stack(each) for each in zip(*targets, strict=True)),
                ),
                now,
            )
        for stream in streams:
            stream.advance(section.stage)


def _check_finite(caller: str, section: Section, targets: Sequence[Sequence[Array]]) -> None:
    if not all(bool(all_finite(each)) for batch in targets for each in batch):
        names = ", ".join(dict.fromkeys(repr(name) for name, _ in section.turns))
        raise ValueError(
            f"{caller}(batches=...): what the block of {names} gives is not finite. Clean the data "
            "and the params, or scale them."
        )


def _stacked(inputs: Sequence[Value], batches: Sequence[Sequence[Any]]) -> dict[int, Array]:
    """(batches, …) of the inputs that vary, by place."""
    return {
        place: jnp.stack([each[place] for each in batches])
        for place, value in enumerate(inputs)
        if value.varies
    }


def with_matrix(leaf: Array, turn: Turn, matrix: Array, axes: LeafAxes) -> Array:
    """The leaf with other numbers for one of its matrices."""
    return _replaced(leaf, turn[1], matrix, axes)


def _replaced(leaf: Array, index, matrix: Array, axes: LeafAxes) -> Array:
    matrices = _matrices(leaf, axes)
    new = matrix.astype(leaf.dtype).reshape(matrices[index].shape)
    return from_matrices(matrices.at[index].set(new), axes, like=leaf)


def _matrices(leaf: Array, axes: LeafAxes) -> Array:
    """(batch…, outputs, inputs)."""
    matrices = as_matrices(leaf, axes)
    return matrices.reshape(*(leaf.shape[axis] for axis in axes.batch), *matrices.shape[1:])
