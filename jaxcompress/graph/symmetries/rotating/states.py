"""How a value changes along one axis while a dim of the program is rotated.

The laws of sums and products of such values; which equations apply them is in
`rotating_rules`.
"""

import enum
from typing import NamedTuple


class View(NamedTuple):
    """An axis of a leaf of which a value holds the entries, but for factors of rows.

    Attributes:
      leaf: the leaf's name.
      axis: its axis.
      scans: the scans that have sliced it, outermost first.
      stacked: the leaf's axes along which they have.
    """

    leaf: str
    axis: int
    scans: tuple[int, ...] = ()
    stacked: tuple[int, ...] = ()


NO_VIEW = View("", -1)
"""Of a value that is no leaf's."""


class Kind(enum.Enum):
    """What a rotation R does to a value along an axis."""

    ZERO = "is zero"
    UNIFORM = "keeps entries that are equal along the axis"
    FIXED = "keeps its entries"
    ROTATED = "is multiplied by R"
    GAINED = "is multiplied by R, and then by a leaf's entries"
    SUMMABLE = "keeps its sum along the axis"


class State(NamedTuple):
    """What becomes of a value along one axis.

    Attributes:
      kind: of change.
      view: of a ROTATED value, the leaf's axis that it is, or NO_VIEW; of a GAINED
        one, that of the leaf that multiplies it.
      leaves: leaves that keep it from changing otherwise: were their entries equal, the
        value would be simpler.
      makers: of a ROTATED value, the leaves' axes that it is linear in: were each
        multiplied by a scale, the value would be, too.
      since: of a GAINED or SUMMABLE value, the equation that made it one.
    """

    kind: Kind
    view: View = NO_VIEW
    leaves: frozenset[str] = frozenset()
    since: str = ""
    makers: frozenset[View] = frozenset()

    @property
    def moves(self) -> bool:
        """Whether entries change."""
        return self.kind in (Kind.ROTATED, Kind.GAINED, Kind.SUMMABLE)


ZERO, UNIFORM, FIXED = State(Kind.ZERO), State(Kind.UNIFORM), State(Kind.FIXED)
ROTATED = State(Kind.ROTATED)


class BlockedError(Exception):
    """No rotation passes here.

    Attributes:
      leaves: leaves whose entries, were they equal, might let it pass.
    """

    def __init__(self, why: str, leaves: frozenset[str] = frozenset()):
        super().__init__(why)
        self.leaves = leaves
