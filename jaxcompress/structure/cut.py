"""How much is removed, from which families, and what they keep."""

import dataclasses
from collections.abc import Sequence
from functools import partial

from jaxcompress.core.checks import check_count
from jaxcompress.core.kinds import check_kind
from jaxcompress.core.messages import shown
from jaxcompress.core.rules import Rules, as_rules
from jaxcompress.graph.surgery.divisors import Divisors
from jaxcompress.structure.amounts.amount import Amount


@dataclasses.dataclass(frozen=True)
class Cut:
    """How much is removed, from which families, and what they keep.

    Attributes:
      amount: how many units are removed, one of `amounts`.
      floors: units that every family keeps at least, or `Rules` over family names.
      multiple_of: what widths are rounded to where a family loses units, for example 8,
        128, or the size of a mesh axis; or `Rules` over family names.
      families: shell-style patterns of family names; the others stay whole.
      divisors: what means over removed units divide by, such as those of a norm over
        the residual width: `graph.Divisors.KEPT`, the width before, or
        `graph.Divisors.NEW`, the width after, as a smaller module does.

    Raises:
      ValueError: a floor or multiple is below 1 or no count, `divisors` is none of
        `Divisors`, or `families` is empty.
      TypeError: `amount` is none of `amounts`, or `families` no list of patterns.

    Example:
      >>> half = jc.structure.amounts.fraction(0.5)
      >>> jc.structure.Cut(half, multiple_of=8, families=("*/up:1",)).multiple_of
      8
    """

    amount: Amount
    floors: Rules[int] | int = 1
    multiple_of: Rules[int] | int = 1
    families: Sequence[str] = ("*",)
    divisors: Divisors = Divisors.KEPT

    def __post_init__(self) -> None:
        if not isinstance(self.amount, Amount):
            raise TypeError(
                f"Cut(amount={self.amount!r}) must be one of structure.amounts, for example "
                "amounts.fraction(0.5)."
            )
        for field in ("floors", "multiple_of"):
            as_rules(getattr(self, field)).map(partial(check_count, "Cut", field))
        if not isinstance(self.divisors, str) or self.divisors not in list(Divisors):
            known = ", ".join(repr(str(each)) for each in Divisors)
            raise ValueError(f"Cut(divisors={shown(self.divisors)}) must be one of {known}.")
        # A string equals the member of its name, but is not it.
        object.__setattr__(self, "divisors", Divisors(self.divisors))
        if isinstance(self.families, str):
            raise TypeError(
                f"Cut(families={self.families!r}) must be patterns: [{self.families!r}]."
            )
        # A generator would be used up by the first check.
        if not isinstance(self.families, Sequence):
            raise TypeError(f"Cut(families={self.families!r}) must be a list of patterns.")
        if not self.families:
            raise ValueError("Cut(families=[]) names no family, so nothing could go.")


def as_cut(cut: Cut | Amount) -> Cut:
    """The cut; an amount alone takes from every family and keeps one unit of each."""
    return cut if isinstance(cut, Cut) else Cut(cut)


def check_cut(caller: str, argument: str, value: object) -> None:
    """Raises a TypeError unless it is a `Cut` or an amount."""
    mend = "For example structure.amounts.fraction(0.5)."
    check_kind(caller, argument, value, Cut | Amount, mend)
