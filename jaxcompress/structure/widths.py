"""The widths that families may take, and what a model of such widths holds and costs.

`amounts` chooses among the widths.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxcompress.core.left_out import is_constant
from jaxcompress.core.names import named_leaves
from jaxcompress.core.sizes import size_bytes
from jaxcompress.core.types import Model, Params
from jaxcompress.graph.cost import cost
from jaxcompress.graph.program import trace
from jaxcompress.graph.surgery.couplings import Couplings
from jaxcompress.graph.surgery.cutting import slice_params
from jaxcompress.graph.surgery.dims import Dim, concatenation, root
from jaxcompress.graph.surgery.families import Family
from jaxcompress.graph.surgery.removal import Removal
from jaxcompress.graph.surgery.shrink import shrunk_program
from jaxcompress.graph.surgery.walk import Coupled

Widths = dict[str, int]
"""Units that stay, by family name."""

Prices = Mapping[str, float]
"""What one entry of a leaf costs, by leaf name."""


@dataclasses.dataclass(frozen=True)
class Candidates:
    """A model, and how narrow each family of it may become.

    Attributes:
      fn, params, inputs: the model on a batch.
      coupled: its program for this batch.
      couplings: of the families that may lose units.
      ladders: by family name the widths it may take, falling from the present one.
    """

    fn: Model
    params: Params
    inputs: tuple[Any, ...]
    coupled: Coupled
    couplings: Couplings
    ladders: Mapping[str, tuple[int, ...]]

    @property
    def present(self) -> Widths:
        """Every family as it is."""
        return {name: ladder[0] for name, ladder in self.ladders.items()}

    @property
    def narrowest(self) -> Widths:
        """Every family at the end of its ladder."""
        return {name: ladder[-1] for name, ladder in self.ladders.items()}

    def allowed(self, name: str, width: float) -> int:
        """The narrowest allowed width that is not below this one."""
        return min(each for each in self.ladders[name] if each >= width)

    def removal(self, widths: Widths, scores: Mapping[str, np.ndarray]) -> Removal:
        """The removal to these widths: the lowest scores of each family."""
        present = self.present
        return self.couplings.removal(
            {
                name: least_worth(scores[name], present[name] - width).tolist()
                for name, width in widths.items()
                if width < present[name]
            }
        )

    def any_removal(self, widths: Widths) -> Removal:
        """A removal to these widths, with units chosen by index."""
        alike = {f.name: np.zeros(f.unit_shape) for f in self.couplings.families}
        return self.removal(widths, alike)


def least_worth(scores: np.ndarray, count: int) -> np.ndarray:
    """Indices of the lowest scores, ascending; ties go to the earlier index."""
    order = np.argsort(scores, axis=-1, kind="stable")
    return np.sort(order[..., :count], axis=-1)


def ladder(family: Family, floor: int, multiple: int) -> tuple[int, ...]:
    """The widths a family may take: as it is, and lower multiples not below the floor.

    Example:
      >>> fn = lambda params, x: jnp.tanh(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.ones((3, 13)), "out": jnp.ones((13, 2))}
      >>> (family,) = jc.graph.couplings(fn, params, jnp.ones((5, 3))).families
      >>> ladder(family, floor=3, multiple=4)
      (13, 12, 8, 4)
    """
    below = range((family.size - 1) // multiple * multiple, 0, -multiple)
    return (family.size, *(width for width in below if width >= floor))


@dataclasses.dataclass(frozen=True)
class Totals:
    """What a model holds, and what a call of it costs.

    Attributes:
      parameters: numbers in all leaves.
      size_bytes: bytes of all leaves in memory.
      macs: multiply-adds at its sites, of one call on the given inputs.
    """

    parameters: int
    size_bytes: int
    macs: int


def shrunk_totals(candidates: Candidates, removal: Removal) -> Totals:
    """What is left without what was removed, counted from shapes alone."""
    return Totals(
        shrunk_parameters(candidates, removal),
        shrunk_size_bytes(candidates, removal),
        shrunk_macs(candidates, removal),
    )


def shrunk_parameters(candidates: Candidates, removal: Removal) -> int:
    """Numbers in all leaves that are left."""
    leaves = jax.tree.leaves(_small(candidates, removal))
    return sum(math.prod(leaf.shape) for leaf in leaves if not is_constant(leaf))


def shrunk_size_bytes(candidates: Candidates, removal: Removal) -> int:
    """Bytes of all leaves that are left."""
    return size_bytes(_small(candidates, removal))


def shrunk_macs(candidates: Candidates, removal: Removal) -> int:
    """Multiply-adds of one call, counted on the shrunk program itself."""
    fn = shrunk_program("remove", candidates.coupled, removal)
    return cost(trace(fn, _small(candidates, removal), *candidates.inputs)).macs


def _small(candidates: Candidates, removal: Removal) -> Params:
    """Shapes of the params that are left."""
    shapes = jax.tree.map(
        lambda leaf: leaf if is_constant(leaf) else jax.ShapeDtypeStruct(leaf.shape, leaf.dtype),
        candidates.params,
    )
    return slice_params(shapes, removal)


class Ledger:
    """What a narrower family saves, from the sizes of its leaves.

    Exact for what leaves hold; for multiply-adds where units are not rows of data at
    another site. Ranking needs no more; budgets are counted on the shrunk program.

    Args:
      couplings: of the families that may lose units.
      prices: what one entry of a leaf costs.
    """

    def __init__(self, couplings: Couplings, prices: Prices):
        self.shapes: Mapping[str, tuple[Dim, ...]] = couplings.leaves
        self.prices = prices
        self.atoms: dict[str, Dim] = {
            family.name: root(family.atom) for family in couplings.families
        }
        self.leaves: dict[str, set[str]] = {
            family.name: {place.leaf for place in family.places} for family in couplings.families
        }

    def neighbours(self, name: str) -> list[str]:
        """Families whose savings change with this one's width, itself included."""
        return [other for other in self.leaves if self.leaves[name] & self.leaves[other]]

    def saved(self, widths: Widths, name: str, width: int) -> float:
        """What one family saves by a lower width, all others as they are."""
        before = {self.atoms[other]: each for other, each in widths.items()}
        after = before | {self.atoms[name]: width}
        return sum(
            self.prices[leaf] * (self._entries(leaf, before) - self._entries(leaf, after))
            for leaf in self.leaves[name]
        )

    def _entries(self, leaf: str, counts: Mapping[Dim, int]) -> int:
        return math.prod(_count(d, counts) for d in self.shapes[leaf])


def _count(d: Dim, counts: Mapping[Dim, int]) -> int:
    """How many indices of an axis stay."""
    d = root(d)
    if d.form is None:
        return counts.get(d, d.size)
    parts = [_count(part, counts) for part in d.parts]
    return sum(parts) if d.form is concatenation else math.prod(parts)


def parameter_prices(candidates: Candidates) -> Prices:
    """Every entry counts once."""
    return dict.fromkeys(named_leaves(candidates.params), 1)


def byte_prices(candidates: Candidates) -> Prices:
    """Bytes of one entry of a leaf."""
    leaves = named_leaves(candidates.params)
    return {name: leaf.dtype.itemsize for name, leaf in leaves.items() if not is_constant(leaf)}


def mac_prices(candidates: Candidates) -> Prices:
    """Multiply-adds that one entry of a leaf takes part in, at all of its sites."""
    prices = dict.fromkeys(named_leaves(candidates.params), 0.0)
    for site in candidates.coupled.program.sites:
        size = sum(math.prod(leaf.shape) for leaf in site.leaves)
        for leaf in site.leaves:
            prices[leaf.name] += site.macs / max(size, 1)
    return prices
