"""Gates on units: a model whose units open, close, or are read on the way.

Gates stand where a removal takes effect: in front of every equation that sums over the
units, or the like. What gates are good for is the matter of `structure.importance`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.kinds import check_function
from jaxcompress.core.models import check_model
from jaxcompress.core.types import Array, Model
from jaxcompress.graph.surgery.arrays import FullSize
from jaxcompress.graph.surgery.axis_rules import rule_of
from jaxcompress.graph.surgery.axis_rules.rule import Dims, Record, Reduction
from jaxcompress.graph.surgery.bodies import opened
from jaxcompress.graph.surgery.dims import Dim, atoms, concatenation, reversal, root
from jaxcompress.graph.surgery.families import Family, check_families
from jaxcompress.graph.surgery.kept import positions
from jaxcompress.graph.surgery.walk import couple
from jaxcompress.graph.surgery.writer import Writer, inlined, written

Meeting = Callable[[Array, Array, np.ndarray], Array]
"""(value, gate that broadcasts to it, neutral element ()) to what is summed."""


def switch(value: Array, gate: Array, neutral: np.ndarray) -> Array:
    """The value, or the neutral element, or what lies between."""
    if jnp.issubdtype(value.dtype, jnp.inexact) and np.isfinite(neutral):
        return jnp.asarray(neutral) + gate.astype(value.dtype) * (value - neutral)
    return jnp.where(gate > 0, value, neutral)


def with_unit_gates(
    fn: Model, families: Sequence[Family], meet: Meeting = switch
) -> Callable[..., Any]:
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
      meet: what happens in front of those equations instead, such as `reading(...)`.

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
      >>> jc.graph.surgery.with_unit_gates(fn, families)(params, x, gates=gates)
      Array([[2.49]], dtype=float32)
    """
    check_model("with_unit_gates", fn)
    check_families("with_unit_gates", families)
    check_function("with_unit_gates", "meet", meet, "For example reading(jnp.abs).")
    known = {family.name: family for family in families}

    def program(params, *inputs, gates: Mapping[str, Array]):
        coupled = couple(fn, params, *inputs)
        by_atom = {}
        for name, gate in gates.items():
            _check_gate(name, gate, known)
            by_atom[_atom(known[name], coupled.leaves)] = gate
        arrays = Gated(by_atom, meet)
        # The gradient that a function defines for itself knows no gates inside it.
        edits = {
            record: inlined
            for record in opened(coupled.body, arrays.changes)
            if record.eqn.primitive.name.startswith("custom_")
        }
        return written(Writer(coupled.body, arrays, edits), coupled, params, inputs)

    return program


def reading(measure: Callable[[Array], Array]) -> Meeting:
    """A gate that changes nothing and whose gradient is the mean of `measure(value)`.

    So readings pass through loops and calls as gradients do.
    """
    check_function("reading", "measure", measure, "For example jnp.abs.")

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


class Gated(FullSize):
    """Arrays of full size; a reduction sees its units behind their gates.

    Args:
      gates: per atom (units,), or (layers, units).
      meet: what happens there.
    """

    def __init__(self, gates: Mapping[Dim, Array], meet: Meeting):
        self.gates = gates
        self.meet = meet

    def changes(self, record: Record) -> bool:
        reductions = rule_of(record.eqn.primitive.name).reduces(record)
        return any(self._holds(record.inputs[r.operand][r.axis]) for r in reductions)

    def fill(self, value: Any, dims: Dims, reduction: Reduction) -> Any:
        d = dims[reduction.axis]
        # A dot multiplies its operands, so that one gate serves both: on the first.
        if reduction.operand or not self._holds(d):
            return value
        others = [axis for axis in range(len(dims)) if axis != reduction.axis]
        gate = jnp.expand_dims(_spread(d, self.gates), others)
        return self.meet(value, gate, reduction.neutral(value.dtype))

    def at(self, layer: Any) -> "Gated":
        gates = {atom: gate[layer] if gate.ndim == 2 else gate for atom, gate in self.gates.items()}
        return Gated(gates, self.meet)

    def _holds(self, d: Dim) -> bool:
        return any(atom in self.gates for atom in atoms(d))


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
    # An index of a product is a tuple of its factors' indices: it is open as far as all
    # of them are.
    gate = parts[0]
    for part in parts[1:]:
        gate = (gate[:, None] * part[None, :]).reshape(-1)  # (major, minor) -> (size,)
    return gate


def _atom(family: Family, leaves: Mapping[str, Dims]) -> Dim:
    """The family's units in a program coupled anew."""
    # Dims belong to one trace, so the family's own atom is unknown in this one: its
    # units are found again where they lie along an axis of a leaf.
    place = family.places[0]
    d = leaves[place.leaf][place.axis]
    for atom in atoms(d):
        if atom.size == family.size and np.array_equal(positions(d, atom), place.positions):
            return atom
    raise ValueError(
        f"with_unit_gates: at these input shapes the units of {family.name!r} are coupled "
        "otherwise. Take the couplings of the same function on inputs of like shapes."
    )


def _check_gate(name: str, gate: Array, known: Mapping[str, Family]) -> None:
    if name not in known:
        raise ValueError(
            f"with_unit_gates(gates={{{name!r}: ...}}): families are: {', '.join(known)}."
        )
    family = known[name]
    shapes = [(family.size,)] + [(family.layers, family.size)] * bool(family.layers)
    if jnp.shape(gate) not in shapes:
        raise ValueError(
            f"with_unit_gates(gates={{{name!r}: shape {jnp.shape(gate)}}}) must have shape "
            f"{' or '.join(map(str, shapes))}."
        )


def open_gates(families: Sequence[Family]) -> dict[str, Array]:
    """Gates of 1 by family name: (units,) or (layers, units) float32."""
    check_families("open_gates", families)
    return {family.name: jnp.ones(family.unit_shape, jnp.float32) for family in families}
