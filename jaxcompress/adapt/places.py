"""Which leaves get adapters, of which rank and shape, and which adapters fit a leaf."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxcompress.core.axes import UNUSED, Axes, LeafAxes, assumed_axes
from jaxcompress.core.checks import check_count
from jaxcompress.core.companions import Companions
from jaxcompress.core.flax_leaf import unwrapped
from jaxcompress.core.kinds import check_mapping
from jaxcompress.core.left_out import LEAVE_IT_OUT, Obstacle, by_kind, is_constant, left_out
from jaxcompress.core.names import named_leaves
from jaxcompress.core.rules import Rules, as_rules
from jaxcompress.core.selectors import axes_of, weights
from jaxcompress.core.trees import check_arrays, chosen_by, named_axes
from jaxcompress.core.types import Params, Selector

Ranks = Rules[int] | int


class Place(NamedTuple):
    """A leaf that gets an adapter.

    Attributes:
      name: of the leaf.
      leaf: array, shape or compressed leaf.
      axes: what its axes do.
      rank: of the adapter.
      scale: what the product of its factors is multiplied by.
    """

    name: str
    leaf: Any
    axes: LeafAxes
    rank: int
    scale: float

    @property
    def inputs(self) -> int:
        """Weights that one output sums over."""
        return math.prod(self.leaf.shape[axis] for axis in self.axes.contracting)

    @property
    def left_shape(self) -> tuple[int, ...]:
        """(batch…, output…, rank)."""
        return factor_shapes(self.leaf.shape, self.axes, self.rank)[0]

    @property
    def right_shape(self) -> tuple[int, ...]:
        """(batch…, rank, contracting…)."""
        return factor_shapes(self.leaf.shape, self.axes, self.rank)[1]


def factor_shapes(
    shape: tuple[int, ...], axes: LeafAxes, rank: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(batch…, output…, rank) and (batch…, rank, contracting…) of a leaf.

    Example:
      >>> factor_shapes((3, 3, 16, 32), LeafAxes(contracting=(0, 1, 2), output=(3,)), 4)
      ((32, 4), (4, 3, 3, 16))
    """
    batch, outputs, inputs = (
        tuple(shape[axis] for axis in role) for role in (axes.batch, axes.output, axes.contracting)
    )
    return (*batch, *outputs, rank), (*batch, rank, *inputs)


def adapted_axes(name: str, leaf: Any, known: Mapping[str, LeafAxes] | None) -> LeafAxes:
    """The axes that a leaf is adapted along: assumed where it meets no data."""
    axes = axes_of(name, leaf, None if known is None else dict(known))
    return axes if axes.meets_data or is_constant(leaf) else assumed_axes(leaf)


def chosen_ranks(
    caller: str, params: Params, rank: Ranks, axes: Axes | None, select: Selector | None
) -> dict[str, int]:
    """The rank of each leaf that gets an adapter, by name.

    Raises:
      TypeError: a leaf that is asked for by name is no real floating array.
      ValueError: no leaf is selected; a rule matches none; a leaf that is asked for by
        name is empty or no matrix; or a rank is above the smaller side of a matrix.
    """
    check_arrays(caller, "params", params)
    leaves, known = named_leaves(params), named_axes(caller, axes)
    chosen = chosen_by(caller, select or weights(axes), params)
    selected = [name for name in leaves if chosen[name]]
    if not selected:
        raise ValueError(
            f"{caller}(select=...) selects no leaf of the params. Leaves are: {', '.join(leaves)}."
        )
    ranks = as_rules(rank).assign(selected)
    obstacles = {name: _obstacle(name, leaves[name], known) for name in ranks}
    unfit = {name: each for name, each in obstacles.items() if each is not None}
    left = left_out(caller, unfit, ranks, select, rank)
    ranks = {name: int(each) for name, each in ranks.items() if name not in left}
    for name, each in ranks.items():
        _check_rank(caller, name, leaves[name].shape, adapted_axes(name, leaves[name], known), each)
    return ranks


def check_ranks(caller: str, rank: Ranks) -> None:
    """Raises a ValueError unless it is a rank of at least 1, or rules of such."""
    for _, each in as_rules(rank).pairs:
        check_count(caller, "rank", each)


def fitting(
    caller: str,
    params: Params,
    adapters: Companions,
    parts: tuple[str, ...],
    known: Mapping[str, LeafAxes] | None,
) -> Companions:
    """The adapters as arrays by name; raises where they are not of these params.

    Args:
      caller: the technique.
      params: what they are to be added to.
      adapters: as `init` gives them, or a file of them.
      parts: the arrays that each of them holds.
      known: the axes by leaf name.

    Raises:
      TypeError: they are no dict of dicts of floating arrays.
      ValueError: there is none, one is of no leaf, or of a leaf of another shape.
    """
    adapters = unwrapped(adapters)
    check_mapping(caller, "adapters", adapters, "Begin with init(params).")
    if not adapters:
        raise ValueError(f"{caller}(adapters={{}}) is empty. Begin with init(params).")
    leaves = named_leaves(params)
    for name, each in dict(adapters).items():
        if name not in leaves:
            raise ValueError(
                f"{caller}(adapters=...): there is no leaf {name!r}. Leaves are: "
                f"{', '.join(leaves)}."
            )
        axes = adapted_axes(name, leaves[name], known)
        _check_fits(caller, name, each, parts, leaves[name], axes)
    return {name: dict(each) for name, each in dict(adapters).items()}


def _check_fits(
    caller: str, name: str, adapter, parts: tuple[str, ...], leaf, axes: LeafAxes
) -> None:
    if (obstacle := by_adapted_kind(leaf)) is not None:
        raise obstacle.error(
            f"{caller}(adapters=...): leaf {name!r} cannot be adapted: {obstacle.reason}. "
            f"{obstacle.mend}"
        )
    if not isinstance(adapter, Mapping) or set(adapter) != set(parts):
        held = sorted(adapter) if isinstance(adapter, Mapping) else type(adapter).__name__
        raise TypeError(
            f"{caller}(adapters=...): beside leaf {name!r} must stand the arrays "
            f"{', '.join(parts)}, not {held}. Begin with init(params) of the same technique."
        )
    found = {part: tuple(jnp.shape(adapter[part])) for part in parts}
    left, right = factor_shapes(leaf.shape, axes, (found["left"] or (0,))[-1])
    wanted = {"left": left, "right": right, "magnitude": left[:-1]}
    for part in parts:
        if found[part] != wanted[part] or 0 in found[part]:
            raise ValueError(
                f"{caller}(adapters=...): what stands beside leaf {name!r} of shape "
                f"{tuple(leaf.shape)} has a {part} of shape {found[part]}, not {wanted[part]}. "
                "Take the params and the axes= that the adapters were trained with, or begin "
                "with init(params)."
            )
        if not jnp.issubdtype(jnp.result_type(adapter[part]), jnp.floating):
            raise TypeError(
                f"{caller}(adapters=...): the {part} beside leaf {name!r} has dtype "
                f"{jnp.result_type(adapter[part])}, no real floating one."
            )


def by_adapted_kind(leaf: Any) -> Obstacle | None:
    """What keeps a leaf from being adapted, whatever its axes; codes do not."""
    if is_constant(leaf):
        return by_kind(leaf, "")
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        reason = f"it has dtype {leaf.dtype}, and only real floating leaves can be adapted"
        return Obstacle(reason, LEAVE_IT_OUT, TypeError)
    if leaf.size == 0:
        return Obstacle(f"it has shape {tuple(leaf.shape)}, no entry")
    return None


def _obstacle(name: str, leaf, known: dict[str, LeafAxes] | None) -> Obstacle | None:
    obstacle = by_adapted_kind(leaf)
    if obstacle is not None:
        return obstacle
    axes = adapted_axes(name, leaf, known)
    if axes == UNUSED or not axes.output or not axes.contracting:
        shape = tuple(leaf.shape)
        return Obstacle(f"its shape {shape} has no output or no contracting axis: it is no matrix")
    return None


def _check_rank(caller: str, name: str, shape: tuple[int, ...], axes: LeafAxes, rank: int) -> None:
    outputs, inputs = (
        math.prod(shape[axis] for axis in role) for role in (axes.output, axes.contracting)
    )
    if rank > min(outputs, inputs):
        raise ValueError(
            f"{caller}(rank={rank}): leaf {name!r} is a matrix of {outputs} × {inputs}, so its "
            f"rank must be in [1, {min(outputs, inputs)}]. Give it another one by Rules, or leave "
            "it out with select=."
        )
