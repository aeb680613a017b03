"""What a verb's report says of how the driver went about a leaf."""

import dataclasses

from jaxcompress.core.report import Report
from jaxcompress.layerwise.driver import Solved


def with_remarks(report: Report, solved: Solved) -> Report:
    """The report, with what held-out batches chose and where the model ran again.

    Args:
      report: of the verb, a row for each leaf.
      solved: by the driver.
    """
    rows = [
        dataclasses.replace(row, reason="; ".join([row.reason, *remarks(row.name, solved)]))
        for row in report.leaves
    ]
    return dataclasses.replace(report, leaves=tuple(rows))


def remarks(name: str, solved: Solved) -> list[str]:
    """What there is to say of one leaf; nothing where it was solved as most are."""
    found, reached = [], solved.reached.get(name, ())
    if not all(reached):
        found.append(
            f"{reached.count(False)} of its {len(reached)} matrices met no input but 0"
            if len(reached) > 1
            else "it met no input but 0"
        )
    if shares := solved.shares.get(name):
        noun = "share" if len(shares) == 1 else "shares"
        numbers = ", ".join(f"{share:g}" for share in shares)
        found.append(f"{noun} {numbers} of the correction, by held-out batches")
    if why := solved.uncut.get(name):
        found.append(f"the model ran again up to it, since {why}")
    return found
