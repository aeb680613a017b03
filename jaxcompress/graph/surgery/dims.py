"""Dims: what the axes of a program's arrays have to do with one another.

A `Dim` is a node of a union-find. Refining it changes it in place, so every array that
has the axis learns of it at once, in whatever order the facts are found. How two axes
are made one, cut and split is in `refinement`; what makes them meet, in `axis_rules`.

An axis of 12 that is reshaped to (3, 4) becomes a product of two atoms; where one half
of it meets another array, a concatenation. An atom is what was never taken apart: its
indices are the units that may go.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

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

    def __init__(
        self, size: int, form: Callable[..., Any] | None = None, parts: Sequence["Dim"] = ()
    ):
        self.size: int = size
        self.form = form
        self.parts: tuple[Dim, ...] = tuple(parts)
        self.link: Dim | None = None
        self.pins: tuple[Any, ...] = ()

    def become(self, form: Callable[..., Any], parts: Sequence["Dim"]) -> None:
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
        # Every second node is linked to its grandparent on the way, so that chains,
        # which grow with the depth of a model, stay short.
        if d.link.link is not None:
            d.link = d.link.link
        d = d.link


def _settle(d: Dim) -> None:
    """Links the reversal of an atom that has been refined since to what it is now.

    Nobody tells a reversal when its atom is refined, so it looks when it is asked.
    """
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
    # A product turns round factor by factor; pieces in a row also change their order.
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
        # With the axis as (outermost, inner…), major first, a piece of the outermost
        # factor is one unbroken run of indices; a piece of an inner one is not.
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


def pin(d: Dim, reason: Any) -> None:
    """Says that no index of any of its atoms may go, and why."""
    for atom in atoms(d):
        if reason not in atom.pins and len(atom.pins) < MOST_PINS:
            atom.pins += (reason,)


def pinned(d: Dim) -> bool:
    """True where no index may go."""
    return all(atom.pins for atom in atoms(d))
