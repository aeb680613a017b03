"""A share or a number of units of every family."""

from functools import partial

from jaxcompress.core.checks import check_count, check_range
from jaxcompress.core.numerics import round_to_count
from jaxcompress.core.rules import Rules, as_rules
from jaxcompress.structure.amounts.amount import Amount, HostScores
from jaxcompress.structure.widths import (
    Candidates,
    Widths,
)


def fraction(removed: Rules[float] | float) -> Amount:
    """Removes the same share of the units of every family, never below its floor.

    Not for: families that differ in what they can spare; `within_macs` and its like
    weigh them against each other.

    Also known as: uniform pruning ratio, layer-wise ratio.

    Args:
      removed: share of the units, in [0, 1), or `Rules` of it over family
        names. The width is rounded up to an allowed one.

    Returns:
      Amount.

    Raises:
      ValueError: a share is outside [0, 1); when applied, a rule matches no family.
    """
    rules = as_rules(removed)
    for _, share in rules.pairs:
        check_range("fraction", "removed", share, 0, 1)

    def check(candidates: Candidates) -> None:
        rules.assign(candidates.ladders)

    def widths(candidates: Candidates, scores: HostScores) -> Widths:
        del scores
        shares = rules.assign(candidates.ladders)
        present = candidates.present
        return present | {
            name: candidates.allowed(
                name, present[name] - int(round_to_count(share, present[name]))
            )
            for name, share in shares.items()
        }

    return Amount(check, widths)


def count(removed: Rules[int] | int) -> Amount:
    """Removes the same number of units from every family.

    Args:
      removed: number of units, at least 0, or `Rules` of it over family names. The
        width is rounded up to an allowed one.

    Returns:
      Amount.

    Raises:
      ValueError: a number is no count; when applied, a rule matches no family, or a
        family cannot lose so many.
    """
    rules = as_rules(removed).map(partial(check_count, "count", "removed", least=0))

    def check(candidates: Candidates) -> None:
        for name, number in rules.assign(candidates.ladders).items():
            units, least = candidates.ladders[name][0], candidates.ladders[name][-1]
            if units - number < least:
                raise ValueError(
                    f"count(removed={number}): family {name!r} has {units} units, of which "
                    f"{units - least} can go. Remove fewer, or lower its floor."
                )

    def widths(candidates: Candidates, scores: HostScores) -> Widths:
        del scores
        present = candidates.present
        return present | {
            name: candidates.allowed(name, present[name] - number)
            for name, number in rules.assign(candidates.ladders).items()
        }

    return Amount(check, widths)
