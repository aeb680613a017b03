"""How far a signal varies from model to model: of each example, of all, or between.

A `Variance` is `variance(signals, inside) -> (n, …)` of the shadow models of one side.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.core.checks import check_positive
from jaxcompress.validate.membership.attacks.calibrated import mean_where
from jaxcompress.validate.membership.inputs import flags, real, same_length

Variance = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(signals (shadows, n, …), inside (shadows, n) bool) to variances (n, …)."""

ENOUGH_SHADOWS = 64
"""From so many on each example's own variance is better than one for all."""
_LEAST = 1e-12
"""Share of the variance over everything that a variance is never below."""


def own_variance(signals: ArrayLike, inside: ArrayLike) -> np.ndarray:
    """Variance of each example over the shadow models of one side.

    Args:
      signals: (shadows, n) or (shadows, n, queries), finite.
      inside: (shadows, n) bool, which shadows count for which example; two or more.

    Returns:
      (n,) or (n, queries) float64, unbiased, never quite 0.

    Raises:
      TypeError: an argument is no array of its kind.
      ValueError: shapes do not fit, or fewer than two shadows count.

    Example:
      >>> signals, inside = [[1.0, 0.0], [3.0, 0.0], [5.0, 4.0]], np.ones((3, 2), bool)
      >>> jc.validate.membership.attacks.own_variance(signals, inside)
      array([4.   , 5.333])
    """
    return _own(*_squares("own_variance", signals, inside))


def shared_variance(signals: ArrayLike, inside: ArrayLike) -> np.ndarray:
    """One variance for all examples: the mean of their own, from every shadow at once.

    Args:
      signals: (shadows, n) or (shadows, n, queries), finite.
      inside: (shadows, n) bool, which shadows count for which example; for one example
        at least two, and one for the others.

    Returns:
      (n,) or (n, queries) float64, equal over examples, never quite 0.

    Raises:
      TypeError: an argument is no array of its kind.
      ValueError: shapes do not fit, or too few shadows count.

    Example:
      >>> signals, inside = [[1.0, 0.0], [3.0, 0.0], [5.0, 4.0]], np.ones((3, 2), bool)
      >>> jc.validate.membership.attacks.shared_variance(signals, inside)
      array([4.667, 4.667])

    Source: Carlini et al. 2022, arXiv:2112.03570, section VI-C. Differs: their code
    takes the variance over examples and models at once, in which the differences
    between examples count too; ours is within examples.
    """
    return _shared(*_squares("shared_variance", signals, inside, least=1))


def variance_by_count(signals: ArrayLike, inside: ArrayLike) -> np.ndarray:
    """Each example's own variance from 64 shadow models on, one for all below.

    Args:
      signals: (shadows, n) or (shadows, n, queries), finite.
      inside: (shadows, n) bool, which shadows count for which example.

    Returns:
      (n,) or (n, queries) float64.

    Raises:
      TypeError: an argument is no array of its kind.
      ValueError: shapes do not fit, or too few shadows count.

    Example:
      >>> signals, inside = [[1.0, 0.0], [3.0, 0.0], [5.0, 4.0]], np.ones((3, 2), bool)
      >>> jc.validate.membership.attacks.variance_by_count(signals, inside)
      array([4.667, 4.667])

    Source: Carlini et al. 2022, arXiv:2112.03570, section VI-C.
    """
    signals = real("variance_by_count", "signals", signals, "(shadows, n)", "(shadows, n, k)")
    inside = flags("variance_by_count", "inside", inside, "(shadows, n)")
    chosen = shared_variance if len(signals) < ENOUGH_SHADOWS else own_variance
    return chosen(signals, inside)


def moderated_variance(prior: float = 10.0) -> Variance:
    """Each example's own variance, drawn towards that of all as if by so many models.

    Not for: figures beside published ones of LiRA, which change variances as
    `variance_by_count` does.

        variance_i = ((m_i - 1) · own_i + prior · shared) / (m_i - 1 + prior)

    with m_i the models on that side of example i. A variance of 30 models is a rough
    one, and where it comes out too small by luck an example looks like a member; at low
    false positive rates these are the errors that count.

    Also known as: empirical Bayes variance, moderated t-statistic.

    Args:
      prior: models that the shared variance counts for, above 0.

    Returns:
      Variance from signals and sides to (n,) or (n, queries) float64.

    Raises:
      ValueError: the prior is not above 0.

    Example:
      >>> signals, inside = [[1.0, 0.0], [3.0, 0.0], [5.0, 4.0]], np.ones((3, 2), bool)
      >>> variance = jc.validate.membership.attacks.moderated_variance(2)
      >>> variance(signals, inside)
      array([4.333, 5.   ])

    Source: Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3, section 4. Differs: the weight
    of the prior is given instead of estimated.
    """
    check_positive("moderated_variance", "prior", prior)

    def variance(signals: ArrayLike, inside: ArrayLike) -> np.ndarray:
        found = _squares("moderated_variance", signals, inside)
        freedom = found.counts - 1
        return (freedom * _own(*found) + prior * _shared(*found)) / (freedom + prior)

    return variance


class _Squares(NamedTuple):
    """Sums of squared distances to each example's mean on one side.

    Attributes:
      sums: (n, …).
      counts: (n, 1, …), the models on that side.
      least: a variance is never below this.
    """

    sums: np.ndarray
    counts: np.ndarray
    least: float


def _squares(caller: str, signals: ArrayLike, inside: ArrayLike, least: int = 2) -> _Squares:
    signals = real(caller, "signals", signals, "(shadows, n)", "(shadows, n, k)")
    inside = flags(caller, "inside", inside, "(shadows, n)")
    same_length(caller, signals=signals.shape[1], inside=inside.shape[1])
    if len(signals) != len(inside):
        raise ValueError(
            f"{caller}(signals of {len(signals)} shadows, inside of {len(inside)}): both need the"
            " same."
        )
    few = np.flatnonzero(inside.sum(0) < least)
    if few.size:
        raise ValueError(
            f"{caller}(inside): example {few[0]} has {inside[:, few[0]].sum()} shadow models on"
            f" one side, and {least} is the least. Train more shadows, or take"
            " attacks.shared_variance."
        )
    # Around the mean of both sides, so that little is lost in the difference below.
    shifted = signals - signals.mean(0)
    counts = inside.sum(0).reshape(-1, *[1] * (signals.ndim - 2))
    squares = np.einsum("sn...,sn...,sn->n...", shifted, shifted, inside.astype(np.float64))
    sums = np.maximum(squares - counts * np.square(mean_where(shifted, inside)), 0.0)
    return _Squares(sums, counts, _LEAST * max(float(shifted.var()), _LEAST))


def _own(sums: np.ndarray, counts: np.ndarray, least: float) -> np.ndarray:
    return np.maximum(sums / (counts - 1), least)


def _shared(sums: np.ndarray, counts: np.ndarray, least: float) -> np.ndarray:
    freedom = int((counts - 1).sum())
    if freedom < 1:
        raise ValueError(
            "shared_variance(inside) has one shadow model per example, and a variance needs two"
            " for one of them. Train two more shadows."
        )
    return np.broadcast_to(np.maximum(sums.sum(0) / freedom, least), sums.shape)
