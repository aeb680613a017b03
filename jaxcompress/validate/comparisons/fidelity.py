"""Fidelity: how close a candidate's outputs are to the reference's, without labels.

Inside of the model `layers` looks.
"""

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.core.checks import check_count
from jaxcompress.validate.arrays import check_all_finite, real
from jaxcompress.validate.cards.findings import Figure, Finding, Result
from jaxcompress.validate.intervals import wilson
from jaxcompress.validate.skewed import skewed_mean_interval


def divergence(reference: ArrayLike, candidate: ArrayLike) -> np.ndarray:
    """Kullback-Leibler divergence of the candidate's probabilities, per example.

        KL_i = sum_j p_ij · (log p_ij - log q_ij)
        p = softmax(reference),  q = softmax(candidate)

    Args:
      reference: (…, classes) logits, real; -inf rules a class out.
      candidate: the same shape.

    Returns:
      (…) float64 in nats, >= 0; inf where the candidate rules out what the reference
      does not.

    Raises:
      ValueError: the shapes differ, there is no class, or a logit is NaN or +inf.

    Example:
      >>> jc.validate.comparisons.divergence([[0.0, 0.0]], [[0.0, jnp.log(3.0)]])
      array([0.144])

    Source: Kullback and Leibler 1951, Ann. Math. Stat. 22.
    """
    from scipy import special

    before, after = _pair("divergence", reference, candidate)
    log_p, log_q = special.log_softmax(before, axis=-1), special.log_softmax(after, axis=-1)
    p = np.exp(log_p)
    # A class that both rule out adds nothing, where inf - inf would be NaN.
    with np.errstate(invalid="ignore"):
        return np.maximum(0.0, np.sum(np.where(p > 0, p * (log_p - log_q), 0.0), axis=-1))


def cosine(reference: ArrayLike, candidate: ArrayLike) -> np.ndarray:
    """Cosine of the angle between two outputs, per example.

        cos_i = sum_j a_ij b_ij / (|a_i| · |b_i|)

    Args:
      reference: (…, features), real and finite.
      candidate: the same shape.

    Returns:
      (…) float64 in [-1, 1]; 1 where both are 0, 0 where one is.

    Raises:
      ValueError: the shapes differ, or a value is not finite.

    Example:
      >>> before, after = [[1.0, 0.0], [0.0, 2.0]], [[1.0, 1.0], [0.0, 1.0]]
      >>> jc.validate.comparisons.cosine(before, after)
      array([0.707, 1.   ])
    """
    before, after = _pair("cosine", reference, candidate, finite=True)
    sizes = np.linalg.norm(before, axis=-1) * np.linalg.norm(after, axis=-1)
    same = np.all(before == after, axis=-1)
    products = np.sum(before * after, axis=-1)
    found = np.divide(products, sizes, out=np.zeros_like(products), where=sizes > 0)
    return np.where(same, 1.0, np.clip(found, -1, 1))


def top_k_overlap(reference: ArrayLike, candidate: ArrayLike, k: int = 5) -> np.ndarray:
    """Share of the k highest classes that both models have, per example.

    Args:
      reference: (…, classes) logits, real; among equal ones the earlier class counts.
      candidate: the same shape.
      k: classes looked at, at least 1 and at most as many as there are.

    Returns:
      (…) float64 in [0, 1], multiples of 1 / k.

    Raises:
      ValueError: the shapes differ, a logit is NaN or +inf, or k is out of range.

    Example:
      >>> before, after = [[3.0, 2.0, 1.0]], [[3.0, 1.0, 2.0]]
      >>> jc.validate.comparisons.top_k_overlap(before, after, k=2)
      array([0.5])
    """
    before, after = _pair("top_k_overlap", reference, candidate)
    k = check_count("top_k_overlap", "k", k)
    if k > before.shape[-1]:
        raise ValueError(
            f"top_k_overlap(k={k}) must be at most the number of classes, {before.shape[-1]}."
        )
    return _top(before, k, after)


@dataclasses.dataclass(frozen=True)
class Fidelity(Result):
    """How close the outputs of two models are.

    Args:
      n: outputs compared: examples, or examples times tokens.
      agreement: share with the same highest class, in [0, 1].
      divergence: mean Kullback-Leibler divergence in nats.
      divergence_interval: (low, high) of that mean, of confidence 0.95.
      largest: largest difference of an entry, in size.
      relative_error: |reference - candidate| / |reference|, over all entries.
      cosine: mean over outputs.
      top_k: mean share of the k highest classes that both have.
      k: of `top_k`.
    """

    n: int
    agreement: float
    divergence: float
    divergence_interval: tuple[float, float]
    largest: float
    relative_error: float
    cosine: float
    top_k: float
    k: int

    @property
    def snr_db(self) -> float:
        """Signal to noise ratio in decibels; inf for equal outputs."""
        return -20 * math.log10(self.relative_error) if self.relative_error else math.inf

    def finding(self) -> Finding:
        """For a card: agreement and divergence."""
        same = wilson(round(self.agreement * self.n), self.n)
        return Finding(
            "comparison with the original",
            f"Gives the original's answer on {self.agreement:.2%} of {self.n:,} examples, whatever"
            " the right one is.",
            (
                Figure("same answers", self.agreement, same, format=".2%"),
                Figure("divergence in nats", self.divergence, self.divergence_interval),
            ),
        )

    def to_json(self) -> dict[str, Any]:
        """All fields as plain numbers and lists."""
        interval = list(self.divergence_interval)
        return dataclasses.asdict(self) | {"divergence_interval": interval}


def fidelity(reference: ArrayLike, candidate: ArrayLike, *, k: int = 5) -> Fidelity:
    """How close a candidate's logits are to the reference's: six figures.

    Needs no labels, so it can be had on any inputs, and sees changes that do not reach
    the answer yet.

    Args:
      reference: (…, classes) logits, real and finite, at least two examples.
      candidate: the same shape, on the same inputs.
      k: of the overlap of the highest classes; fewer where there are fewer classes.

    Returns:
      Agreement, divergence, largest difference, relative error, cosine and overlap.

    Raises:
      ValueError: the shapes differ, there are fewer than two examples, or a value is
        not finite.

    Example:
      >>> before = np.array([[2.0, 0.0], [0.0, 1.0]])
      >>> after = before + np.array([0.0, 0.1])
      >>> found = jc.validate.comparisons.fidelity(before, after)
      >>> found.agreement, round(found.largest, 3), round(found.snr_db, 1)
      (1.0, 0.1, 24.0)
    """
    before, after = _pair("fidelity", reference, candidate, finite=True)
    k = min(check_count("fidelity", "k", k), before.shape[-1])
    before, after = (each.reshape(-1, each.shape[-1]) for each in (before, after))
    if len(before) < 2:
        raise ValueError(f"fidelity(reference of {len(before)} examples) needs two or more.")
    divergences = divergence(before, after)
    size = float(np.linalg.norm(before))
    error = float(np.linalg.norm(before - after))
    return Fidelity(
        n=len(before),
        agreement=float(np.mean(before.argmax(-1) == after.argmax(-1))),
        divergence=float(divergences.mean()),
        divergence_interval=skewed_mean_interval(divergences),
        largest=float(np.abs(before - after).max()),
        relative_error=error / size if size else float(error > 0),
        cosine=float(cosine(before, after).mean()),
        top_k=float(_top(before, k, after).mean()),
        k=k,
    )


def _top(before: np.ndarray, k: int, after: np.ndarray) -> np.ndarray:
    # Sorted stably from the highest, so that of equal classes the earlier comes first.
    highest = [np.argsort(-each, axis=-1, kind="stable")[..., :k] for each in (before, after)]
    both = highest[0][..., :, None] == highest[1][..., None, :]  # (…, k, k)
    return both.sum(axis=(-2, -1)) / k


def _pair(
    caller: str, reference: ArrayLike, candidate: ArrayLike, *, finite: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    found = []
    for argument, values in {"reference": reference, "candidate": candidate}.items():
        each = real(caller, argument, values)
        if each.ndim < 1 or not each.size:
            raise ValueError(
                f"{caller}({argument} of shape {each.shape}) needs the shape (…, classes)."
            )
        # A logit of -inf rules a class out.
        judged = each if finite else np.where(np.isneginf(each), 0.0, each)
        check_all_finite(caller, argument, judged)
        found.append(each)
    if found[0].shape != found[1].shape:
        raise ValueError(
            f"{caller}(reference of shape {found[0].shape}, candidate of shape {found[1].shape})"
            " needs one shape for both."
        )
    return found[0], found[1]
