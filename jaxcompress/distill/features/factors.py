"""Factor transfer: the teacher's features are put into fewer factors, then matched."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.checks import check_positive
from jaxcompress.core.kinds import check_key
from jaxcompress.core.types import Array, Key, Params, PyTree
from jaxcompress.distill.checks import shape_of, student_and_teacher
from jaxcompress.distill.features.hints import check_axes
from jaxcompress.distill.features.sizes import resized
from jaxcompress.distill.projections import perceptron
from jaxcompress.distill.vectors import flat, unit


class FactorTransfer(NamedTuple):
    """A `LearnedLoss` with a second loss, by which a part of its parameters learns.

    Attributes:
      init: (key, student, teacher) -> parameters, from features or shapes.
      loss: (parameters, student, teacher) -> (batch,) float32. Trains the student and
        the translator; no gradient flows into the paraphraser.
      reconstruction: (parameters, teacher) -> (batch,) float32. Trains the paraphraser
        alone, before the student or beside it.
    """

    init: Callable[[Key, PyTree, PyTree], Params]
    loss: Callable[[Params, PyTree, PyTree], Array]
    reconstruction: Callable[[Params, PyTree], Array]


def factor_transfer(*, ratio: float = 0.5) -> FactorTransfer:
    """Distance between factors of the teacher's features and the student's.

    Not for: few parameters beside the student's, since it trains three networks;
    `projected` trains one projection.

        loss = sum |f_s / |f_s| - f_t / |f_t||
        f_t = encoder(teacher),  f_s = translator(student)
        reconstruction = mean (teacher - decoder(encoder(teacher)))²

    The paraphraser, an encoder and a decoder, learns the factors from the teacher
    alone; the translator learns to give them from the student, resized to the teacher's
    sizes. Both may be trained in one step: add the two losses.

    Also known as: factor transfer (FT), paraphraser and translator, paraphrasing
    complex network.

    Args:
      ratio: channels of the factors over those of the teacher, above 0.

    Returns:
      FactorTransfer of features (batch, ..., channels) with as many axes. Its
      parameters are "encoder", "decoder" and "translator", each of a `perceptron` with
      leaky ReLU. The loss is at least 0.

    Raises:
      ValueError: `ratio` is not above 0; when applied: the numbers of axes differ, or
        parameters are of other features.
      TypeError: when applied: features are not floating.

    Example:
      >>> factors = jc.distill.features.factor_transfer(ratio=0.5)
      >>> student, teacher = jnp.ones((2, 3, 4)), jnp.ones((2, 3, 6))
      >>> parameters = factors.init(jax.random.key(0), student, teacher)
      >>> losses = factors.loss(parameters, student, teacher)
      >>> (losses + factors.reconstruction(parameters, teacher)).shape
      (2,)

    Source: Kim, Park and Kwak 2018, arXiv:1802.04977, equations 1 to 3 with p = 1.
    Differs: two layers that see one position at a time, in place of three 3 × 3
    convolutions with batch norm.
    """
    check_positive("factor_transfer", "ratio", ratio)

    def init(key: Key, student: PyTree, teacher: PyTree) -> Params:
        check_key("factor_transfer.init", "key", key)
        student = shape_of("factor_transfer.init", "student", student)
        teacher = shape_of("factor_transfer.init", "teacher", teacher)
        check_axes("factor_transfer.init", student, teacher)
        factors = max(1, round(ratio * teacher[-1]))
        encoder, decoder, translator = jax.random.split(key, 3)
        return {
            "encoder": _layers(teacher[-1]).init(encoder, teacher[-1], factors),
            "decoder": _layers(teacher[-1]).init(decoder, factors, teacher[-1]),
            "translator": _layers(student[-1]).init(translator, student[-1], factors),
        }

    return FactorTransfer(init, _transfer, _reconstruction)


def _transfer(parameters: Params, student: Array, teacher: Array) -> Array:
    student, teacher = student_and_teacher("factor_transfer.loss", student, teacher)
    check_axes("factor_transfer.loss", student.shape, teacher.shape)
    student = resized(student, teacher.shape[1:-1])
    own = _layers(student.shape[-1]).apply(parameters["translator"], student)
    wanted = jax.lax.stop_gradient(_layers(teacher.shape[-1]).apply(parameters["encoder"], teacher))
    return jnp.sum(jnp.abs(unit(flat(own)) - unit(flat(wanted))), axis=-1)


def _reconstruction(parameters: Params, teacher: Array) -> Array:
    teacher, _ = student_and_teacher("factor_transfer.reconstruction", teacher, teacher)
    teacher = jax.lax.stop_gradient(teacher)
    layers = _layers(teacher.shape[-1])
    again = layers.apply(parameters["decoder"], layers.apply(parameters["encoder"], teacher))
    return jnp.mean(flat(teacher - again) ** 2, axis=-1)


_layers = partial(perceptron, activation=partial(jax.nn.leaky_relu, negative_slope=0.1))
