"""The unknown factors that are left, as moves of leaves: channels that are alike."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxcompress.graph.symmetries.degrees.degree import Degree
from jaxcompress.graph.symmetries.degrees.walk import Followed, Unknowns, place_text
from jaxcompress.graph.symmetries.solving import Part, Settled, parts, solutions


@dataclasses.dataclass(frozen=True, eq=False)
class Move:
    """What the factors of a scaling do to one leaf.

    Attributes:
      leaf: the leaf's name.
      axes: the leaf's axes that the factors lie along, stacked layers among them.
      degree: the power to which a factor multiplies: 1, -1, rarely another.
      contracting: whether the axes are summed over where the leaf meets data.
      channels: int64, of the leaf's rank, size one along other axes: which factor each
        entry takes; -1 for none.
    """

    leaf: str
    axes: tuple[int, ...]
    degree: int
    contracting: bool
    channels: np.ndarray = dataclasses.field(repr=False)


class Solved(NamedTuple):
    """One solution for all channels that are alike.

    Attributes:
      moves: what happens to the leaves.
      size: number of channels.
      reads: names of the sites whose data take the factors.
    """

    moves: tuple[Move, ...]
    size: int
    reads: tuple[str, ...]


def solved(followed: Followed, settled: Settled) -> Iterator[Solved]:
    """Parts that are alike in leaves and equations are the channels of one solution."""
    held = _held(followed)
    members = np.concatenate([np.zeros(0, int), *(u.factors.ravel() for u in followed.unknowns)])
    owners = _owners(followed.unknowns, settled)
    groups: dict[tuple[Any, ...], list[Part]] = {}
    for part in parts(settled, members[held[members]]):
        leaves = tuple(tuple(owners.get(root, ())) for root in part.roots)
        groups.setdefault((leaves, part.pattern), []).append(part)
    degrees = np.zeros(followed.system.count, np.int64)
    channels = np.full(followed.system.count, -1)
    for (leaves, pattern), alike in groups.items():
        roots = np.array([part.roots for part in alike])  # (channels, roots of one)
        numbers = sorted({number for its in leaves for number, _ in its})
        unknowns = [followed.unknowns[number] for number in numbers]
        channels[roots] = np.arange(len(alike))[:, None]
        for powers in solutions(pattern, roots.shape[1]):
            degrees[roots] = powers
            moves = _oriented(tuple(_moves(unknowns, settled, degrees, channels)))
            # What multiplies one leaf alone meets zeros there: nothing moves.
            if len(moves) > 1:
                yield Solved(moves, len(alike), _reading(followed, settled, degrees))
            degrees[roots] = 0


def _held(followed: Followed) -> np.ndarray:
    """Which unknowns are in an equation: a factor that nothing reads is no move."""
    held = np.zeros(followed.system.count, bool)
    for equation in followed.system.equations:
        for term in equation.terms:
            held[term.factors.ravel()] = True
    return held


def _owners(unknowns: Sequence[Unknowns], settled: Settled) -> dict[int, list[tuple[int, int]]]:
    """By root the leaves that take it: number in `unknowns`, and sign, per entry."""
    found: dict[int, list[tuple[int, int]]] = {}
    for number, each in enumerate(unknowns):
        ids = each.factors.ravel()
        live = ids[~settled.one[ids]]
        pairs = zip(settled.root[live].tolist(), settled.sign[live].tolist(), strict=True)
        for root, sign in sorted(pairs):
            found.setdefault(root, []).append((number, sign))
    return found


def _moves(
    unknowns: Sequence[Unknowns], settled: Settled, degrees: np.ndarray, channels: np.ndarray
) -> Iterator[Move]:
    for each in unknowns:
        root = settled.root[each.factors]
        own = np.where(settled.one[each.factors], 0, degrees[root] * settled.sign[each.factors])
        for degree in np.unique(own[own != 0]):
            taken = np.where(own == degree, channels[root], -1)
            axes = tuple(axis for axis, size in enumerate(taken.shape) if size > 1)
            yield Move(each.leaf, axes, int(degree), each.contracting, taken)


def _oriented(moves: tuple[Move, ...]) -> tuple[Move, ...]:
    """The moves, so that weights that read the data divide by what the data take."""
    reading = [move.degree for move in moves if move.contracting]
    if (reading or [-move.degree for move in moves] or [-1])[0] < 0:
        return moves
    return tuple(dataclasses.replace(move, degree=-move.degree) for move in moves)


def _reading(followed: Followed, settled: Settled, degrees: np.ndarray) -> tuple[str, ...]:
    live = np.where(settled.one, 0, degrees[settled.root])
    return tuple(
        name
        for name, data in followed.data.items()
        if any(live[term.factors].any() for term in data.terms)
    )


def why(degree: Degree, settled: Settled, followed: Followed) -> str:
    """Why the data at a site take no factor."""
    if degree.free:
        return "data that are 0"
    for term in degree.terms:
        for number in settled.why[term.factors.ravel()]:
            if number >= 0:
                return place_text(followed.system.equations[number].place)
    return place_text(degree.place)
