"""Evaluates a model on many examples, in batches of one size.

Per-example results are kept, because a paired comparison needs them; the comparison
itself is in `compare`.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_concrete, check_count
from jaxcompress.core.kinds import check_function, check_numeric
from jaxcompress.core.labels import check_ignore
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Model, Params, PyTree
from jaxcompress.validate import metrics
from jaxcompress.validate.intervals import mean_interval, wilson

INSIDE = "Inside, validate.correct and validate.cross_entropy judge outputs."


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """A classifier's predictions and losses per example, and their means.

    Invariants:
      - The three arrays are NumPy, of shape (n,), n at least 1, in the order
        of the examples.
      - `correct` is bool; `loss` is finite, in nats; `predictions` are integer classes.
      - Figures are computed from the arrays; intervals have confidence 0.95.

    Args:
      correct: (n,) bool, whether the answer is the label.
      loss: (n,) float32, cross-entropy.
      predictions: (n,) integer, the class answered.
    """

    correct: np.ndarray
    loss: np.ndarray
    predictions: np.ndarray

    def __post_init__(self):
        shapes = {np.shape(value) for value in (self.correct, self.loss, self.predictions)}
        if len(shapes) > 1 or self.correct.ndim != 1 or not self.correct.size:
            raise ValueError(
                f"Evaluation(correct {np.shape(self.correct)}, loss {np.shape(self.loss)},"
                f" predictions {np.shape(self.predictions)}): all need one shape (n,), n >= 1."
            )
        if self.correct.dtype != np.bool_:
            raise TypeError(f"Evaluation(correct of dtype {self.correct.dtype}) must be bool.")
        bad = np.flatnonzero(~np.isfinite(self.loss))
        if bad.size:
            raise ValueError(
                f"Evaluation(loss): {bad.size} of {self.n} losses are not finite, the first is"
                f" loss[{bad[0]}] = {self.loss[bad[0]]}. The model rules out the label there."
            )

    @property
    def n(self) -> int:
        """Number of examples."""
        return self.correct.size

    @property
    def accuracy(self) -> float:
        """Fraction of examples answered correctly, in [0, 1]."""
        return float(self.correct.mean())

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """Wilson's interval of the accuracy."""
        return wilson(int(self.correct.sum()), self.n)

    @property
    def mean_loss(self) -> float:
        """Mean cross-entropy, in nats."""
        return float(self.loss.mean(dtype=np.float64))

    @property
    def mean_loss_interval(self) -> tuple[float, float]:
        """Student's interval of the mean loss; needs two examples."""
        return mean_interval(self.loss)

    def to_json(self) -> dict[str, Any]:
        """The arrays as lists of plain numbers; `from_json` reads them back exactly."""
        return {
            "correct": self.correct.tolist(),
            "loss": self.loss.tolist(),
            "predictions": self.predictions.tolist(),
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Evaluation":
        """The evaluation that `to_json` described."""
        return cls(
            correct=np.asarray(record["correct"], np.bool_),
            loss=np.asarray(record["loss"], np.float32),
            predictions=np.asarray(record["predictions"], np.int32),
        )


def predict(fn: Model, params: Params, inputs: PyTree, *, batch_size: int = 256) -> PyTree:
    """The outputs of all examples, computed in jitted batches of one size.

    The last batch is filled up by repeating the last example, so that `fn` is traced
    once; the surplus is dropped. Right for any `fn` that treats examples apart, as
    evaluation mode does.

    Args:
      fn: model in evaluation mode, `fn(params, inputs) -> outputs`, a tree of arrays
        whose first axis is the examples'. For a model of several inputs pass a tuple
        and `lambda params, inputs: fn(params, *inputs)`.
      params: tree of arrays; of compressed leaves where `fn` takes them, as
        `materialized(fn)` and what `quantize.run` gives do.
      inputs: array, or tree of arrays, with first axis n, n at least 1.
      batch_size: examples per call; fewer when there are fewer.

    Returns:
      The outputs as NumPy arrays with first axis n.

    Raises:
      TypeError: an input has no first axis.
      ValueError: there are no examples, inputs disagree on how many, `batch_size` is
        no count, or an output lacks the examples' axis.

    Example:
      >>> double = lambda params, x: params * x
      >>> jc.validate.predict(double, jnp.float32(2), jnp.arange(3.0), batch_size=2)
      array([0., 2., 4.], dtype=float32)
    """
    check_function("predict", "fn", fn, "It is the model, fn(params, inputs).")
    check_arrays("predict", "params", params)
    check_concrete("predict", "Inside, call fn itself.", params=params, inputs=inputs)
    n = _count("predict", inputs)
    batch_size = check_count("predict", "batch_size", batch_size)
    run = jax.jit(fn)
    batches = [
        _outputs(run(params, batch), size)
        for batch, size in in_batches(inputs, np.arange(n), batch_size)
    ]
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:n], *batches)


def in_batches(inputs: PyTree, chosen: np.ndarray, batch_size: int) -> Iterator[tuple[PyTree, int]]:
    """Batches of one size of the chosen examples, and that size.

    The last is filled up by repeating its last example.
    """
    size = min(batch_size, chosen.size)
    for start in range(0, chosen.size, size):
        indices = chosen[np.minimum(np.arange(start, start + size), chosen.size - 1)]
        yield jax.tree.map(lambda array, indices=indices: array[indices], inputs), size


def evaluate(
    fn: Model,
    params: Params,
    inputs: PyTree,
    labels: ArrayLike,
    *,
    ignore: int | None = None,
    batch_size: int = 256,
) -> Evaluation:
    """Accuracy and cross-entropy of a classifier, kept per example.

    Args:
      fn: model in evaluation mode, `fn(params, inputs) -> logits` (n, classes).
      params: tree of arrays; of compressed leaves where `fn` takes them, as
        `materialized(fn)` and what `quantize.run` gives do.
      inputs: array, or tree of arrays, with first axis n, n at least 1.
      labels: (n,), integer in [0, classes).
      ignore: the label of examples to leave out, such as -100 for padding.
      batch_size: examples per call; fewer when there are fewer.

    Returns:
      The evaluation of the n examples in their order, without those left out.

    Raises:
      TypeError: the outputs are not one floating array, or labels are not integer.
      ValueError: what `predict` raises; shapes that do not fit; a label out of range;
        all examples are left out; NaN or +inf among the logits.

    Example:
      >>> classifier, labels = lambda params, x: x @ params, jnp.array([0, 1])
      >>> result = jc.validate.evaluate(classifier, jnp.eye(2), jnp.eye(2), labels)
      >>> result.accuracy, result.n
      (1.0, 2)
    """
    check_function("evaluate", "fn", fn, "It is the model, fn(params, inputs).")
    check_arrays("evaluate", "params", params)
    check_concrete("evaluate", INSIDE, params=params, inputs=inputs, labels=labels)
    n = _count("evaluate", inputs)
    check_numeric("evaluate", "labels", labels)
    check_ignore("evaluate", ignore)
    check_count("evaluate", "batch_size", batch_size)
    if np.shape(labels) != (n,):
        raise ValueError(
            f"evaluate(labels of shape {np.shape(labels)}) needs the shape ({n},), one per example."
        )
    counts = np.asarray(metrics.counted(labels, ignore=ignore))
    if not counts.any():
        raise ValueError(f"evaluate(ignore={ignore}) leaves out all {n} examples.")
    logits = predict(fn, params, inputs, batch_size=batch_size)
    if not isinstance(logits, np.ndarray):
        raise TypeError(
            f"evaluate(fn): the outputs are a {type(logits).__name__}, not one array of logits."
            " Wrap fn so that it returns the logits alone."
        )
    logits, labels = logits[counts], np.asarray(labels)[counts]
    return Evaluation(
        correct=np.asarray(metrics.correct(logits, labels)),
        loss=np.asarray(metrics.cross_entropy(logits, labels)),
        predictions=logits.argmax(axis=-1).astype(np.int32),
    )


def _count(callable_name: str, inputs: PyTree) -> int:
    leaves = jax.tree.leaves(inputs)
    if not leaves or any(np.ndim(leaf) == 0 for leaf in leaves):
        raise TypeError(f"{callable_name}(inputs) needs arrays whose first axis is the examples'.")
    counts = {np.shape(leaf)[0] for leaf in leaves}
    if len(counts) > 1:
        raise ValueError(
            f"{callable_name}(inputs): arrays disagree on the number of examples: {sorted(counts)}."
        )
    if counts == {0}:
        raise ValueError(f"{callable_name}(inputs) holds no examples.")
    return counts.pop()


def _outputs(outputs: PyTree, size: int) -> PyTree:
    for leaf in jax.tree.leaves(outputs):
        if leaf.shape[:1] != (size,):
            raise ValueError(
                f"predict(fn): an output has shape {leaf.shape} for {size} examples;"
                " its first axis must be the examples'."
            )
    return jax.device_get(outputs)
