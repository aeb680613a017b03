"""Exposure: how far a sequence model ranks inserted canaries above their like."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.core.checks import check_concrete, check_count, check_positive
from jaxcompress.core.kinds import check_kind, check_numeric
from jaxcompress.core.labels import Shown, check_shown
from jaxcompress.core.models import check_model
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Model, Params
from jaxcompress.validate.arrays import real
from jaxcompress.validate.cards.findings import Finding, Result
from jaxcompress.validate.evaluate import predict
from jaxcompress.validate.privacy.canaries import Canaries, log2_candidates
from jaxcompress.validate.privacy.findings import of_exposures
from jaxcompress.validate.privacy.scores import checked_scores

_FEWEST = 100
"""Samples from which a skew-normal distribution is fitted."""


@dataclasses.dataclass(frozen=True, eq=False)
class Exposures(Result):
    """Exposure of each canary, in bits, by rank and by extrapolation.

    Invariants:
      - The arrays are NumPy, float64, of shape (count,), in the canaries' order.
      - Exposures are at most `limit`.

    Args:
      sampled: (count,), log2 of the candidates over the rank; of samples it is at most
        log2(samples + 1), and exact where `samples` are all candidates.
      extrapolated: (count,), the same by a skew-normal distribution of the samples; by
        the exact rank where `samples` are all candidates.
      log_perplexities: (count,), in bits, of what was drawn of a canary.
      limit: log2 of the number of candidates.
      samples: number of candidates that the canaries were ranked among.
      misfit: distance of Kolmogorov and Smirnov between samples and fitted
        distribution, in [0, 1]; extrapolations of a large one, say 0.1, mean little.
    """

    sampled: np.ndarray
    extrapolated: np.ndarray
    log_perplexities: np.ndarray
    limit: float
    samples: int
    misfit: float

    def finding(self) -> Finding:
        """For a card: the canary that is exposed most."""
        return of_exposures(self.extrapolated, self.samples, self.limit)

    def to_json(self) -> dict[str, Any]:
        """All fields as plain numbers and lists."""
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in vars(self).items()
        }


def exposure(
    fn: Model,
    params: Params,
    canaries: Canaries,
    *,
    samples: int = 2000,
    seed: int = 0,
    batch_size: int = 256,
) -> Exposures:
    """How much of each canary a sequence model has learnt by heart, in bits.

        exposure = log2(candidates) - log2(rank by log-perplexity)

    A canary that was never inserted has about 1.44 bits: the rank is uniform then, and
    1.44 is the mean of -log2 of a uniform number. At log2(candidates) it is ranked
    first, and can be extracted. Insert canaries with several numbers of repetitions, 0
    among them, and compare.

    Args:
      fn: model in evaluation mode, fn(params, tokens (n, length) int32) -> logits
        (n, length, vocabulary), those at a place for the token that follows.
      params: tree of arrays; of compressed leaves where `fn` takes them.
      canaries: the canaries, inserted or not, from `random_canaries`.
      samples: other candidates to rank them among, at least 100; where there are no
        more than that, all.
      seed: of the samples.
      batch_size: sequences per call.

    Returns:
      The exposures.

    Raises:
      TypeError: the model is no function, `canaries` are of another type, or logits
        have another shape.
      ValueError: a count is out of range; log-perplexities are not finite, or those of
        the samples all equal.

    Example:
      >>> canaries = jc.validate.privacy.random_canaries([0], range(8), 5, count=1)
      >>> known = jax.nn.one_hot(jnp.roll(jnp.array(canaries.tokens[0]), -1), 8)
      >>> by_heart = lambda params, tokens: params + jnp.zeros((len(tokens), 1, 1))
      >>> found = jc.validate.privacy.exposure(by_heart, 9 * known[None], canaries)
      >>> bool(found.sampled[0] > 10), found.limit
      (True, 15.0)

    Source: Carlini et al. 2019, arXiv:1802.08232, sections 4.2 to 4.4. Differs: equal
    log-perplexities share their ranks, so that a model without preference gives 1 bit.
    """
    name = "exposure"
    check_model(name, fn, 1, "It is the model, fn(params, tokens) -> logits.")
    check_arrays(name, "params", params)
    check_kind(name, "canaries", canaries, Canaries, "Make them with random_canaries.")
    samples = check_count(name, "samples", samples, least=_FEWEST)
    seed = check_count(name, "seed", seed, least=0)
    batch_size = check_count(name, "batch_size", batch_size)
    like = canaries.candidate_tokens(samples + len(canaries.tokens), seed=seed)
    every = canaries.candidates <= len(like)
    if not every:
        inserted = {row.tobytes() for row in canaries.tokens}
        like = np.stack([row for row in like if row.tobytes() not in inserted][:samples])
    rows = like if every else np.concatenate([canaries.tokens, like])
    bits = log_perplexities(fn, params, rows, start=canaries.prefix, batch_size=batch_size)
    bad = np.flatnonzero(~np.isfinite(bits))
    if bad.size:
        raise ValueError(
            f"{name}(params): the log-perplexities of {bad.size} of {bits.size} sequences are not"
            " finite. Check the model's logits on them."
        )
    # Where every candidate is there, each canary is one of them.
    places = [int(np.argmax((rows == row).all(axis=1))) for row in canaries.tokens]
    own, others = bits[places], bits[-len(like) :]
    limit = log2_candidates(canaries)
    sampled = _ranked(own, others, own_among_others=every)
    extrapolated, misfit = (sampled, 0.0) if every else _extrapolated(name, own, others)
    return Exposures(
        sampled=sampled,
        extrapolated=np.minimum(extrapolated, limit),
        log_perplexities=own,
        limit=limit,
        samples=others.size,
        misfit=misfit,
    )


def log_perplexities(
    fn: Model, params: Params, tokens: ArrayLike, *, start: int, batch_size: int = 256
) -> np.ndarray:
    """The bits that a sequence model needs for the tokens from `start` on.

        bits = -Σ log2 p(token_t | tokens before t),  t from start

    Args:
      fn: model in evaluation mode, fn(params, tokens (n, length) int32) -> logits
        (n, length, vocabulary), those at a place for the token that follows.
      params: tree of arrays.
      tokens: (n, length) integers, n at least 1.
      start: first place that counts, in [1, length).
      batch_size: sequences per call, jitted.

    Returns:
      (n,) float64.

    Raises:
      TypeError: the model is no function, or its logits have another shape.
      ValueError: tokens that are no table of the vocabulary's; a wrong start or size.

    Example:
      >>> uniform = lambda params, tokens: jnp.zeros((*tokens.shape, 4))
      >>> jc.validate.privacy.log_perplexities(uniform, {}, [[0, 1, 2, 3]], start=1)
      array([6.])

    Source: Carlini et al. 2019, arXiv:1802.08232, definition 2.
    """
    name = "log_perplexities"
    check_model(name, fn, 1, "It is the model, fn(params, tokens) -> logits.")
    check_arrays(name, "params", params)
    check_numeric(name, "tokens", tokens)
    check_concrete(name, params=params, tokens=tokens)
    tokens = np.asarray(tokens)
    if tokens.ndim != 2 or not tokens.size or not np.issubdtype(tokens.dtype, np.integer):
        raise ValueError(
            f"{name}(tokens of shape {tokens.shape}, {tokens.dtype}) needs integers (n, length)."
        )
    start = check_count(name, "start", start)
    if start >= tokens.shape[1]:
        raise ValueError(f"{name}(start={start}) must be below the length, {tokens.shape[1]}.")
    batch_size = check_count(name, "batch_size", batch_size)

    def bits(params: Params, batch: Array) -> Array:
        logits = fn(params, batch)
        if getattr(logits, "shape", ())[:-1] != batch.shape:
            raise TypeError(
                f"{name}(fn) gives logits of shape {getattr(logits, 'shape', None)} for tokens of"
                f" shape {batch.shape}. It must give (n, length, vocabulary)."
            )
        check_shown(name, "tokens", tokens.view(Shown), logits.shape[-1])
        before = logits[:, start - 1 : -1].astype(jnp.float32)
        chosen = jnp.take_along_axis(before, batch[:, start:, None], axis=-1)[..., 0]
        return jnp.sum(jax.nn.logsumexp(before, axis=-1) - chosen, axis=1) / jnp.log(2.0)

    return predict(bits, params, tokens.astype(np.int32), batch_size=batch_size).astype(np.float64)


def sampled_exposure(values: ArrayLike, samples: ArrayLike) -> np.ndarray:
    """Exposure by the rank of each value among samples of its like, in bits.

        exposure = -log2((1 + lower + equal / 2) / (1 + m))

    Args:
      values: (c,) log-perplexities of canaries; lower is better known to the model.
      samples: (m,) those of other candidates.

    Returns:
      (c,) float64, in [0, log2(1 + m)].

    Raises:
      ValueError: fewer than two samples, or values that are not finite.

    Example:
      >>> jc.validate.privacy.sampled_exposure([0.5, 2.5, 9.5], np.arange(7.0))
      array([2., 1., 0.])

    Source: Carlini et al. 2019, arXiv:1802.08232, section 4.4.
    """
    name = "sampled_exposure"
    values = _checked_values(name, values)
    samples = checked_scores(name, "samples", samples)
    return _ranked(values, samples, own_among_others=False)


def extrapolated_exposure(
    values: ArrayLike, samples: ArrayLike, *, limit: float = float("inf")
) -> np.ndarray:
    """Exposure by a skew-normal distribution fitted to samples, in bits.

        exposure = -log2 P[log-perplexity of a candidate <= value]

    It goes on where all samples are worse than the canary, which is what makes the
    exposure of one among billions of candidates computable.

    Args:
      values: (c,) log-perplexities of canaries.
      samples: (m,) those of other candidates, at least 100, not all equal.
      limit: log2 of the number of candidates, above 0: no exposure is larger.

    Returns:
      (c,) float64, in [0, limit].

    Raises:
      ValueError: below 100 samples, or all equal; values not finite; a limit of 0.

    Example:
      >>> samples = np.random.default_rng(0).normal(size=4000)
      >>> jc.validate.privacy.extrapolated_exposure([0.0, -6.0], samples).round(0)
      array([ 1., 30.])

    Source: Carlini et al. 2019, arXiv:1802.08232, section 4.4.
    """
    name = "extrapolated_exposure"
    values = _checked_values(name, values)
    samples = checked_scores(name, "samples", samples)
    if limit != float("inf"):
        check_positive(name, "limit", limit)
    return np.minimum(_extrapolated(name, values, samples)[0], float(limit))


def _ranked(values: np.ndarray, others: np.ndarray, *, own_among_others: bool) -> np.ndarray:
    """Exposures by rank; in an enumeration each value is one of the others itself."""
    ordered = np.sort(others)
    lower = np.searchsorted(ordered, values)
    equal = np.searchsorted(ordered, values, side="right") - lower - own_among_others
    total = others.size + (not own_among_others)
    return np.log2(total) - np.log2(1 + lower + equal / 2)


def _extrapolated(caller: str, values: np.ndarray, samples: np.ndarray) -> tuple[np.ndarray, float]:
    """Exposures by a fitted distribution, and its distance from the samples."""
    from scipy import stats

    if samples.size < _FEWEST or np.ptp(samples) == 0:
        raise ValueError(
            f"{caller}(samples): {samples.size} samples from {samples.min():g} to"
            f" {samples.max():g}. To fit a distribution it takes {_FEWEST}, not all equal."
        )
    fitted = stats.skewnorm(*stats.skewnorm.fit(samples))
    misfit = float(stats.kstest(samples, fitted.cdf).statistic)
    return -fitted.logcdf(values) / np.log(2), misfit


def _checked_values(caller: str, values: ArrayLike) -> np.ndarray:
    found = real(caller, "values", values)
    if found.ndim != 1 or not np.isfinite(found).all():
        raise ValueError(f"{caller}(values) must be a list of finite numbers, one per canary.")
    return found
