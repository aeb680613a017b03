"""Operations of a flat program, and the values that they read and give."""

import dataclasses
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, jaxpr_as_fun

from jaxcompress.core.types import Array
from jaxcompress.graph.jaxprs import aval_of
from jaxcompress.graph.steps import Block, Step
from jaxcompress.layerwise.likeness import equation_likeness
from jaxcompress.layerwise.turns import Turn


@dataclasses.dataclass(frozen=True, eq=False)
class Value:
    """One array of the flat program; equal to itself alone.

    Attributes:
      aval: its type.
      varies: whether it depends on the batch; else it is the same for all batches.
      turns: the matrices of chosen leaves that it depends on.
    """

    aval: Any
    varies: bool
    turns: frozenset[Turn] = frozenset()


@dataclasses.dataclass(frozen=True, eq=False)
class Operation:
    """Computes some values from others; equal to itself alone.

    Attributes:
      run: values of the inputs -> values of the outputs.
      likeness: equal for operations that compute the same from their inputs.
      inputs: what it reads.
      outputs: what it gives.
    """

    run: Callable[..., Sequence[Any]]
    likeness: Hashable
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The matrices of chosen leaves that meet data in it, in their order."""
        return ()


@dataclasses.dataclass(frozen=True, eq=False)
class Equation(Operation):
    """One equation of the program, as it stands there.

    Attributes:
      block: the equation alone, with the sites in it.
      operands: the values at its operands' places.
      meeting: its turns.
    """

    block: Block
    operands: tuple[Value, ...]
    meeting: tuple[Turn, ...]

    @property
    def step(self) -> Step:
        (step,) = self.block.steps
        return step

    @property
    def turns(self) -> tuple[Turn, ...]:
        return self.meeting


def equation(
    step: Step, operands: Sequence[Value], turns: tuple[Turn, ...], debug_info: Any
) -> Equation:
    """One equation on these operands."""
    eqn = step.eqn
    places = zip(eqn.invars, operands, strict=True)
    read = {atom: value for atom, value in places if not isinstance(atom, Literal)}
    jaxpr = Jaxpr((), list(read), eqn.outvars, [eqn], eqn.effects, debug_info)
    inputs = tuple(read.values())
    return Equation(
        run=jaxpr_as_fun(ClosedJaxpr(jaxpr, ())),
        likeness=equation_likeness(eqn),
        inputs=inputs,
        outputs=tuple(made_of(inputs, aval_of(variable)) for variable in eqn.outvars),
        block=Block(jaxpr, (), (step,)),
        operands=tuple(operands),
        meeting=turns,
    )


def made_of(inputs: Iterable[Value], aval: Any) -> Value:
    """A value computed from these inputs alone."""
    inputs = tuple(inputs)
    turns = frozenset[Turn]().union(*(value.turns for value in inputs))
    return Value(aval, any(value.varies for value in inputs), turns)


def layer_of(stack: Value, index: Value, layer: Value) -> Operation:
    """Takes one layer of a stack.

    Its index is an input, so that the segments of all layers are one program.
    """

    def take(stack: Array, index: Array) -> list[Array]:
        return [jax.lax.dynamic_index_in_dim(stack, index, keepdims=False)]

    return Operation(take, "layer", (stack, index), (layer,))


def stack_of(layers: Sequence[Value], aval: Any) -> Operation:
    """Puts layers on a stack."""
    outputs = (made_of(layers, aval),)
    return Operation(lambda *arrays: [jnp.stack(arrays)], "stack", tuple(layers), outputs)


def fused(operations: Sequence[Operation], outputs: Sequence[Value]) -> Operation:
    """Several operations as one.

    Args:
      operations: in an order in which they can run.
      outputs: what of their results is read elsewhere.
    """
    if len(operations) == 1 and operations[0].outputs == tuple(outputs):
        return operations[0]
    # Inputs in the order in which they are first read: the same for all that are alike.
    made = {value for operation in operations for value in operation.outputs}
    read = (value for operation in operations for value in operation.inputs)
    inputs = tuple(dict.fromkeys(value for value in read if value not in made))

    def run(*values: Array) -> list[Array]:
        known = dict(zip(inputs, values, strict=True))
        for operation in operations:
            results = operation.run(*(known[value] for value in operation.inputs))
            known.update(zip(operation.outputs, results, strict=True))
        return [known[value] for value in outputs]

    return Operation(run, _likeness(operations, inputs, outputs), inputs, tuple(outputs))


def _likeness(
    operations: Sequence[Operation], inputs: Sequence[Value], outputs: Sequence[Value]
) -> Hashable:
    """Values by their place in the order in which they come to be known."""
    made = (value for operation in operations for value in operation.outputs)
    place = {value: number for number, value in enumerate((*inputs, *made))}
    return (
        tuple(value.aval for value in inputs),
        tuple((each.likeness, tuple(place[value] for value in each.inputs)) for each in operations),
        tuple(place[value] for value in outputs),
    )
