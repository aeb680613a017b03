"""Cascades: a small model answers, and a large one where the small one is unsure."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxcompress.core.batches import count_of, whole_rows
from jaxcompress.core.checks import (
    check_concrete,
    check_count,
    check_number,
    check_size,
    is_number,
)
from jaxcompress.core.kinds import check_takes
from jaxcompress.core.labels import check_classes, class_labels
from jaxcompress.core.messages import shown
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Model, Params, PyTree
from jaxcompress.distill.checks import check_same_shape
from jaxcompress.distill.ensembles.confidences import Confidence, largest_probability
from jaxcompress.distill.outputs.arrays import as_float32
from jaxcompress.distill.outputs.logits import checked_logits


class CascadeFit(NamedTuple):
    """A threshold of confidence, and what it gave on the examples it was fitted to.

    Attributes:
      threshold: the large model answers where the small one's confidence is below.
      share: of the examples, in [0, 1], that the large model answered.
      accuracy: of the cascade, in [0, 1].
      small_accuracy: of the small model alone.
      large_accuracy: of the large model alone.
    """

    threshold: float
    share: float
    accuracy: float
    small_accuracy: float
    large_accuracy: float

    def operations(self, small: float, large: float) -> float:
        """Expected operations of an example, from those of each model.

        Example:
          >>> fit = jc.distill.ensembles.CascadeFit(0.9, 0.25, 0.98, 0.95, 0.98)
          >>> fit.operations(small=100, large=1000)
          350.0
        """
        return small + self.share * large


def fit_cascade(
    small_logits: ArrayLike,
    large_logits: ArrayLike,
    labels: ArrayLike,
    *,
    tolerated: float = 0.0,
    confidence: Confidence = largest_probability,
) -> CascadeFit:
    """Finds the threshold that asks the large model least often and loses no accuracy.

    The smallest share of examples is taken such that with it, and with every larger
    one, the cascade is at least as accurate as the large model less `tolerated`: a
    share that was merely lucky is passed over. Examples of equal confidence go
    together.

    Args:
      small_logits: (n, classes), floating, of validation data that neither model was
        trained on.
      large_logits: (n, classes), floating, of the same examples.
      labels: (n,), integer.
      tolerated: accuracy that may be lost, at least 0; 0.001 is 0.1 point.
      confidence: of the small model: `largest_probability`, `margin`,
        `negative_entropy`, or any function of its logits.

    Returns:
      CascadeFit. Its share is 0 where the small model alone is accurate enough.

    Raises:
      TypeError: logits are not floating, labels not integer, something is traced, or
        `confidence` is no function that gives (n,).
      ValueError: shapes do not fit, `tolerated` is negative, a label is no class, or a
        confidence or a logit of the large model is NaN.

    Example:
      >>> small = jnp.array([[3.0, 0.0], [0.1, 0.0], [0.0, 2.0]])
      >>> large = jnp.array([[3.0, 0.0], [0.0, 4.0], [0.0, 2.0]])
      >>> fit = jc.distill.ensembles.fit_cascade(small, large, jnp.array([0, 1, 1]))
      >>> round(fit.share, 2), fit.accuracy, fit.small_accuracy < fit.large_accuracy
      (0.33, 1.0, True)

    Also known as: early-exit cascade, model cascade, confidence threshold, deferral.

    Source: Wang et al. 2018, "IDK Cascades", arXiv:1706.00885, section 3. Differs: the
    threshold also holds for every larger share.
    """
    caller = "fit_cascade"
    check_concrete(caller, "", small=small_logits, large=large_logits, labels=labels)
    small = checked_logits(caller, "small_logits", small_logits)
    large = checked_logits(caller, "large_logits", large_logits)
    check_same_shape(caller, small_logits=small, large_logits=large)
    labels = np.asarray(class_labels(caller, labels))
    if small.ndim != 2 or labels.shape != small.shape[:1] or not labels.size:
        raise ValueError(
            f"{caller}(small_logits of shape {small.shape}, labels of shape {labels.shape}) needs "
            "the shapes (n, classes) and (n,)."
        )
    check_size(caller, "tolerated", tolerated)
    check_takes(caller, "confidence", confidence, 1, "For example ensembles.margin.")
    check_classes(caller, labels, small.shape[-1])
    sure = np.asarray(_confidences(caller, confidence, small))
    for argument, unknown in {
        "confidence": np.isnan(sure),
        "large_logits": np.isnan(np.asarray(large, np.float32)).any(axis=-1),
    }.items():
        if unknown.any():
            raise ValueError(f"{caller}({argument}) is NaN for example {unknown.argmax()}.")
    of_small, of_large = (np.asarray(jnp.argmax(logits, -1)) == labels for logits in (small, large))
    return _fitted(sure, of_small, of_large, tolerated)


def _fitted(sure: np.ndarray, small: np.ndarray, large: np.ndarray, tolerated: float) -> CascadeFit:
    """The fit from the small model's confidence, and who is right on which example."""
    order = np.argsort(sure, kind="stable")
    gains = np.cumsum(large[order].astype(int) - small[order])
    # counts[k]: right answers of the cascade where the large model answers k examples.
    counts = small.sum() + np.concatenate([[0], gains])
    enough = counts >= large.sum() - tolerated * len(sure) - 1e-9
    from_here_on = np.logical_and.accumulate(enough[::-1])[::-1]
    ranked = sure[order]
    splits = np.concatenate([[True], ranked[1:] > ranked[:-1], [True]])
    asked = int(np.argmax(from_here_on & splits))
    threshold = ranked[asked] if asked < len(sure) else np.inf
    return CascadeFit(
        float(threshold),
        asked / len(sure),
        float(counts[asked] / len(sure)),
        float(small.mean()),
        float(large.mean()),
    )


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
        logits = _answers(caller, "small", small(small_params, inputs), n)
        if len(logits) < capacity:
            raise ValueError(
                f"cascade(capacity={capacity}) is more than the {len(logits)} examples of the "
                "batch. Lower it."
            )
        sure = _confidences(caller, confidence, logits)
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
    asked = ~(np.asarray(_confidences(caller, confidence, jnp.asarray(logits))) >= threshold)
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
    """Logits of the chosen examples; the last batch repeats its last example."""
    run, rows, size = jax.jit(fn), whole_rows(inputs), min(size, len(chosen))
    found = []
    for start in range(0, len(chosen), size):
        indices = chosen[np.minimum(np.arange(start, start + size), len(chosen) - 1)]
        found.append(run(params, jax.tree.map(lambda array, at=indices: array[at], rows)))
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


def _confidences(caller: str, confidence: Confidence, logits: Array) -> Array:
    """How sure each answer is, in float32."""
    sure = confidence(logits)
    floating = jnp.issubdtype(getattr(sure, "dtype", np.dtype(bool)), jnp.floating)
    if not floating or sure.shape != logits.shape[:-1]:
        raise TypeError(
            f"{caller}(confidence) gives {shown(sure)} for logits of shape {logits.shape}, which "
            f"must be floating, of shape {logits.shape[:-1]}."
        )
    return jnp.asarray(sure, jnp.float32)


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
