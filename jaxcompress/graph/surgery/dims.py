"""Dims: what the axes of a program's arrays have to do with one another.

A `Dim` is a node of a union-find. Refining it changes it in place, so every array that
has the axis learns of it at once, in whatever order the facts are found. What makes two
axes meet is the matter of `axis_rules`.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

MOST_SEGMENTS = 64
"""Pieces an axis may fall into; beyond them it is pinned, as they are of no use."""
MOST_PINS = 3
"""Reasons that a pinned atom remembers."""


class Dim:
    """One axis: an atom, an ordered product or concatenation of Dims, or a reversal.

    Invariants:
      - `form` is `product` or `concatenation` with two `parts` or more, `reversal`
        with one, or None for an atom.
      - The sizes of a product's parts multiply to `size`, major first; those of a
        concatenation's parts add up to it. A product has no part of size one, a
        concatenation none of size zero.
      - At a root, the part of a reversal is an atom.
      - `link` is None at a root; only a root's other fields mean anything.
      - Only atoms have `pins`: why no index of it may go.
    """

    __slots__ = ("form", "link", "parts", "pins", "size")

    def __init__(self, size: int, form: Callable | None = None, parts: Sequence["Dim"] = ()):
        self.size = size
        self.form = form
        self.parts = tuple(parts)
        self.link: Dim | None = None
        self.pins: tuple = ()

    def become(self, form: Callable, parts: Sequence["Dim"]) -> None:
        """Refines an atom, whose pins go to its parts; or writes a form another way."""
        for part in parts:
            for reason in self.pins:
                pin(part, reason)
        self.form, self.parts, self.pins = form, tuple(parts), ()


class MisfitError(Exception):
    """An axis cannot be refined as asked: the pieces would not be whole."""


def root(d: Dim) -> Dim:
    """The Dim that stands for `d` and all that were unified with it."""
    while True:
        if d.link is None:
            _settle(d)
        if d.link is None:
            return d
        if d.link.link is not None:
            d.link = d.link.link
        d = d.link


def _settle(d: Dim) -> None:
    """Links the reversal of an atom that has been refined since to what it is now."""
    if d.form is reversal:
        (part,) = d.parts
        if part.link is not None or part.form is not None:
            d.link = reversal(part)


def product(dims: Sequence[Dim]) -> Dim:
    """The axis whose index is the tuple of the dims' indices, major first."""
    parts = [d for d in dims if d.size != 1]
    if len(parts) == 1:
        return parts[0]
    return Dim(math.prod(d.size for d in parts), product, parts) if parts else Dim(1)


def concatenation(dims: Sequence[Dim]) -> Dim:
    """The axis that runs through the dims one after the other."""
    parts = [d for d in dims if d.size]
    if len(parts) == 1:
        return parts[0]
    return Dim(sum(d.size for d in parts), concatenation, parts) if parts else Dim(0)


def reversal(d: Dim) -> Dim:
    """The axis from its last index to its first."""
    d = root(d)
    if d.size <= 1:
        return d
    if d.form is None:
        return Dim(d.size, reversal, (d,))
    if d.form is reversal:
        return d.parts[0]
    turned = [reversal(part) for part in d.parts]
    return product(turned) if d.form is product else concatenation(turned[::-1])


def factors(d: Dim) -> list[Dim]:
    """The factors of a product, none of them a product; of anything else, itself."""
    d = root(d)
    if d.form is not product:
        return [d]
    return [factor for part in d.parts for factor in factors(part)]


def segments(d: Dim) -> list[Dim]:
    """The pieces in a row; a product falls apart as its outermost factor does."""
    d = root(d)
    if d.form is concatenation:
        return [segment for part in d.parts for segment in segments(part)]
    if d.form is product:
        outermost, *inner = factors(d)
        pieces = segments(outermost)
        return [product((piece, *inner)) for piece in pieces] if len(pieces) > 1 else [d]
    return [d]


def atoms(d: Dim) -> list[Dim]:
    """The atoms an axis is made of, each once."""
    d = root(d)
    if d.form is None:
        return [d]
    return list(dict.fromkeys(atom for part in d.parts for atom in atoms(part)))


def pin(d: Dim, reason) -> None:
    """Says that no index of any of its atoms may go, and why."""
    for atom in atoms(d):
        if reason not in atom.pins and len(atom.pins) < MOST_PINS:
            atom.pins += (reason,)


def pinned(d: Dim) -> bool:
    """True where no index may go."""
    return all(atom.pins for atom in atoms(d))


def unify(a: Dim, b: Dim, reason) -> None:
    """Says that two axes are one: their indices live and die together.

    Where their structures do not fit together, both are pinned for `reason`. Two pinned
    axes need no refinement of one another, which keeps windows and rolls from
    shattering an axis.
    """
    a, b = root(a), root(b)
    if a is b or (pinned(a) and pinned(b)):
        return
    if a.form is not None and b.form in (None, reversal):
        a, b = b, a
    if a.form is reversal:
        unify(a.parts[0], reversal(b), reason)
    elif a.form is None:
        _link(a, b)
    elif pinned(a) or pinned(b):
        _pin_alike(a, b)
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


def _pin_alike(a: Dim, b: Dim) -> None:
    for reason in dict.fromkeys(r for atom in (*atoms(a), *atoms(b)) for r in atom.pins):
        pin(a, reason)
        pin(b, reason)


def _unify_structures(a: Dim, b: Dim, reason) -> None:
    if a.form is product and b.form is product:
        wanted = factors(b)  # taken first: an atom on both sides may be split meanwhile
        fitting = refill(factors(a), [factor.size for factor in wanted])
        pairs = list(zip(fitting, wanted, strict=True))
    else:
        # A cut may fall into an atom that lies on both sides, and so make more bounds.
        while (joint := boundaries(a) | boundaries(b)) != boundaries(a) or joint != boundaries(b):
            cut(a, joint)
            cut(b, joint)
        pairs = list(zip(segments(a), segments(b), strict=True))
    for one, other in pairs:
        unify(one, other, reason)


def boundaries(d: Dim) -> frozenset[int]:
    """Where the segments end, the last one left out."""
    return frozenset(itertools.accumulate(segment.size for segment in segments(d)[:-1]))


def cut(d: Dim, bounds) -> None:
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
        cut(d.parts[0], [d.size - bound for bound in inside])
    elif d.form is product:
        outermost, *inner = factors(d)
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


def reshape(dims: Sequence[Dim], shape: Sequence[int], reason) -> tuple[Dim, ...]:
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
