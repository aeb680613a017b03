"""Runs batches through the model, segment by segment."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.leaf import materialize
from jaxcompress.core.types import Array
from jaxcompress.layerwise.operations import Operation, Value
from jaxcompress.layerwise.segments import Stage
from jaxcompress.layerwise.unrolled import Unrolled

MOST_ON_DEVICE = 2**30
"""Bytes of a segment's results, all batches together, above which the host has them."""


class Programs:
    """Compiled programs by what they compute: segments that are alike share one."""

    def __init__(self):
        self.known: dict[Hashable, Callable[..., Any]] = {}

    def of(self, likeness: Hashable, run: Callable[..., Any]) -> Callable[..., Any]:
        """The compiled form of `run`, or of what is like it."""
        return self.known.setdefault(likeness, jax.jit(run))


class _OnHost(NamedTuple):
    """An array in host memory, and its sharding on the devices."""

    array: Any
    sharding: jax.sharding.Sharding


class Stream:
    """The values that are live after a segment, for each batch of one shape.

    Args:
      program: the flat program of batches of this shape.
      params: the leaves by name; read again for each segment, so a leaf that was solved
        is seen by all after it.
      batches: the leaves of each batch.
      programs: what is compiled, for all streams.
    """

    def __init__(
        self,
        program: Unrolled,
        params: Mapping[str, Any],
        batches: Sequence[Sequence[Any]],
        programs: Programs,
    ):
        self.params = params
        self.programs = programs
        self.names = {value: name for name, value in program.leaves.items()}
        self.constants = program.constants
        self.shared: dict[Value, Array] = {}
        self.batches: list[dict[Value, Any]] = [
            dict(zip(program.inputs, batch, strict=True)) for batch in batches
        ]

    def advance(self, stage: Stage) -> None:
        """Runs one segment for all batches, and keeps the values live after it."""
        self.shared |= self._run(stage.shared, {})
        avals = [value.aval for value in stage.each.outputs]
        size = sum(aval.size * aval.dtype.itemsize for aval in avals) * len(self.batches)
        for index, known in enumerate(self.batches):
            made = self._run(stage.each, known)
            if size > MOST_ON_DEVICE:
                made = {value: _on_host(x) for value, x in made.items()}
            known |= made
            self.batches[index] = {value: known[value] for value in known if value in stage.live}
        self.shared = {value: x for value, x in self.shared.items() if value in stage.live}

    def values(self, wanted: Sequence[Value], batch: int) -> list[Any]:
        """The present values of a batch."""
        return [self._value(value, self.batches[batch]) for value in wanted]

    def _run(self, operation: Operation, known: Mapping[Value, Any]) -> dict[Value, Array]:
        if not operation.outputs:
            return {}
        program = self.programs.of(
            operation.likeness, lambda *values: operation.run(*materialize(values))
        )
        results = program(*(self._value(value, known) for value in operation.inputs))
        return dict(zip(operation.outputs, results, strict=True))

    def _value(self, value: Value, known: Mapping[Value, Any]) -> Any:
        if value in self.names:
            return self.params[self.names[value]]
        for place in (known, self.shared):
            if value in place:
                x = place[value]
                return jax.device_put(*x) if isinstance(x, _OnHost) else x
        return self.constants[value]


def _on_host(x: Array) -> Any:
    # Keys have no form outside of JAX; of an array that other processes hold a part of,
    # this host cannot have the whole.
    if jnp.issubdtype(x.dtype, jax.dtypes.extended) or not x.is_fully_addressable:
        return x
    return _OnHost(jax.device_get(x), x.sharding)
