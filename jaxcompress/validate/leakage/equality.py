"""Who equals whom, from the digests of sets that were read in blocks."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxcompress.core.types import PyTree
from jaxcompress.validate.leakage import matches
from jaxcompress.validate.leakage.canonical import Canonical
from jaxcompress.validate.leakage.check import Reading
from jaxcompress.validate.leakage.fingerprints import digests, form


class Seen(NamedTuple):
    """What is kept of a set.

    Attributes:
      form: dtype and shape of an example in its canonical form.
      digests: (n, 16) uint8 of each block.
    """

    form: str
    digests: list[np.ndarray]


NOTHING = Seen("", [])


def seen(part: PyTree, canonical: Canonical, before: Seen) -> Seen:
    """What was kept, and a further block."""
    here = form(part, canonical)
    if before.digests and here != before.form:
        raise TypeError(f"check(sets): a chunk has examples of {before.form}, one of {here}.")
    return Seen(here, [*before.digests, digests(part, canonical)])


def identities(readings: Sequence[Reading], kept: Sequence[Seen]) -> list[np.ndarray]:
    """Integers (n,) of each set, equal where examples are equal in canonical form."""
    for reading, each in zip(readings, kept, strict=True):
        if each.form != kept[0].form:
            raise TypeError(
                f"{reading.caller}({readings[0].name} of {kept[0].form}, {reading.name} of"
                f" {each.form}): such examples are never equal; convert one of the sets, or pass"
                " exact(canonical=leakage.by_value) where only their dtypes differ."
            )
    return matches.identities([np.concatenate(each.digests) for each in kept])
