"""Which axes of which leaves must shrink together, and which must stay whole and why.

How the families are found is in `finding`, how they read in `explanation`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxcompress.core.trees import check_call
from jaxcompress.core.types import Model, Params, PyTree
from jaxcompress.graph.surgery.axis_rules.rule import Dims
from jaxcompress.graph.surgery.explanation import explain
from jaxcompress.graph.surgery.families import Family
from jaxcompress.graph.surgery.finding import families_of
from jaxcompress.graph.surgery.removal import Removal
from jaxcompress.graph.surgery.resolving import cuts_of
from jaxcompress.graph.surgery.walk import Coupled, couple


@dataclasses.dataclass(frozen=True)
class Couplings:
    """All families of a program; printed, it tells what goes together and why.

    Attributes:
      all: every family that has a place in a leaf, in the order of first use; what has
        at most one index has no unit to spare and is left out.
    """

    all: tuple[Family, ...]
    leaves: Mapping[str, Dims] = dataclasses.field(repr=False, compare=False)

    @property
    def families(self) -> tuple[Family, ...]:
        """Those whose units may go."""
        return tuple(family for family in self.all if family.removable)

    @property
    def pinned(self) -> tuple[Family, ...]:
        """Those that stay whole, with reasons."""
        return tuple(family for family in self.all if family.pins)

    @property
    def unused(self) -> tuple[Family, ...]:
        """Those that no data meet."""
        return tuple(family for family in self.all if family.unused)

    @property
    def units(self) -> dict[str, int]:
        """Number of units by the name of each family whose units may go."""
        return {family.name: family.size for family in self.families}

    def removal(self, units: Mapping[str, Sequence[Any]]) -> Removal:
        """What goes with these units.

        Args:
          units: unit indices by the name of their family; for a family with `layers`,
            also one sequence per layer, equally long.

        Returns:
          Removal, a frozen value.

        Raises:
          ValueError: no family has that name, it is pinned (with the reasons) or
            unused, an index is out of range or there twice, or no unit would stay.

        Example:
          >>> fn = lambda params, x: jnp.tanh(x @ params["in"]) @ params["out"]
          >>> params = {"in": jnp.ones((3, 4)), "out": jnp.ones((4, 2))}
          >>> couplings = jc.graph.couplings(fn, params, jnp.ones((5, 3)))
          >>> removed = couplings.removal({"in:1": [2]})
          >>> [(cut.leaf, cut.axis, cut.indices) for cut in removed.cuts]
          [('in', 1, (2,)), ('out', 0, (2,))]
        """
        known = {family.name: family for family in self.all}
        removed = {}
        for name, indices in units.items():
            if name not in known:
                raise ValueError(
                    f"removal({{{name!r}: ...}}): no family has this name. "
                    f"Families are: {', '.join(self.units)}."
                )
            gone = _gone(known[name], indices)
            if gone.any():
                removed[known[name].atom] = gone
        return cuts_of(self.leaves, removed)

    def __str__(self) -> str:
        return explain(self.families, self.pinned, self.unused)


def couplings(fn: Model, params: Params, *inputs: PyTree) -> Couplings:
    """The families of units that must go together if they go.

    Follows every axis through the program. Leaves whose axes meet (a layer's outputs,
    its bias, the next layer's inputs, whatever a residual adds to it) share units; an
    axis that the caller sees, or that a primitive needs whole, is pinned. A model of
    the form `(outputs, new_params)` may shrink its new params, any other result
    may not shrink.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: tree of arrays, `jax.ShapeDtypeStruct`s or compressed leaves;
        only shapes matter.
      inputs: trees of arrays or shapes.

    Returns:
      Couplings.

    Example:
      >>> fn = lambda params, x: jnp.tanh(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.ones((3, 4)), "out": jnp.ones((4, 2))}
      >>> jc.graph.couplings(fn, params, jnp.ones((5, 3))).units
      {'in:1': 4}
    """
    check_call("couplings", fn, params, inputs)
    return couplings_of(couple(fn, params, *inputs))


def couplings_of(coupled: Coupled) -> Couplings:
    """The families of a program already traced."""
    return Couplings(families_of(coupled), coupled.leaves)


def _gone(family: Family, indices: Sequence[Any]) -> np.ndarray:
    """Which units go, checked: bool (units,), or (layers, units)."""
    call = f"removal({{{family.name!r}: {list(indices)}}})"
    if family.pins:
        raise ValueError(f"{call}: these units must stay: {'; '.join(family.pins)}.")
    if not family.removable:
        raise ValueError(f"{call}: no data meet these units, so nothing would change.")
    rows = _integers(indices)
    if rows is None:
        raise ValueError(f"{call}: indices must be whole numbers, equally many for every layer.")
    if rows.ndim not in (1, 2) or (rows.ndim == 2 and len(rows) != family.layers):
        raise ValueError(
            f"{call}: indices must be one sequence, or one for each of {family.layers} layers."
        )
    if ((rows < 0) | (rows >= family.size)).any():
        raise ValueError(f"{call}: indices must be in [0, {family.size}).")
    gone = np.zeros((*rows.shape[:-1], family.size), bool)
    np.put_along_axis(gone, rows, True, axis=-1)
    if (gone.sum(axis=-1) != rows.shape[-1]).any():
        raise ValueError(f"{call}: an index is there twice.")
    if gone.all(axis=-1).any():
        raise ValueError(
            f"{call}: at least one of {family.size} units must stay. "
            "To pass a whole residual block by, use structure.remove_blocks."
        )
    return gone


def _integers(indices: Sequence[Any]) -> np.ndarray | None:
    """The indices as an array; None where they are no whole numbers in equal rows."""
    if not len(indices):
        return np.zeros(0, int)
    try:
        rows = np.asarray(indices)
    except ValueError:
        return None
    return rows if np.issubdtype(rows.dtype, np.integer) else None
