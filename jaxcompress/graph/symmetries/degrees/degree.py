"""Degrees: by which unknown factors each entry of a value is multiplied.

Every leaf has one unknown factor per channel. A value of the program is then what it
was, times a product of powers of these unknowns; its `Degree` says which. Where an
equation admits only some of them, it adds equations between the unknowns' logarithms,
which are linear. What solves all of them may be moved without changing the function.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

ONE = 0
"""The number of the factor that is always one."""


class Term(NamedTuple):
    """One factor of every entry: the unknowns of these numbers, to a power.

    Attributes:
      power: of the unknown.
      factors: int64 numbers of unknowns, of the value's rank plus one axis in front for
        each scan around it; size one along what the factor does not depend on.
    """

    power: Fraction
    factors: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Degree:
    """By what a value is multiplied when every leaf is multiplied by its factors.

    Attributes:
      terms: the factors; none for a value that stays as it is.
      free: whether any positive factor leaves the value as it is: 0 and infinities.
      place: the equations, innermost first, that let no factor through; or a text.
      leaf: the name of the leaf that the value is, moved about at most.
      site: likewise of the dot or convolution that the value is the result of.
    """

    terms: tuple[Term, ...] = ()
    free: bool = False
    place: Any = ()
    leaf: str = ""
    site: str = ""


FREE = Degree(free=True)
"""The degree of zeros."""


class Equation(NamedTuple):
    """The product of these terms is one, at every index; and the place that says so."""

    terms: tuple[Term, ...]
    place: Any


class Added(NamedTuple):
    """A leaf that is added to what a dot or convolution gives.

    Attributes:
      site, leaf: their names.
      sign: -1 where it is subtracted.
      vector, product: numbers of the factors of both, which broadcast together.
    """

    site: str
    leaf: str
    sign: int
    vector: np.ndarray
    product: np.ndarray


class System:
    """The unknowns and equations of one program.

    Attributes:
      count: how many unknowns there are.
      equations: what they obey.
      place: the equation of the program that is being looked at, and those around it.
      gains: names of leaves that values are multiplied by, entry by entry.
      added: leaves that are added to the results of dots and convolutions.
      depth: how many scans are around it, each an axis in front of every array.
    """

    def __init__(self):
        self.count: int = ONE + 1
        self.equations: list[Equation] = []
        self.place: Any = ()
        self.gains: set[str] = set()
        self.added: list[Added] = []
        self.depth = 0

    def unknowns(self, shape: Sequence[int]) -> np.ndarray:
        """Numbers of new unknowns in an array of this shape."""
        first, self.count = self.count, self.count + int(np.prod(shape))
        return np.arange(first, self.count).reshape(shape)

    def vanish(self, terms: Iterable[Term]) -> None:
        """Says that the product of the terms is one at every index.

        Terms that share no axis could only cancel as constants, which a factor for all
        channels is; each such cluster is one by itself.
        """
        for cluster in _clusters(combined(terms)):
            self.equations.append(Equation(tuple(cluster), self.place))

    def fixed(self, *degrees: Degree) -> Degree:
        """Lets no factor through; the degree of what comes out."""
        for degree in degrees:
            self.vanish(degree.terms)
        return Degree(place=self.place)

    def equal(self, degrees: Sequence[Degree]) -> Degree:
        """Says that values are multiplied alike, and gives that degree."""
        bound = [degree for degree in degrees if not degree.free]
        if not bound:
            return FREE
        # The simplest is what the others are equal to: later equations stay short.
        first, *others = sorted(bound, key=_complexity)
        for other in others:
            self.vanish((*other.terms, *inverse(first.terms)))
        if first.terms:
            return dataclasses.replace(first, leaf="", site="")
        held = any(other.terms for other in others)
        return Degree(place=self.place) if held else max(bound, key=lambda each: bool(each.place))

    def uniform(self, terms: Sequence[Term], axis: int) -> tuple[Term, ...]:
        """Says that factors do not differ along an axis, which then has size one."""
        result = []
        for term in terms:
            if term.factors.shape[axis] > 1:
                first = np.take(term.factors, [0], axis=axis)
                if first.size == 1:
                    self.vanish([term])
                    continue
                self.vanish([term, Term(-term.power, first)])
                term = Term(term.power, first)
            result.append(term)
        return tuple(result)


def inverse(terms: Iterable[Term]) -> tuple[Term, ...]:
    """One over the factors."""
    return powered(terms, Fraction(-1))


def powered(terms: Iterable[Term], power: Fraction) -> tuple[Term, ...]:
    """The factors to a power."""
    return tuple(Term(term.power * power, term.factors) for term in terms)


def combined(terms: Iterable[Term]) -> tuple[Term, ...]:
    """The product of the terms, each array of factors once."""
    found: list[Term] = []
    for term in terms:
        for position, other in enumerate(found):
            if np.array_equal(other.factors, term.factors):
                found[position] = Term(other.power + term.power, other.factors)
                break
        else:
            found.append(term)
    return tuple(term for term in found if term.power)


def mapped(degree: Degree, change: Any) -> Degree:
    """The degree with another array in each term; zeros and fixed values stay so."""
    if not degree.terms:
        return degree
    terms = tuple(Term(term.power, change(term.factors)) for term in degree.terms)
    return dataclasses.replace(degree, terms=terms)


def support(term: Term) -> frozenset[int]:
    """The axes along which the factors differ, counted from the end."""
    shape = term.factors.shape
    return frozenset(axis - len(shape) for axis, size in enumerate(shape) if size > 1)


def _complexity(degree: Degree) -> tuple[int, int]:
    return len(degree.terms), sum(term.factors.size for term in degree.terms)


def _clusters(terms: Iterable[Term]) -> Iterator[list[Term]]:
    """The terms, together where they share an axis."""
    groups: list[tuple[frozenset[int], list[Term]]] = []
    for term in terms:
        axes, members = support(term), [term]
        apart = []
        for other, its in groups:
            if other & axes or (not other and not axes):
                axes, members = axes | other, [*its, *members]
            else:
                apart.append((other, its))
        groups = [*apart, (axes, members)]
    return (members for _, members in groups)
