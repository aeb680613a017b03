"""Solves the equations between unknown factors: which move, which are one and why.

Most equations say that a factor is one, or that two are equal or inverse. Those are
settled for all channels at once; what is left falls into small parts, one per channel,
which are alike and solved once.
"""

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from jaxcompress.graph.symmetries.degrees.degree import ONE, Equation

MOST_ENTANGLED = 8
"""Factors of one channel of which all elementary moves are listed; above, a basis."""

Pattern = tuple[tuple[tuple[int, int], ...], ...]
"""Rows of a part: (number of the factor, power) each."""


class Settled(NamedTuple):
    """What the short equations say.

    Attributes:
      root: for each unknown, the one that it is equal to or the inverse of.
      sign: 1 or -1 accordingly.
      one: whether it is one.
      why: the number of the equation that says so; -1 where none does.
      rows: what is left, int arrays (row, root, power), sorted by row.
    """

    root: np.ndarray
    sign: np.ndarray
    one: np.ndarray
    why: np.ndarray
    rows: tuple[np.ndarray, np.ndarray, np.ndarray]


def settle(equations: Sequence[Equation], count: int) -> Settled:
    """Settles all equations of one unknown, and of two that are equal or inverse."""
    row, column, power, owner = _rows(equations)
    root, sign = np.arange(count), np.ones(count, np.int64)
    one, why = np.zeros(count, bool), np.full(count, -1)
    one[ONE] = True
    while True:
        row, column, power = _substituted(row, column, power, root, sign, one)
        lengths = np.bincount(row, minlength=len(owner))[row]
        single = lengths == 1
        if single.any():
            # Written backwards, so that the first equation in the program stays.
            why[column[single][::-1]] = owner[row[single]][::-1]
            one[column[single]] = True
            continue
        pair = np.flatnonzero(lengths == 2)[::2]
        pair = pair[np.abs(power[pair]) == np.abs(power[pair + 1])]
        if not pair.size:
            of_root = why[root]
            return Settled(root, sign, one[root], of_root, (row, column, power))
        equal = -np.sign(power[pair] * power[pair + 1])
        merged, turned = _merged(column[pair], column[pair + 1], equal, count)
        # A factor that is its own inverse is one.
        inverse = turned == 0
        if inverse.any():
            number = np.full(count, -1)
            number[column[pair]] = number[column[pair + 1]] = owner[row[pair]]
            one |= inverse
            why = np.where(inverse & (why < 0), number, why)
            turned[inverse] = 1
        root, sign = merged[root], sign * turned[root]


def _rows(equations: Sequence[Equation]):
    """Per term and index: row, unknown, whole power; and per row its equation."""
    rows, columns, powers, owners = [np.zeros(0, int)], [np.zeros(0, int)], [np.zeros(0, int)], []
    begin = 0
    for number, equation in enumerate(equations):
        shape = np.broadcast_shapes(*(term.factors.shape for term in equation.terms))
        size = math.prod(shape)
        scale = math.lcm(*(Fraction(term.power).denominator for term in equation.terms))
        for term in equation.terms:
            rows.append(np.arange(begin, begin + size))
            columns.append(np.broadcast_to(term.factors, shape).ravel())
            powers.append(np.full(size, int(term.power * scale)))
        owners.append(np.full(size, number))
        begin += size
    owner = np.concatenate(owners) if owners else np.zeros(0, int)
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(powers), owner


def _substituted(row, column, power, root, sign, one):
    """The rows in terms of roots, each once in a row, without those that are one."""
    power, column = power * sign[column], root[column]
    live = ~one[column]
    row, column, power = row[live], column[live], power[live]
    order = np.lexsort((column, row))
    row, column, power = row[order], column[order], power[order]
    first = np.ones(len(row), bool)
    first[1:] = (row[1:] != row[:-1]) | (column[1:] != column[:-1])
    starts = np.flatnonzero(first)
    power = np.add.reduceat(power, starts) if starts.size else power
    row, column = row[starts], column[starts]
    kept = power != 0
    return row[kept], column[kept], power[kept]


def _merged(left, right, equal, count: int):
    """Roots and signs where pairs are equal (1) or inverse (-1); sign 0 for both."""
    from scipy import sparse

    # Two nodes per unknown: the factor and its inverse.
    ones = np.concatenate([2 * left, 2 * left + 1])
    others = np.concatenate([2 * right + (equal < 0), 2 * right + (equal > 0)])
    matrix = sparse.coo_array((np.ones(len(ones)), (ones, others)), (2 * count, 2 * count))
    _, label = sparse.csgraph.connected_components(matrix, directed=False)
    least = np.full(label.max() + 1, 2 * count)
    np.minimum.at(least, label, np.arange(2 * count))
    node = least[label]
    upright = node[0::2]
    sign = np.where(upright % 2, -1, 1)
    sign[label[0::2] == label[1::2]] = 0
    return upright // 2, sign


class Part(NamedTuple):
    """Unknowns that hang together: those of one channel.

    Attributes:
      roots: the roots, in the order of the unknowns.
      pattern: the rows between them.
    """

    roots: tuple[int, ...]
    pattern: Pattern


def parts(settled: Settled, members: np.ndarray) -> list[Part]:
    """The roots that hang together, for the unknowns (members) that are asked for."""
    from scipy import sparse

    row, column, power = settled.rows
    live = np.unique(settled.root[members[~settled.one[members]]])
    count = len(settled.root)
    numbers = np.unique(row)
    matrix = sparse.coo_array(
        (np.ones(len(row)), (column, count + np.searchsorted(numbers, row))),
        (count + len(numbers),) * 2,
    )
    _, label = sparse.csgraph.connected_components(matrix, directed=False)
    wanted = np.zeros(label.max() + 1, bool)
    wanted[label[live]] = True
    in_rows: dict[int, dict[int, list[tuple[int, int]]]] = {}
    for r, c, p in zip(row.tolist(), column.tolist(), power.tolist(), strict=True):
        if wanted[label[c]]:
            in_rows.setdefault(int(label[c]), {}).setdefault(r, []).append((c, p))
    roots: dict[int, set[int]] = {}
    for each in live.tolist():
        roots.setdefault(int(label[each]), set()).add(each)
    found = []
    for part, its in roots.items():
        rows = in_rows.get(part, {}).values()
        ordered = sorted(its | {c for r in rows for c, _ in r})
        number = {root: position for position, root in enumerate(ordered)}
        pattern = {tuple((number[c], p) for c, p in r) for r in rows}
        found.append(Part(tuple(ordered), tuple(sorted(pattern))))
    return found


def solutions(pattern: Pattern, size: int) -> list[tuple[int, ...]]:
    """Powers of the factors of one part under which every row is one.

    All elementary ones, in which no factor can be left out; of a large part a basis.
    """
    matrix = [[0] * size for _ in pattern]
    for line, row in zip(matrix, pattern, strict=True):
        for column, power in row:
            line[column] = power
    basis = _nullspace(matrix, size)
    if len(basis) < 2 or size > MOST_ENTANGLED:
        return [_whole(vector) for vector in basis]
    found: dict[frozenset[int], tuple[int, ...]] = {}
    # An elementary solution is what is left when as many factors are set to one as
    # leave one degree of freedom.
    for gone in itertools.combinations(range(size), len(basis) - 1):
        units = [[int(column == each) for column in range(size)] for each in gone]
        left = _nullspace([*matrix, *units], size)
        if len(left) == 1:
            vector = _whole(left[0])
            found.setdefault(frozenset(i for i, power in enumerate(vector) if power), vector)
    return list(found.values())


def _nullspace(matrix: Sequence[Sequence[int]], size: int) -> list[list[Fraction]]:
    """A basis of the solutions, exactly."""
    rows = [[Fraction(entry) for entry in row] for row in matrix]
    pivots: list[int] = []
    for column in range(size):
        pivot = next((r for r in range(len(pivots), len(rows)) if rows[r][column]), None)
        if pivot is None:
            continue
        at = len(pivots)
        rows[at], rows[pivot] = rows[pivot], rows[at]
        rows[at] = [entry / rows[at][column] for entry in rows[at]]
        for r, row in enumerate(rows):
            if r != at and row[column]:
                rows[r] = [x - row[column] * y for x, y in zip(row, rows[at], strict=True)]
        pivots.append(column)
    basis = []
    for column in range(size):
        if column not in pivots:
            vector = [Fraction(int(each == column)) for each in range(size)]
            for row, pivot in zip(rows, pivots, strict=False):
                vector[pivot] = -row[column]
            basis.append(vector)
    return basis


def _whole(vector: Sequence[Fraction]) -> tuple[int, ...]:
    scale = math.lcm(*(entry.denominator for entry in vector))
    whole = [int(entry * scale) for entry in vector]
    shared = math.gcd(*whole)
    return tuple(entry // shared for entry in whole)
