"""A model with a gate on every unit, and readings of what units say.

Gates stand where `graph` means a removal: in front of every equation that sums over the
units, or the like. What gates are good for is the matter of `importance`.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.types import Array, Model
from jaxcompress.graph.surgery.axis_rules import rule_of
from jaxcompress.graph.surgery.axis_rules.rule import Body, Record, Reduction, Shape
from jaxcompress.graph.surgery.couplings import Family
from jaxcompress.graph.surgery.dims import Dim, atoms, concatenation, reversal, root
from jaxcompress.graph.surgery.kept import positions
from jaxcompress.graph.surgery.walk import couple
from jaxcompress.graph.surgery.writer import Masked, emitted

Meeting = Callable[[Array, Array, np.ndarray], Array]
"""(value, gate that broadcasts to it, neutral element ()) to what is summed."""


def gated(fn: Model, families: Sequence[Family]) -> Callable:
    """The model with a gate on every unit of the families.

    Gates of 1 change nothing. With gates of 0 the units are removed, as in
    `graph.surgery.masked`; between, in front of every sum, product, dot and convolution
    over the units

        value <- neutral + gate · (value - neutral)

    A maximum or minimum sees the units whose gates are above 0, and has no gradient in
    the gates. A function that defines its own gradient and sums over units has the
    gradient of its body instead.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      families: of `graph.couplings`, of the same model at any batch size.

    Returns:
      `program(params, *inputs, gates) -> outputs`; gates by family name: (units,), or
      (layers, units) where each layer of a scan has its own. Families without gates are
      left alone.

    Raises:
      ValueError: when called, gates are of no family or of another shape, or at these
        shapes the axes are coupled otherwise.

    Example:
      >>> fn = lambda params, x: jnp.tanh(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.ones((3, 4)), "out": jnp.ones((4, 1))}
      >>> x = jnp.ones((1, 3))
      >>> families = jc.graph.couplings(fn, params, x).families
      >>> gates = {"in:1": jnp.array([1.0, 1.0, 0.5, 0.0])}
      >>> gated(fn, families)(params, x, gates=gates)
      Array([[2.49]], dtype=float32)
    """
    return met(fn, families, switch)


def switch(value: Array, gate: Array, neutral: np.ndarray) -> Array:
    """The value, or the neutral element, or what lies between."""
    if jnp.issubdtype(value.dtype, jnp.inexact) and np.isfinite(neutral):
        return jnp.asarray(neutral) + gate.astype(value.dtype) * (value - neutral)
    return jnp.where(gate > 0, value, neutral)


def reading(measure: Callable[[Array], Array]) -> Meeting:
    """A gate that changes nothing and whose gradient is the mean of `measure(value)`.

    So readings pass through loops and calls as gradients do.
    """

    @jax.custom_vjp
    def meet(value, gate):
        del gate
        return value

    def forward(value, gate):
        return value, (value, gate)

    def backward(kept, cotangent):
        value, gate = kept
        others = tuple(axis for axis, size in enumerate(gate.shape) if size == 1)
        measured = measure(value).astype(gate.dtype)
        return cotangent, jnp.mean(measured, axis=others, keepdims=True)

    meet.defvjp(forward, backward)
    return lambda value, gate, neutral: meet(value, gate)


def met(fn: Model, families: Sequence[Family], meet: Meeting) -> Callable:
    """The model in which what is summed over gated units passes through `meet`."""
    known = {family.name: family for family in families}

    def program(params, *inputs, gates: Mapping[str, Array]):
        coupled = couple(fn, params, *inputs)
        by_atom = {}
        for name, gate in gates.items():
            _check_gate(name, gate, known)
            by_atom[_atom(known[name], coupled.leaves)] = gate
        return emitted(Gated(coupled.body, by_atom, meet), coupled, params, inputs)

    return program


class Gated(Masked):
    """Shapes stay; what an equation sums over gated units meets the gates first.

    Args:
      body: the records of the whole program.
      gates: per atom (units,), or (layers, units).
      meet: what happens there.
    """

    def __init__(self, body: Body, gates: Mapping[Dim, Array], meet: Meeting):
        self.gates = gates
        self.meet = meet
        self.touched = set(_reducing(body, gates))

    def at(self, layer) -> "Gated":
        inside = copy.copy(self)
        inside.gates = {
            atom: gate[layer] if gate.ndim == 2 else gate for atom, gate in self.gates.items()
        }
        return inside

    def write(self, record: Record, values: list) -> Sequence:
        if record in self.touched and record.eqn.primitive.name.startswith("custom_"):
            # Its own gradient knows nothing of gates inside it.
            return self.run(record.bodies[0], values)
        return super().write(record, values)

    def fill(self, value, shape: Shape, reduction: Reduction):
        # A dot multiplies its operands: one gate for both.
        if reduction.operand or not _has(shape[reduction.axis], self.gates):
            return value
        gate = _spread(shape[reduction.axis], self.gates)
        others = [axis for axis in range(len(shape)) if axis != reduction.axis]
        return self.meet(value, jnp.expand_dims(gate, others), reduction.neutral(value.dtype))


def _reducing(body: Body, gates: Mapping[Dim, Array]) -> Iterator[Record]:
    """The records, at any depth, that reduce over gated units."""
    for record in body.records:
        inside = [inner for block in record.bodies for inner in _reducing(block, gates)]
        reductions = rule_of(record.eqn.primitive.name).reduces(record)
        if inside or any(_has(record.inputs[r.operand][r.axis], gates) for r in reductions):
            yield record
        yield from inside


def _has(d: Dim, gates: Mapping[Dim, Array]) -> bool:
    return any(atom in gates for atom in atoms(d))


def _spread(d: Dim, gates: Mapping[Dim, Array]) -> Array:
    """The gate of every index of an axis: (size,)."""
    d = root(d)
    if d.form is None:
        return gates.get(d, jnp.ones(d.size, jnp.float32))
    parts = [_spread(part, gates) for part in d.parts]
    if d.form is concatenation:
        return jnp.concatenate(parts)
    if d.form is reversal:
        return parts[0][::-1]
    gate = parts[0]
    for part in parts[1:]:
        gate = (gate[:, None] * part[None, :]).reshape(-1)
    return gate


def _atom(family: Family, leaves: Mapping[str, Shape]) -> Dim:
    """The family's units in a program coupled anew."""
    place = family.places[0]
    d = leaves[place.leaf][place.axis]
    for atom in atoms(d):
        if atom.size == family.size and np.array_equal(positions(d, atom), place.positions):
            return atom
    raise ValueError(
        f"gated: at these input shapes the units of {family.name!r} are coupled otherwise. "
        "Take the couplings of the same function on inputs of like shapes."
    )


def _check_gate(name: str, gate: Array, known: Mapping[str, Family]) -> None:
    if name not in known:
        raise ValueError(f"gated(gates={{{name!r}: ...}}): families are: {', '.join(known)}.")
    family = known[name]
    shapes = [(family.size,)] + [(family.layers, family.size)] * bool(family.layers)
    if jnp.shape(gate) not in shapes:
        raise ValueError(
            f"gated(gates={{{name!r}: shape {jnp.shape(gate)}}}) must have shape "
            f"{' or '.join(map(str, shapes))}."
        )


def full(family: Family) -> Array:
    """Open gates of a family, (units,) or (layers, units) float32."""
    return jnp.ones(score_shape(family), jnp.float32)


def score_shape(family: Family) -> tuple[int, ...]:
    """Of one number per unit: (units,), or (layers, units) where layers differ."""
    return (family.layers, family.size) if family.layers else (family.size,)
