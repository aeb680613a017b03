"""Checks of attack scores and memberships, which every audit here starts from."""

import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.validate.arrays import known
from jaxcompress.validate.intervals import finite_values


def checked_scores(caller: str, argument: str, scores: ArrayLike) -> np.ndarray:
    """The scores as (m,) float64; an error unless finite and at least two."""
    return finite_values(caller, scores, argument)


def checked_members(caller: str, members: ArrayLike, m: int) -> np.ndarray:
    """The memberships as (m,) bool, or an error unless some are in and some are out."""
    members = known(caller, "members", members)
    if members.shape != (m,) or not np.isin(members, (0, 1)).all():
        raise ValueError(
            f"{caller}(members of shape {members.shape}) needs {m} entries, one per score, each"
            " True (1) for a member or False (0)."
        )
    count = int(members.sum())
    if count in (0, m):
        raise ValueError(
            f"{caller}(members): {count} of {m} are in. There must be some in and some out; draw"
            " each by a fair coin."
        )
    return members.astype(bool)


def places(scores: np.ndarray, seed: int) -> np.ndarray:
    """Indices from the highest score to the lowest; equal scores in a random order.

    The order in which examples are given often tells who is a member, so that it must
    not break ties.
    """
    shuffled = np.random.default_rng(seed).permutation(scores.size)
    return shuffled[np.argsort(-scores[shuffled], kind="stable")]
