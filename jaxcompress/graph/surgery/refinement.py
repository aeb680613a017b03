"""Axes made one, cut into pieces and split into factors.

Each function refines Dims in place, so that whatever holds them sees it. Where
structures do not fit, axes are pinned: no index may go, which is always sound.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

from jaxcompress.graph.surgery.dims import (
    Dim,
    MisfitError,
    atoms,
    concatenation,
    factors,
    pin,
    pinned,
    product,
    reversal,
    root,
    segments,
)

MOST_SEGMENTS = 64
"""Pieces an axis may fall into; beyond them it is pinned, as they are of no use."""


def unify(a: Dim, b: Dim, reason: Any) -> None:
    """Says that two axes are one: their indices live and die together.

    Where their structures do not fit together, both are pinned for `reason`. Two pinned
    axes need no refinement of one another, which keeps windows and rolls from
    shattering an axis.
    """
    a, b = root(a), root(b)
    if a is b or (pinned(a) and pinned(b)):
        return
    # The simpler one comes first: an atom can become anything, and the reversal of an
    # atom can be turned round on both sides.
    if a.form is not None and b.form in (None, reversal):
        a, b = b, a
    if a.form is reversal:
        unify(a.parts[0], reversal(b), reason)
    elif a.form is None:
        _link(a, b)
    elif pinned(a) or pinned(b):
        # Nothing of either may go, so how their pieces match need not be known.
        for each in dict.fromkeys(r for atom in (*atoms(a), *atoms(b)) for r in atom.pins):
            pin(a, each)
            pin(b, each)
    else:
        try:
            _unify_structures(a, b, reason)
        except MisfitError:
            pin(a, reason)
            pin(b, reason)


def _link(atom: Dim, d: Dim) -> None:
    if d.form is reversal and d.parts[0] is atom:
        # Index i goes with size - 1 - i: a half, and the same half turned round.
        half = Dim(d.size // 2)
        atom.become(concatenation, [half, *[Dim(1)] * (d.size % 2), reversal(half)])
        return
    for reason in atom.pins:
        pin(d, reason)
    atom.link = d


def _unify_structures(a: Dim, b: Dim, reason) -> None:
    if a.form is product and b.form is product:
        wanted = factors(b)  # taken first: an atom on both sides may be split meanwhile
        fitting = refill(factors(a), [factor.size for factor in wanted])
        pairs = list(zip(fitting, wanted, strict=True))
    else:
        # Both are cut wherever either has an end, until all pieces match one to one. A
        # cut may fall into an atom that lies on both sides, and so make more bounds.
        while (joint := boundaries(a) | boundaries(b)) != boundaries(a) or joint != boundaries(b):
            cut(a, joint)
            cut(b, joint)
        pairs = list(zip(segments(a), segments(b), strict=True))
    for one, other in pairs:
        unify(one, other, reason)


def boundaries(d: Dim) -> frozenset[int]:
    """Where the segments end, the last one left out."""
    return frozenset(itertools.accumulate(segment.size for segment in segments(d)[:-1]))


def cut(d: Dim, bounds: Any) -> None:
    """Makes segments end at the bounds, beside where they already end.

    Raises:
      MisfitError: a bound falls inside an inner factor, or the segments are too many.
    """
    d = root(d)
    inside = sorted({bound for bound in bounds if 0 < bound < d.size})
    if not inside:
        return
    if len(inside) >= MOST_SEGMENTS:
        raise MisfitError
    if d.form is None:
        edges = [0, *inside, d.size]
        d.become(concatenation, [Dim(high - low) for low, high in itertools.pairwise(edges)])
    elif d.form is reversal:
        # Index i of the reversal is size - 1 - i of the atom.
        cut(d.parts[0], [d.size - bound for bound in inside])
    elif d.form is product:
        outermost, *inner = factors(d)
        # One step of the outermost factor is a run of `rest` indices; a bound inside of
        # a run would cut every run there, which no row of pieces can say.
        rest = math.prod(factor.size for factor in inner)
        if any(bound % rest for bound in inside):
            raise MisfitError
        cut(outermost, [bound // rest for bound in inside])
    else:
        low = 0
        for part in d.parts:
            cut(part, [bound - low for bound in inside])
            low += part.size
    if len(segments(d)) > MOST_SEGMENTS:
        raise MisfitError


def pieces(d: Dim, bounds: Sequence[int]) -> list[Dim]:
    """The axis as pieces ending at the bounds, which grow and end with its size.

    Raises:
      MisfitError: as `cut`.
    """
    cut(d, bounds)
    held: list[list[Dim]] = [[] for _ in bounds]
    position, low = 0, 0
    for segment in segments(d):
        while low >= bounds[position]:
            position += 1
        held[position].append(segment)
        low += segment.size
    return [concatenation(piece) for piece in held]


def split(d: Dim, outer: int, inner: int) -> tuple[Dim, Dim]:
    """The axis as a product of two, major first.

    Raises:
      MisfitError: a segment or factor would be broken.
    """
    d = root(d)
    if outer == 1 or inner == 1:
        return (Dim(1), d) if outer == 1 else (d, Dim(1))
    if d.form is None:
        d.become(product, (Dim(outer), Dim(inner)))
    elif d.form is reversal:
        split(d.parts[0], outer, inner)
    elif d.form is concatenation:
        _factor_out(d, inner)
    top, bottom = refill(factors(d), (outer, inner))
    return top, bottom


def _factor_out(d: Dim, inner: int) -> None:
    """Writes a concatenation of multiples of `inner` as a product with `inner`."""
    parts = segments(d)
    if any(part.size % inner for part in parts):
        raise MisfitError
    # (a + b) of sizes (k · inner, l · inner) becomes (a' + b') × inner, where the inner
    # factors of all pieces are one: an index of it goes from every piece or from none.
    halves = [split(part, part.size // inner, inner) for part in parts]
    shared = halves[0][1]
    for _, other in halves[1:]:
        unify(shared, other, "the pieces of one axis cannot be split alike")
    d.become(product, (concatenation([top for top, _ in halves]), shared))


def refill(dims: Sequence[Dim], sizes: Sequence[int]) -> list[Dim]:
    """The product of the dims as axes of these sizes, filled from the left.

    Raises:
      MisfitError: a dim that straddles two axes cannot be split there.
    """
    # A stack with the major factor on top; what a split leaves goes back on it.
    left = [factor for d in reversed(dims) for factor in reversed(factors(d))]
    axes = []
    for size in sizes:
        taken, missing = [], size
        while missing > 1:
            factor = left.pop()
            if factor.size % missing == 0 and factor.size > missing:
                factor, rest = split(factor, missing, factor.size // missing)
                left.append(rest)
            if missing % factor.size:
                raise MisfitError
            taken.append(factor)
            missing //= factor.size
        axes.append(product(taken))
    return axes


def reshape(dims: Sequence[Dim], shape: Sequence[int], reason: Any) -> tuple[Dim, ...]:
    """The dims of a reshaped array; what cannot be followed is pinned for `reason`."""
    result: list[Dim] = []
    for group, sizes in _groups(dims, shape):
        try:
            if 0 in sizes:
                raise MisfitError
            result += refill([d for d in group if d.size != 1], sizes)
        except MisfitError:
            axes = [Dim(size) for size in sizes]
            for d in (*group, *axes):
                pin(d, reason)
            result += axes
    return tuple(result)


def _groups(dims: Sequence[Dim], shape: Sequence[int]) -> Iterator[tuple[list[Dim], list[int]]]:
    """The shortest runs of input and output axes of equal total size."""
    if 0 in shape:
        yield list(dims), list(shape)
        return
    # From the major end: (6, 4) to (2, 3, 4) is {6 to 2·3} and {4 to 4}. Each run is
    # followed, or pinned, without the others.
    before, after = list(reversed(dims)), list(reversed(shape))
    while before or after:
        group = [before.pop()] if before else []
        sizes = [after.pop()] if after else []
        while (have := math.prod(d.size for d in group)) != (need := math.prod(sizes)):
            if have < need:
                group.append(before.pop())
            else:
                sizes.append(after.pop())
        yield group, sizes
