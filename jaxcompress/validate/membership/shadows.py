"""Shadow models: trained as the target was, on halves of the examples, and asked.

What they say of each example, trained with it and without it, is what attacks compare
the target with. The models themselves are not kept.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.core.batches import whole_rows
from jaxcompress.core.checks import check_concrete, check_count, check_fits
from jaxcompress.core.kinds import check_key, check_takes
from jaxcompress.core.messages import shown
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Fit, Key, PyTree
from jaxcompress.validate.judging import judging
from jaxcompress.validate.membership.inputs import flags
from jaxcompress.validate.membership.queries import SIGNAL, Signal
from jaxcompress.validate.membership.shadow_record import Shadows

_FIT = "It is fit(examples, weights, key) -> model."
# Rows, weights and keys by model, the examples shared.
_BY_MODEL = (0, 0, 0, None)


def halves(count: int, n: int, key: Key) -> np.ndarray:
    """Random halves in pairs of complements, so that each example is in half of them.

    Args:
      count: of the shadow models, even.
      n: examples, at least 2.
      key: of the draw.

    Returns:
      (count, n) bool; rows 2i and 2i + 1 are complements. Of an odd n one of them has
      an example more.

    Raises:
      TypeError: `key` is no key.
      ValueError: a count is out of range, or `count` is odd.

    Example:
      >>> members = jc.validate.membership.halves(4, 6, jax.random.key(0))
      >>> members.sum(0), members.sum(1)
      (array([2, 2, 2, 2, 2, 2]), array([3, 3, 3, 3]))

    Source: Carlini et al. 2022, arXiv:2112.03570, section V-A. Differs: in pairs, so
    that half of any number of pairs were trained on an example.
    """
    count = check_count("halves", "count", count, least=2)
    n = check_count("halves", "n", n, least=2)
    check_key("halves", "key", key)
    if count % 2:
        raise ValueError(f"halves(count={count}) must be even: halves come in pairs.")
    check_concrete("halves", key=key)
    seeds = np.asarray(jax.random.bits(key, (4,)))
    generator = np.random.default_rng(seeds.tolist())
    drawn = np.stack([generator.permutation(n) < n // 2 for _ in range(count // 2)])
    return np.stack([drawn, ~drawn], axis=1).reshape(count, n)


def shadows(
    fit: Fit, signal: Signal, examples: PyTree, members: ArrayLike, key: Key, *, chunk: int = 8
) -> Shadows:
    """Trains a model on each row of `members` and asks it about all the examples.

    Give the target's own recipe. Compression belongs to it: in `fit`, or in `signal`,
    as `signal(compress(model), examples)`; `versions` asks several copies at once.

    Where `fit` and `signal` can be traced, a chunk of models is trained and asked in
    one vmapped program, compiled once. Where `signal` cannot, as with a compression
    that reads values, models are trained so and asked in turn; where `fit` cannot,
    everything is in turn, and `Shadows.in_turn` says why. The key of model i is
    `jax.random.fold_in(key, i)`, and its examples are gathered, so that half of them
    cost half.

    Args:
      fit: `fit(examples, weights, key) -> model`, any tree; see `jc.core.types.Fit`.
      signal: `signal(model, examples) -> (n, …)` floating, higher = member, such as
        `scaled_confidence` of the outputs.
      examples: tree of arrays with first axis n, usually (x, y). Some may be in no
        row: a population that no model is trained on.
      members: (shadows, n) bool, what each model is trained on, such as `halves`. Rows
        of unequal size are filled up by examples of weight 0, which `fit` must heed.
      key: of initializations, batches and all that `fit` draws.
      chunk: models held in memory at once.

    Returns:
      Signals and members of all the models.

    Raises:
      TypeError: an argument is not of its kind.
      ValueError: shapes do not fit, a row has no member, a count is out of range, or a
        signal is not finite.

    Example:
      >>> fit = lambda examples, weights, key: jnp.sum(examples * weights)
      >>> signal = lambda model, examples: -jnp.abs(examples - model)
      >>> members = np.array([[True, False, True], [False, True, False]])
      >>> found = jc.validate.membership.shadows(
      ...     fit, signal, jnp.arange(3.0), members, jax.random.key(0)
      ... )
      >>> found.signals
      array([[-2., -1., 0.], [-1., 0., -1.]], dtype=float32)

    Source: Shokri et al. 2017, arXiv:1610.05820, section V-C; Carlini et al. 2022,
    arXiv:2112.03570, algorithm 1.
    """
    check_takes("shadows", "fit", fit, 3, _FIT)
    check_takes("shadows", "signal", signal, 2, SIGNAL)
    members = flags("shadows", "members", members, "(shadows, n)")
    _check_examples("shadows", examples, members)
    check_key("shadows", "key", key)
    chunk = check_count("shadows", "chunk", chunk)
    check_concrete("shadows", key=key, examples=examples)
    check_fits("shadows", examples=examples)
    examples = whole_rows(jax.tree.map(jnp.asarray, examples))
    given = _Given.of(members, key)
    signal = judging("shadows", "signal", signal, SIGNAL)

    def model(rows: Array, weights: Array, key: Key, examples: PyTree) -> PyTree:
        return fit(jax.tree.map(lambda array: array[rows], examples), weights, key)

    def asked(model: PyTree, examples: PyTree) -> Array:
        return _checked_signal(signal(model, examples), members.shape[1])

    def both(*each) -> Array:
        return asked(model(*each), each[-1])

    def by_model(trees: Iterator[PyTree]) -> list[np.ndarray]:
        return [np.asarray(asked(tree, examples), np.float32) for tree in trees]

    first = [*(each[0] for each in given), examples]
    if not (in_turn := _untraceable(both, *first)):
        signals = list(_in_chunks(jax.jit(jax.vmap(both, _BY_MODEL)), given, examples, chunk))
    elif not _untraceable(model, *first):
        trained = jax.jit(jax.vmap(model, _BY_MODEL))
        signals = by_model(_in_chunks(trained, given, examples, chunk))
    else:
        signals = by_model(model(*each, examples) for each in zip(*given, strict=True))
    return Shadows(np.stack(signals).astype(np.float32), members, in_turn)


class _Given(NamedTuple):
    """What differs from model to model, each with a first axis of models."""

    rows: Array
    weights: Array
    keys: Array

    @classmethod
    def of(cls, members: np.ndarray, key: Key) -> "_Given":
        """Indices of each row's members, filled up to the longest with weight 0."""
        counts = members.sum(1)
        places = np.arange(counts.max())
        rows = np.stack([np.resize(np.flatnonzero(row), counts.max()) for row in members])
        weights = (places[None] < counts[:, None]).astype(np.float32)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(len(members)))
        return cls(jnp.asarray(rows), jnp.asarray(weights), keys)


def _in_chunks(run, given: _Given, examples: PyTree, chunk: int) -> Iterator[PyTree]:
    """Each model's own result, from chunks of one size; the last repeats its last."""
    count = len(given.rows)
    size = math.ceil(count / math.ceil(count / chunk))
    for begin in range(0, count, size):
        index = np.minimum(np.arange(begin, begin + size), count - 1)
        results = jax.device_get(run(*(each[index] for each in given), examples))
        for place in range(min(size, count - begin)):
            yield jax.tree.map(lambda leaf, place=place: leaf[place], results)


def _untraceable(function, *given) -> str:
    """Why a function cannot be traced, in a line; empty where it can."""
    try:
        jax.eval_shape(function, *given)
    except (TypeError, IndexError) as error:  # what reading a traced value raises
        return str(error).strip().partition("\n")[0] or type(error).__name__
    return ""


def _checked_signal(values: Array, n: int) -> Array:
    shape, dtype = np.shape(values), getattr(values, "dtype", np.dtype(bool))
    if shape[:1] != (n,) or len(shape) > 2 or not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(
            f"shadows(signal=...) gives {shown(values)} for {n} examples; it must be floating, of"
            f" shape ({n},) or ({n}, k)."
        )
    return values


def _check_examples(caller: str, examples: PyTree, members: np.ndarray) -> None:
    check_arrays(caller, "examples", examples)
    counts = {np.shape(leaf)[0] if np.ndim(leaf) else 0 for leaf in jax.tree.leaves(examples)}
    if counts != {members.shape[1]}:
        raise ValueError(
            f"{caller}(examples, members of {members.shape[1]} columns): each array of the examples"
            f" needs as many rows, and they have {sorted(counts)}."
        )
    empty = np.flatnonzero(~members.any(1))
    if empty.size:
        raise ValueError(f"{caller}(members): row {empty[0]} has no example to train on.")
