"""Canaries for sequence models: random sequences to be inserted into training text."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.core.checks import check_concrete, check_count
from jaxcompress.core.kinds import check_kind, check_numeric
from jaxcompress.validate.arrays import known


@dataclasses.dataclass(frozen=True, eq=False)
class Canaries:
    """Sequences of one form: the same prefix, then tokens drawn from an alphabet.

    Invariants:
      - `tokens` (count, length) int32 are different rows that all begin with `prefix`
        tokens of one kind, at least one; what follows is from `alphabet`.
      - `alphabet` (size,) int32 holds different tokens, at least two.

    Args:
      tokens: (count, length) int32.
      prefix: number of tokens that all have in common, at least 1.
      alphabet: (size,) int32, from which the others were drawn.
    """

    tokens: np.ndarray
    prefix: int
    alphabet: np.ndarray

    @property
    def drawn(self) -> int:
        """Number of tokens of a canary that were drawn."""
        return self.tokens.shape[1] - self.prefix

    @property
    def candidates(self) -> int:
        """Number of sequences that might have been drawn, exact."""
        return self.alphabet.size**self.drawn

    def candidate_tokens(self, count: int, *, seed: int = 0) -> np.ndarray:
        """Sequences of the same form: all where there are no more than `count`.

        Args:
          count: number of sequences, at least 1.
          seed: of the drawing.

        Returns:
          (min(count, candidates), length) int32, independent draws, or every candidate
          once, in the order of the alphabet.
        """
        count = check_count("candidate_tokens", "count", count)
        seed = check_count("candidate_tokens", "seed", seed, least=0)
        if self.candidates <= count:
            shape = (self.alphabet.size,) * self.drawn
            digits = np.stack(np.unravel_index(np.arange(self.candidates), shape), axis=1)
        else:
            # Of another stream than the canaries, which the same seed would draw again.
            rng = np.random.default_rng([seed, 1])
            digits = rng.integers(self.alphabet.size, size=(count, self.drawn))
        return _with_prefix(self.tokens[0, : self.prefix], self.alphabet[digits])


def random_canaries(
    prefix: Sequence[int] | np.ndarray,
    alphabet: Sequence[int] | np.ndarray,
    length: int,
    *,
    count: int,
    seed: int = 0,
) -> Canaries:
    """Different random sequences of one form, to be inserted into training text.

    As "the random number is 281265017", of which the digits are drawn: the more
    candidates, the more a model that ranks one first must have learnt it by heart.

    Args:
      prefix: tokens that all canaries begin with, at least one.
      alphabet: different tokens, at least two, to draw the others from.
      length: number of tokens to draw for each canary, at least 1.
      count: number of canaries, at most alphabet ** length.
      seed: of the drawing.

    Returns:
      The canaries.

    Raises:
      TypeError: the prefix or the alphabet holds no numbers.
      ValueError: an empty prefix; an alphabet of fewer than two tokens, or with one
        twice; tokens that are no integers of at least 0; more canaries than candidates;
        a wrong length, count or seed.

    Example:
      >>> random_canaries = jc.validate.privacy.random_canaries
      >>> canaries = random_canaries([10, 11], range(10), 4, count=2)
      >>> canaries.tokens
      array([[10, 11,  8,  6,  5,  2],
             [10, 11,  3,  0,  0,  0]], dtype=int32)
      >>> canaries.candidates
      10000

    Source: Carlini et al. 2019, arXiv:1802.08232, section 4.
    """
    name = "random_canaries"
    prefix, alphabet = (
        _checked_tokens(name, "prefix", prefix),
        _checked_tokens(name, "alphabet", alphabet),
    )
    if not prefix.size:
        raise ValueError(f"{name}(prefix) is empty. The first token drawn needs one before it.")
    if alphabet.size < 2 or np.unique(alphabet).size != alphabet.size:
        raise ValueError(f"{name}(alphabet) needs at least two tokens, and none twice.")
    length = check_count(name, "length", length)
    count = check_count(name, "count", count)
    seed = check_count(name, "seed", seed, least=0)
    if count > alphabet.size**length:
        raise ValueError(
            f"{name}(count={count}) is more than the {alphabet.size} ** {length} sequences that"
            " there are."
        )
    rng = np.random.default_rng(seed)
    found = np.zeros((0, length), np.int64)
    while len(found) < count:
        more = rng.integers(alphabet.size, size=(count, length))
        every = np.concatenate([found, more])
        first = np.sort(np.unique(every, axis=0, return_index=True)[1])
        found = every[first][:count]
    return Canaries(_with_prefix(prefix, alphabet[found]), prefix.size, alphabet)


def insert_canaries(
    tokens: ArrayLike, canaries: Canaries, repetitions: ArrayLike, *, seed: int = 0
) -> np.ndarray:
    """A text with each canary inserted so many times, at random places.

    Args:
      tokens: (n,) integers, the text.
      canaries: what to insert.
      repetitions: (count,) integers of at least 0; 0 leaves a canary out, for control.
      seed: of the places.

    Returns:
      (n + length · sum(repetitions),) of the text's dtype. No canary is split by
      another.

    Raises:
      TypeError: `canaries` are of another type; the text or the repetitions are no
        numbers.
      ValueError: a text that is no row of integers; repetitions that are not one count
        per canary; a seed that is no count.

    Example:
      >>> canaries = jc.validate.privacy.random_canaries([9], [7, 8], 1, count=2)
      >>> jc.validate.privacy.insert_canaries(np.zeros(4, int), canaries, [2, 0])
      array([9, 8, 0, 9, 8, 0, 0, 0])

    Source: Carlini et al. 2019, arXiv:1802.08232, section 4.
    """
    name = "insert_canaries"
    check_numeric(name, "tokens", tokens)
    check_numeric(name, "repetitions", repetitions)
    check_concrete(name, tokens=tokens, repetitions=repetitions)
    check_kind(name, "canaries", canaries, Canaries, "Make them with random_canaries.")
    seed = check_count(name, "seed", seed, least=0)
    tokens, repetitions = np.asarray(tokens), np.asarray(repetitions)
    if tokens.ndim != 1 or not np.issubdtype(tokens.dtype, np.integer):
        raise ValueError(
            f"{name}(tokens of shape {tokens.shape} and dtype {tokens.dtype}) needs one row of"
            " integers."
        )
    counts = np.issubdtype(repetitions.dtype, np.integer) and not (repetitions < 0).any()
    if repetitions.shape != (len(canaries.tokens),) or not counts:
        raise ValueError(
            f"{name}(repetitions) needs an integer of at least 0 for each of"
            f" {len(canaries.tokens)} canaries."
        )
    rng = np.random.default_rng([seed, 2])
    rows = canaries.tokens[rng.permutation(np.repeat(np.arange(len(repetitions)), repetitions))]
    places = rng.integers(tokens.size + 1, size=len(rows))
    # Of equal places np.insert keeps the order, so that rows stay whole.
    return np.insert(tokens, np.repeat(places, rows.shape[1]), rows.ravel())


def log2_candidates(canaries: Canaries) -> float:
    """The bits that a canary was drawn with: the largest exposure that there can be."""
    return canaries.drawn * math.log2(canaries.alphabet.size)


def _with_prefix(prefix: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    before = np.broadcast_to(prefix, (len(drawn), prefix.size))
    return np.concatenate([before, drawn], axis=1).astype(np.int32)


def _checked_tokens(caller: str, argument: str, tokens: Sequence[int] | np.ndarray) -> np.ndarray:
    values = known(caller, argument, tokens)
    integers = np.issubdtype(values.dtype, np.integer) or not values.size
    if values.ndim != 1 or not integers or (values < 0).any():
        raise ValueError(f"{caller}({argument}) must be a list of tokens, integers of at least 0.")
    return values.astype(np.int32)
