"""Which factors per channel may move between leaves without changing the function."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxcompress.core.kinds import check_kind
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.trees import check_arrays, check_call, check_entries
from jaxcompress.core.types import Array, Model, Params, PyTree
from jaxcompress.graph.program import trace
from jaxcompress.graph.symmetries.channels import Move, Solved, solved, why
from jaxcompress.graph.symmetries.degrees.walk import follow_degrees
from jaxcompress.graph.symmetries.solving import settle


@dataclasses.dataclass(frozen=True, eq=False)
class Scaling:
    """Factors that may move between leaves: one positive number for each channel.

    Invariants:
      - Each leaf entry times its factor to the move's degree gives the same function,
        for any positive factors.
      - No move can be left out.
      - Channels are in the order of the first move's leaf, layers of a stack apart.

    Attributes:
      name: "leaf:axes" of the first move; "#2", "#3" … where several begin there.
      size: number of channels.
      moves: what happens to the leaves.
      reads: names of the sites whose data are multiplied by the factors, or divided.
    """

    name: str
    size: int
    moves: tuple[Move, ...]
    reads: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Scalings:
    """All scalings of a program; printed, it lists them and what has none.

    Where factors have several ways, as before and behind a batch norm between two
    convolutions, each way is a scaling of its own, and one of them is what the others
    give together.

    Attributes:
      all: the scalings, in the order of the params.
      blocked: by the name of each dot and convolution whose data take no factor, the
        primitive and source line that let none pass.
      gains: names of the leaves that data are multiplied by entry by entry, as by the
        scale of a norm.
    """

    all: tuple[Scaling, ...]
    blocked: Mapping[str, str]
    gains: frozenset[str] = frozenset()

    def reading(self, site: str) -> tuple[Scaling, ...]:
        """The scalings of the data at a site."""
        return tuple(scaling for scaling in self.all if site in scaling.reads)

    def __str__(self) -> str:
        lines = []
        for scaling in self.all:
            moved = ", ".join(f"{m.leaf}{list(m.axes)}^{m.degree}" for m in scaling.moves)
            lines.append(f"{scaling.name} ({scaling.size}): {moved}")
        return "\n".join([*lines, *(f"{site}: {why}" for site, why in self.blocked.items())])


def scalings(fn: Model, params: Params, *inputs: PyTree) -> Scalings:
    """Finds which factors per channel may move between leaves.

    Not for: outliers that no factor can move to another leaf; `rotations` spreads them.

    Every leaf gets unknown factors, one per input and output channel, and each equation
    of the program says which of them its result is multiplied by:

        add, maximum, select, concatenate    all operands alike
        multiply, divide, square root        product, quotient, root
        relu, and comparisons with 0         as the operand
        dot, convolution, reduction          factors along what is summed cancel
        exp, tanh, sort, any other           none pass

    What solves all of them leaves the function as it is, for any positive factors, up
    to rounding. Nothing is known of architectures.

    Also known as: rescaling symmetry, positive homogeneity, scale migration.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: tree of arrays, `jax.ShapeDtypeStruct`s or compressed leaves; only shapes
        matter.
      inputs: trees of arrays or shapes.

    Returns:
      Scalings.

    Example:
      >>> fn = lambda params, x: jax.nn.relu(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.ones((3, 4)), "out": jnp.ones((4, 2))}
      >>> (found,) = jc.graph.symmetries.scalings(fn, params, jnp.ones((5, 3))).all
      >>> found.size, [(move.leaf, move.axes, move.degree) for move in found.moves]
      (4, [('in', (1,), 1), ('out', (0,), -1)])

    Source: the positive scaling of Nagel et al. 2019, arXiv:1906.04721, section 4.1.
    Differs: derived from the program for every equation, not listed by layer types.
    """
    check_call("scalings", fn, params, inputs)
    program = trace(fn, params, *inputs)
    followed = follow_degrees(program)
    settled = settle(followed.system.equations, followed.system.count)
    found = tuple(_named(solved(followed, settled)))
    read = {site for scaling in found for site in scaling.reads}
    blocked = {
        name: why(degree, settled, followed)
        for name, degree in followed.data.items()
        if name not in read and program.places[name].observable
    }
    return Scalings(found, blocked, frozenset(followed.system.gains))


def _named(found: Iterable[Solved]) -> Iterator[Scaling]:
    names: Counter = Counter()
    for moves, size, reads in found:
        first = f"{moves[0].leaf}:{','.join(map(str, moves[0].axes))}"
        names[first] += 1
        name = first if names[first] == 1 else f"{first}#{names[first]}"
        yield Scaling(name, size, moves, reads)


def scale(params: Params, scaling: Scaling, factors: Array) -> Params:
    """Multiplies each leaf by the factors of its channels, to the degree of its move.

    Args:
      params: tree of arrays.
      scaling: of `scalings` for these params.
      factors: (scaling.size,) positive numbers; 1 leaves a channel as it is.

    Returns:
      Params of the same structure and dtypes, with the same outputs up to rounding.

    Raises:
      TypeError: `scaling` is no Scaling, or `factors` no array of numbers.
      ValueError: `factors` has another shape or is not positive, or a leaf is missing
        or of another shape.

    Example:
      >>> fn = lambda params, x: jax.nn.relu(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.ones((3, 2)), "out": jnp.ones((2, 1))}
      >>> (found,) = jc.graph.symmetries.scalings(fn, params, jnp.ones((5, 3))).all
      >>> jc.graph.symmetries.scale(params, found, jnp.array([1.0, 4.0]))["out"]
      Array([[1.  ],
             [0.25]], dtype=float32)
    """
    check_arrays("scale", "params", params)
    check_kind("scale", "scaling", scaling, Scaling, "Take one of scalings(...).all.")
    check_entries("scale", "factors", factors)
    factors = jnp.asarray(factors, jnp.float32)
    if factors.shape != (scaling.size,):
        raise ValueError(
            f"scale(factors): shape {factors.shape}, but {scaling.name!r} has {scaling.size} "
            "channels. Pass one factor for each."
        )
    if not isinstance(factors, Tracer) and not bool(_all_positive(factors)):
        raise ValueError(f"scale(factors): those of {scaling.name!r} must be positive and finite.")
    leaves = named_leaves(params)
    for move in scaling.moves:
        _check_leaf(move, leaves)

    def moved(name: str, leaf):
        for move in scaling.moves:
            if move.leaf == name:
                leaf = _moved(leaf, factors, move.channels, move.degree)
        return leaf

    return map_named(moved, params)


@jax.jit
def _all_positive(factors: Array) -> Array:
    return jnp.all((factors > 0) & (factors < jnp.inf))


@functools.partial(jax.jit, static_argnames="degree", inline=True)
def _moved(leaf: Array, factors: Array, channels: np.ndarray, degree: int) -> Array:
    # Channel -1, the last, is that of entries that are not moved.
    by = jnp.append(factors**degree, 1.0)[channels]
    return (leaf * by).astype(leaf.dtype)


def _check_leaf(move: Move, leaves: Mapping[Any, Any]) -> None:
    if move.leaf not in leaves:
        raise ValueError(f"scale(params=...) has no leaf {move.leaf!r}, which the scaling moves.")
    shape = np.shape(leaves[move.leaf])
    if len(shape) != move.channels.ndim or any(
        size not in (1, own) for size, own in zip(move.channels.shape, shape, strict=True)
    ):
        raise ValueError(
            f"scale(params=...): leaf {move.leaf!r} has shape {shape}, but the scaling was found "
            f"for one with channels {move.channels.shape}. Call scalings on these params."
        )
