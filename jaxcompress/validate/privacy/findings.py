"""What audits of privacy say on a card: bounds on epsilon, exposures, attributes."""

from typing import Any

import numpy as np

from jaxcompress.validate.cards.findings import FAILS, UNDECIDED, Figure, Finding

NO_CERTIFICATE = "A private training: a bound of 0 never means that a model is private."


def of_bound(epsilon: float, delta: float, confidence: float, how: str) -> Finding:
    """The finding of an audit.

    Args:
      epsilon: the bound, at least 0.
      delta: that it goes with.
      confidence: of the bound.
      how: what it comes from, the end of a sentence.
    """
    shows = epsilon > 0
    said = (
        f"Training was not private for any epsilon below {epsilon:.3g} at delta {delta:g}"
        if shows
        else "Nothing was shown against the privacy of training"
    )
    bound = Figure("epsilon", epsilon, (epsilon, None), confidence, ".3g")
    return Finding(
        "privacy bound",
        f"{said}, by {how}.",
        (bound,),
        FAILS if shows else UNDECIDED,
        () if shows else (NO_CERTIFICATE,),
    )


def of_exposures(exposures: np.ndarray, samples: int, limit: float) -> Finding:
    """The finding of planted sequences.

    Args:
      exposures: (count,) in bits.
      samples: that they were ranked among.
      limit: the largest exposure that there can be.
    """
    return Finding(
        "memorised sequences",
        f"Of {exposures.size} planted sequences, ranked among {samples:,} others, the most exposed "
        f"has {exposures.max():.1f} of {limit:.1f} bits; half of those that were never seen have 1 "
        "bit or less.",
        (
            Figure("largest exposure in bits", float(exposures.max()), format=".1f"),
            Figure("mean exposure", float(exposures.mean()), format=".1f"),
        ),
    )


def of_attributes(audit: Any) -> Finding:
    """The finding of an `AttributeAudit`, whose module imports this one."""
    low = audit.leakage_interval[0]
    said = "is guessed better" if low > 0 else "is not shown to be guessed better"
    confidence = audit.confidence
    return Finding(
        "attribute inference",
        f"The hidden feature of {audit.members:,} training records {said} than that of "
        f"{audit.nonmembers:,} others.",
        (
            Figure("of members", audit.member_accuracy, audit.member_interval, confidence, ".1%"),
            Figure(
                "of others", audit.nonmember_accuracy, audit.nonmember_interval, confidence, ".1%"
            ),
            Figure("difference", audit.leakage, audit.leakage_interval, confidence, "+.1%"),
        ),
        FAILS if low > 0 else UNDECIDED,
    )
