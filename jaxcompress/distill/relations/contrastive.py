"""Contrastive distillation: features of an example against those of others."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.checks import check_count, check_positive, check_range
from jaxcompress.core.kinds import check_key, check_kind
from jaxcompress.core.messages import shown
from jaxcompress.core.sharding import explicit_sharding, gathered, gathered_along, placed
from jaxcompress.core.types import Array, Key, Params, PyTree
from jaxcompress.distill.checks import shape_of, student_and_teacher
from jaxcompress.distill.outputs.arrays import as_float32
from jaxcompress.distill.projections import linear
from jaxcompress.distill.vectors import flat, unit


class Bank(NamedTuple):
    """What was last seen of each training example: state, not trained.

    Attributes:
      student: (examples, width) float32 unit vectors, of the student's features.
      teacher: (examples, width) float32 unit vectors, of the teacher's.
    """

    student: Array
    teacher: Array


class Contrastive(NamedTuple):
    """A learned loss with a memory: `LearnedLoss` whose state goes in and comes out.

    Attributes:
      init: (key, student, teacher) -> parameters, from features or shapes.
      bank: (key, examples) -> Bank of random unit vectors, for so many training
        examples.
      loss: (parameters, student, teacher, bank, indices, key) -> ((batch,) float32,
        bank). `indices` (batch,) int say which training examples the batch holds, `key`
        draws the negatives.
    """

    init: Callable[[Key, PyTree, PyTree], Params]
    bank: Callable[[Key, int], Bank]
    loss: Callable[[Params, Array, Array, Bank, Array, Key], tuple[Array, Bank]]


def contrastive(
    *,
    width: int = 128,
    temperature: float = 0.07,
    negatives: int = 16384,
    momentum: float = 0.5,
) -> Contrastive:
    """Tells an example's pair of features from pairs of two examples, by a memory bank.

    Not for: short training, in which it won nothing on a small ResNet while
    `inter_class_relation` did, nor data without end.

        s, t = unit(linear(student)), unit(linear(teacher)), for each side its matrix
        h(s, t) = exp(s · t / temperature) / (exp(s · t / temperature) + N · z(s))
        z(s) = mean over the negatives of exp(s · bank_t[n] / temperature), a constant
        loss = - log h(s, t) - sum over N negatives n of log(1 - h(s, bank_t[n]))
               - log h(t, s) - sum over N negatives n of log(1 - h(t, bank_s[n]))

    Rows of the batch's examples become unit(momentum · row + (1 - momentum) ·
    embedding); no gradient flows into the bank.

    Also known as: contrastive representation distillation (CRD), InfoNCE with a memory
    bank.

    Args:
      width: of the embeddings, at least 1.
      temperature: above 0.
      negatives: N, drawn anew in each call, with replacement; at least 1.
      momentum: in [0, 1).

    Returns:
      Contrastive of features (batch, ...), each example one vector. The losses are
      above 0, and all 2 (N + 1) terms of one example make one number. An index outside
      of the bank gives NaN, and so do features that are not finite, whose rows stay. An
      index that stands twice in a batch keeps one of its two embeddings. A bank that
      several devices share is gathered on each for the call.

    Raises:
      ValueError: a number is out of its range; when applied: parameters, indices or
        bank are of other shapes.
      TypeError: when applied: features are not floating, indices not integer, or the
        bank is none.

    Example:
      >>> crd = jc.distill.relations.contrastive(width=4, negatives=8)
      >>> student, teacher = jnp.ones((2, 3)), jnp.ones((2, 5))
      >>> parameters = crd.init(jax.random.key(0), student, teacher)
      >>> bank = crd.bank(jax.random.key(1), 100)
      >>> losses, bank = crd.loss(
      ...     parameters, student, teacher, bank, jnp.array([7, 42]), jax.random.key(2)
      ... )
      >>> losses.shape, bank.student.shape
      ((2,), (100, 4))

    Source: Tian, Krishnan and Isola 2020, arXiv:1910.10699, equations 10, 17 and 18.
    Differs: the batch shares its negatives, which makes one matrix product of them; an
    example's own row is no negative of it; the positive is the embedding itself, not
    its row; z is measured for each example, where the code measures it on the first
    batch and the paper writes 1 / examples, with which negatives outweigh all else. The
    paper's weight is 0.8.
    """
    width = check_count("contrastive", "width", width)
    check_positive("contrastive", "temperature", temperature)
    negatives = check_count("contrastive", "negatives", negatives)
    check_range("contrastive", "momentum", momentum, 0, 1)

    def init(key: Key, student: PyTree, teacher: PyTree) -> Params:
        check_key("contrastive.init", "key", key)
        first, second = jax.random.split(key)
        sides = {"student": (first, student), "teacher": (second, teacher)}
        return {
            side: linear().init(own, _entries(shape_of("contrastive.init", side, given)), width)
            for side, (own, given) in sides.items()
        }

    def bank(key: Key, examples: int) -> Bank:
        check_key("contrastive.bank", "key", key)
        examples = check_count("contrastive.bank", "examples", examples)
        return Bank(*(_random_rows(own, examples, width) for own in jax.random.split(key)))

    def loss(
        parameters: Params, student: Array, teacher: Array, bank: Bank, indices: Array, key: Key
    ) -> tuple[Array, Bank]:
        student, teacher = student_and_teacher("contrastive.loss", student, teacher)
        indices = _checked(bank, indices, (student.shape[0], width))
        check_key("contrastive.loss", "key", key)
        places = [explicit_sharding(rows) for rows in bank]
        # Rows are picked, which no explicit mesh does along an axis that it splits.
        bank = Bank(*map(gathered, jax.lax.stop_gradient(bank)))
        own = unit(linear().apply(parameters["student"], flat(student)))
        other = unit(linear().apply(parameters["teacher"], flat(teacher)))
        drawn = jax.random.randint(key, (negatives,), 0, len(bank.student), jnp.int32)
        usable = drawn[None] != indices[:, None]
        contrast = partial(_contrast, usable, as_float32(temperature))
        losses = contrast(own, other, bank.teacher[drawn]) + contrast(
            other, own, bank.student[drawn]
        )
        remember = partial(_remembered, indices, as_float32(momentum))
        rows = remember(bank.student, own), remember(bank.teacher, other)
        seen = Bank(*map(placed, rows, places))
        return losses * _known(indices, len(bank.student)), seen

    return Contrastive(init, bank, loss)


def _random_rows(key: Key, examples: int, width: int) -> Array:
    """Unit vectors, (examples, width)."""
    return unit(jax.random.normal(key, (examples, width), jnp.float32))


def _contrast(
    usable: Array, temperature: Array, anchor: Array, positive: Array, rows: Array
) -> Array:
    """-log h of the positive and -log(1 - h) of usable rows; h is a sigmoid."""
    products = jnp.matmul(anchor, rows.T, precision="highest") / temperature
    usual = jax.lax.stop_gradient(_log_mean_exp(products, usable))
    shift = (math.log(len(rows)) + usual)[:, None]  # (batch, 1)
    found = jax.nn.softplus(shift[:, 0] - jnp.sum(anchor * positive, axis=-1) / temperature)
    mistaken = jax.nn.softplus(products - shift)
    return found + jnp.sum(jnp.where(usable, mistaken, 0.0), axis=-1)


def _log_mean_exp(x: Array, usable: Array) -> Array:
    """Along the last axis, of what is usable; 0 where nothing is."""
    count = jnp.sum(usable, axis=-1)
    total = jax.nn.logsumexp(jnp.where(usable, x, -jnp.inf), axis=-1)
    return jnp.where(count > 0, total - jnp.log(jnp.maximum(count, 1).astype(total.dtype)), 0.0)


def _remembered(indices: Array, momentum: Array, rows: Array, embeddings: Array) -> Array:
    """The rows of a side with those of the batch moved towards its embeddings."""
    # The bank is whole on every device, where an explicit mesh splits the batch too.
    indices, embeddings = gathered_along(indices, 0), gathered_along(embeddings, 0)
    moved = unit(momentum * rows[indices] + (1 - momentum) * embeddings)
    # Else a row that is not finite would be a negative of all examples to come.
    moved = jnp.where(jnp.all(jnp.isfinite(moved), -1, keepdims=True), moved, rows[indices])
    # Indices outside are dropped; a negative one would count from the end.
    places = jnp.where(indices < 0, len(rows), indices)
    return jax.lax.stop_gradient(rows.at[places].set(moved, mode="drop"))


def _known(indices: Array, examples: int) -> Array:
    """1 for an example of the bank. NaN is a factor, so that gradients are NaN too."""
    return jnp.where((indices >= 0) & (indices < examples), 1.0, jnp.nan)


def _entries(shape: tuple[int, ...]) -> int:
    return math.prod(shape[1:])


def _checked(bank: Bank, indices: Array, shape: tuple[int, int]) -> Array:
    """Indices as int32, of a batch and bank that fit; `shape` is (batch, width)."""
    check_kind("contrastive.loss", "bank", bank, Bank, "Begin with bank(key, examples).")
    if bank.student.shape != bank.teacher.shape or bank.student.shape[1:] != shape[1:]:
        raise ValueError(
            f"contrastive.loss(bank of shapes {bank.student.shape} and {bank.teacher.shape}) needs "
            f"(examples, {shape[1]}) twice. Begin with bank(key, examples)."
        )
    if not jnp.issubdtype(getattr(indices, "dtype", np.dtype(bool)), jnp.integer):
        raise TypeError(
            f"contrastive.loss(indices={shown(indices)}) must be an integer array: which training "
            "examples the batch holds."
        )
    if indices.shape != shape[:1]:
        raise ValueError(
            f"contrastive.loss(indices of shape {indices.shape}) needs the shape {shape[:1]}, one "
            "for each example."
        )
    return jnp.asarray(indices, jnp.int32)
