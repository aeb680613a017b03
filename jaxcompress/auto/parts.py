"""Parts of a model compressed alone: whole leaves, and layers of scanned ones."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.axes import Axes
from jaxcompress.core.checks import check_finite
from jaxcompress.core.leaf import materialize
from jaxcompress.core.names import leaf_names, named_leaves
from jaxcompress.core.rules import Rules
from jaxcompress.core.selectors import weights
from jaxcompress.core.sharding import gathered
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.trees import chosen_by
from jaxcompress.core.types import Array, Params, Selector
from jaxcompress.graph.program import Program
from jaxcompress.quantize import quantize
from jaxcompress.quantize.assignment import Assignment, assign


class Part(NamedTuple):
    """A leaf, or one layer of a leaf that scans slice.

    Attributes:
      name: the leaf.
      layer: its indices, () for all of the leaf.
      axes: the axes of the leaf that they are along.
    """

    name: str
    layer: tuple[int, ...] = ()
    axes: tuple[int, ...] = ()

    def mask(self, shape: Sequence[int]) -> np.ndarray:
        """Which entries of the leaf are of the part, bool of its shape."""
        index: list[Any] = [slice(None)] * len(shape)
        for axis, position in zip(self.axes, self.layer, strict=True):
            index[axis] = position
        mask = np.zeros(tuple(shape), bool)
        mask[tuple(index)] = True
        return mask


Sliced = Mapping[str, tuple[int, ...]]
"""By leaf the axes that scans slice; a leaf that none slices is not there."""


def sliced_axes(program: Program) -> Sliced:
    """The axes along which the layers of scanned leaves lie.

    A leaf counts where all of its sites slice it alike.
    """
    found: dict[str, set[tuple[int, ...]]] = {}
    for site in program.sites:
        axes = site.axes.batch[: len(site.stack)]
        for leaf in site.leaves:
            fits = tuple(leaf.shape[axis] for axis in axes) == site.stack
            found.setdefault(leaf.name, set()).add(axes if fits else ())
    return {name: next(iter(axes)) for name, axes in found.items() if len(axes) == 1 and any(axes)}


def parts_of(name: str, shape: Sequence[int], sliced: Sliced) -> list[Part]:
    """The layers of a leaf, or the leaf itself."""
    axes = sliced.get(name, ())
    return [Part(name, tuple(map(int, at)), axes) for at in np.ndindex(*(shape[a] for a in axes))]


def by_part(parts: Sequence[Part], values: Array) -> Array:
    """Sums the entries of each part of one leaf, (parts,)."""
    axes = parts[0].axes
    others = tuple(axis for axis in range(values.ndim) if axis not in axes)
    sums = jnp.sum(values, axis=others)  # of the layers, in the order of their axes
    return jnp.transpose(gathered(sums), [sorted(axes).index(axis) for axis in axes]).reshape(
        len(parts)
    )


class Tried(NamedTuple):
    """What one spec does to the selected leaves.

    Attributes:
      arrays: by leaf the array that its codes stand for.
      specs: by leaf the format in words.
      unknown: by leaf why it has no codes.
    """

    arrays: dict[str, Array]
    specs: dict[str, str]
    unknown: dict[str, str]


def tried(
    caller: str,
    params: Params,
    spec: QuantSpec | Rules[Any],
    axes: Axes | None,
    select: Selector | None,
    without: Callable[[Iterable[str]], dict[str, str]] = lambda names: {},
) -> Tried:
    """Rounds every selected leaf that the spec fits, and says why others are not.

    Args:
      without: names to those that are not to be tried, with the reason.
    """
    assigned = assign(caller, params, spec, axes, select)
    selected = chosen_by(caller, select or weights(axes), params)
    fits = {name: each for name, each in assigned.items() if isinstance(each, Assignment)}
    unknown = {
        name: each for name, each in assigned.items() if selected[name] and isinstance(each, str)
    }
    unknown |= without(list(fits))
    left = {name: str(each.spec) for name, each in fits.items() if name not in unknown}
    if not left:
        return Tried({}, {}, unknown)
    leaves = named_leaves(params)
    for name in left:
        check_finite(caller, name, jnp.asarray(leaves[name]))
    chosen = jax.tree.map(lambda name: name in left, leaf_names(params))
    rules = Rules((literally(name), fits[name].spec) for name in left)
    small = named_leaves(quantize(params, rules, axes=axes, select=lambda params: chosen)[0])
    return Tried({name: materialize(small[name]) for name in left}, left, unknown)


def literally(name: str) -> str:
    """A pattern that matches this name alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def replaced(params: Params, name: str, value: Array) -> Params:
    """The params with another array for one leaf."""
    leaves = {**named_leaves(params), name: value}
    names = leaf_names(params)
    return jax.tree.map(lambda each: leaves[each], names)


def only(part: Part, leaf: Array, other: Array) -> Array:
    """The leaf with what the other has in one part."""
    return jnp.where(part.mask(leaf.shape), other, leaf) if part.layer else other
