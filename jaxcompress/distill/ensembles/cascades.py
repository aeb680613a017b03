"""Cascades: a small model answers, and a large one where the small one is unsure."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxcompress.core.batches import count_of, in_batches, whole_rows
from jaxcompress.core.checks import (
    check_concrete,
    check_count,
    check_number,
    is_number,
)
from jaxcompress.core.kinds import check_takes
from jaxcompress.core.messages import shown
from jaxcompress.core.sharding import gathered_along
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Model, Params, PyTree
from jaxcompress.distill.ensembles.confidences import (
    Confidence,
    confidences_of,
    largest_probability,
)
from jaxcompress.distill.outputs.arrays import as_float32
from jaxcompress.distill.outputs.logits import checked_logits


def cascade(
    models: tuple[Model, Model],
    threshold: ArrayLike,
    *,
    capacity: int,
    confidence: Confidence = largest_probability,
) -> Model:
    """Returns a model that asks a large one where a small one is unsure.

    For a jitted step with fixed shapes, on any device: of each batch the `capacity`
    least sure examples are gathered, the large model runs on them, or not at all where
    every confidence reaches the threshold, and its answers replace those below it. More
    unsure examples than `capacity` keep the small model's answer. Without such a limit,
    and where the number of calls may depend on the data, use `answer`.

    Args:
      models: small and large, each `fn(params, inputs) -> (batch, classes)` logits of
        the same classes, with one input or a tree.
      threshold: () real, from `fit_cascade`.
      capacity: examples of a batch that the large model may be asked about.
      confidence: as it was fitted with. An example of confidence NaN is unsure.

    Returns:
      `fn((small_params, large_params), inputs) -> (batch, classes)` float32, whatever
      the dtypes of the models.

    Raises:
      TypeError: models are no pair of functions, or `confidence` is none; when called,
        outputs are not floating, or confidences not (batch,).
      ValueError: `threshold` is no number, or `capacity` no count; when called, params
        are no pair, the batch is smaller than `capacity`, or outputs are not (batch,
        classes) of the same classes.

    Example:
      >>> fn = lambda params, x: x * params
      >>> model = jc.distill.ensembles.cascade((fn, fn), 0.9, capacity=1)
      >>> model((jnp.ones(()), -jnp.ones(())), jnp.array([[5.0, 0.0], [0.0, 1.0]]))
      Array([[ 5.,  0.],
             [-0., -1.]], dtype=float32)
    """
    caller = "cascade"
    small, large = _models(caller, models)
    check_takes(caller, "confidence", confidence, 1, "For example ensembles.margin.")
    _check_threshold(caller, threshold)
    capacity = check_count(caller, "capacity", capacity)

    def model(params: Params, inputs: PyTree) -> Array:
        small_params, large_params = _pair(caller, params)
        n = count_of(caller, "inputs", inputs)
        # Whole where an explicit mesh splits the batch: the least sure lie anywhere.
        logits = gathered_along(_answers(caller, "small", small(small_params, inputs), n), 0)
        if len(logits) < capacity:
            raise ValueError(
                f"cascade(capacity={capacity}) is more than the {len(logits)} examples of the "
                "batch. Lower it."
            )
        sure = confidences_of(caller, confidence, logits)
        unsure = ~(sure >= as_float32(threshold))  # NaN, too, whose sign orders it
        _, least = jax.lax.top_k(jnp.where(jnp.isnan(sure), jnp.inf, -sure), capacity)
        chosen = jax.tree.map(lambda array: array[least], whole_rows(inputs))

        def asked(logits: Array) -> Array:
            answers = large(large_params, chosen)
            answers = _answers(caller, "large", answers, capacity, logits.shape[-1])
            mixed = jnp.where(unsure[least][:, None], answers, logits[least])
            return logits.at[least].set(mixed)

        return jax.lax.cond(jnp.any(unsure), asked, lambda logits: logits, logits)

    return model


class Answers(NamedTuple):
    """What a cascade answered.

    Attributes:
      logits: (n, classes) float32, the small model's or the large one's.
      asked: (n,) bool, whether the large model answered.
    """

    logits: np.ndarray
    asked: np.ndarray


def answer(
    models: tuple[Model, Model],
    params: tuple[Params, Params],
    inputs: PyTree,
    threshold: float,
    *,
    confidence: Confidence = largest_probability,
    batch_size: int = 256,
) -> Answers:
    """Answers all examples by a cascade: the large model runs on the unsure ones alone.

    The small model runs in jitted batches of one size, then the large one on batches of
    what is left, so that each is compiled once.

    Args:
      models: small and large, each `fn(params, inputs) -> (batch, classes)` logits.
      params: those of both.
      inputs: array, or tree of arrays, with first axis n, n at least 1.
      threshold: from `fit_cascade`.
      confidence: as it was fitted with.
      batch_size: examples per call.

    Returns:
      Answers.

    Raises:
      TypeError: models are no pair of functions, `confidence` is none, something is
        traced, outputs are not floating, or confidences not (n,).
      ValueError: params are no pair, there are no examples, or outputs are not (batch,
        classes) of the same classes.

    Example:
      >>> fn = lambda params, x: x * params
      >>> inputs = np.float32([[5, 0], [0, 1]])
      >>> jc.distill.ensembles.answer((fn, fn), (1.0, -1.0), inputs, 0.9).asked
      array([False,  True])
    """
    caller = "answer"
    small, large = _models(caller, models)
    check_takes(caller, "confidence", confidence, 1, "For example ensembles.margin.")
    check_arrays(caller, "params", params)
    check_concrete(caller, "", params=params, inputs=inputs)
    _check_threshold(caller, threshold)
    n, size = count_of(caller, "inputs", inputs), check_count(caller, "batch_size", batch_size)
    small_params, large_params = _pair(caller, params)
    logits = _in_batches(_answering("small", small), small_params, inputs, np.arange(n), size)
    asked = ~(np.asarray(confidences_of(caller, confidence, jnp.asarray(logits))) >= threshold)
    if asked.any():
        fn = _answering("large", large, logits.shape[-1])
        logits[asked] = _in_batches(fn, large_params, inputs, np.flatnonzero(asked), size)
    return Answers(logits, asked)


def _answering(which: str, fn: Model, classes: int | None = None) -> Model:
    """The model whose answers are checked."""

    def answering(params: Params, inputs: PyTree) -> Array:
        n = count_of("answer", "inputs", inputs)
        return _answers("answer", which, fn(params, inputs), n, classes)

    return answering


def _in_batches(
    fn: Model, params: Params, inputs: PyTree, chosen: np.ndarray, size: int
) -> np.ndarray:
    """Logits of the chosen examples, in batches of one size."""
    run = jax.jit(fn)
    found = [run(params, batch) for batch, _ in in_batches(inputs, chosen, size)]
    return np.concatenate(found)[: len(chosen)]


def _answers(
    caller: str, which: str, logits: ArrayLike, count: int, classes: int | None = None
) -> Array:
    """A model's answers in float32; an error unless they are (count, classes)."""
    array = checked_logits(caller, f"answers of the {which} model", logits)
    if array.ndim != 2 or len(array) != count or classes not in (None, array.shape[1]):
        raise ValueError(
            f"{caller}(answers of the {which} model of shape {array.shape}) must be of shape "
            f"({count}, {classes or 'classes'}). Both models answer each example by logits of the "
            "same classes."
        )
    return array.astype(jnp.float32)


def _check_threshold(caller: str, threshold: ArrayLike) -> None:
    """Raises a ValueError unless it is a number; an infinity asks all, or none."""
    traced = isinstance(threshold, Tracer)
    if traced or not is_number(threshold) or not np.isinf(np.asarray(threshold, np.float32)):
        check_number(caller, "threshold", threshold)


def _models(caller: str, models: Any) -> tuple[Model, Model]:
    if not isinstance(models, tuple | list) or len(models) != 2 or not all(map(callable, models)):
        raise TypeError(
            f"{caller}(models={shown(models)}) must be a pair of models, fn(params, inputs): the "
            "small one and the large one."
        )
    return models[0], models[1]


def _pair(caller: str, params: Any) -> tuple[Params, Params]:
    if not isinstance(params, tuple | list) or len(params) != 2:
        raise ValueError(
            f"{caller}(params={shown(params)}) must be a pair, (small_params, large_params)."
        )
    return params[0], params[1]
