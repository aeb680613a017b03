"""Evaluates a model on many examples, in batches of one size.

Results are kept per example, see `results`; comparisons are in `compare`.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_concrete, check_count
from jaxcompress.core.kinds import check_function, check_numeric
from jaxcompress.core.labels import check_ignore
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Loss, Model, Params, PyTree
from jaxcompress.validate import metrics
from jaxcompress.validate.results import Evaluation, Losses

INSIDE = "Inside, validate.correct and validate.cross_entropy judge outputs."


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
      labels: (n,), integer in [0, classes); for other targets there is `evaluate_loss`.
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
            " For other targets take evaluate_loss, with a loss that gives a number per example."
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


def evaluate_loss(
    fn: Model,
    params: Params,
    inputs: PyTree,
    targets: PyTree,
    loss: Loss,
    *,
    batch_size: int = 256,
) -> Losses:
    """Any loss of any model, kept per example: of regression, of tokens, of a detector.

    Args:
      fn: model in evaluation mode, `fn(params, inputs) -> outputs`.
      params: as in `evaluate`.
      inputs: array, or tree of arrays, with first axis n, n at least 1.
      targets: array, or tree of arrays, with first axis n: numbers to regress on,
        labels of tokens (n, time).
      loss: `loss(outputs, targets) -> (n,)`, one finite number per example, the lower
        the better. An example is what is independent of others: of a sequence take the
        mean over its tokens.
      batch_size: examples per call; fewer when there are fewer.

    Returns:
      The losses of the n examples in their order, which `compare_losses` compares.

    Raises:
      TypeError: an input or a target has no first axis.
      ValueError: what `predict` raises; the loss is not one finite number per example.

    Example:
      >>> fn = lambda params, x: x @ params
      >>> squares = lambda outputs, targets: jnp.sum((outputs - targets) ** 2, axis=-1)
      >>> x, targets = jnp.eye(2), jnp.array([[1.0, 0.0], [0.0, 3.0]])
      >>> losses = jc.validate.evaluate_loss(fn, jnp.eye(2), x, targets, squares)
      >>> losses.mean_loss, losses.loss
      (2.0, array([0., 4.], dtype=float32))

      Of tokens, labels (n, time) and logits (n, time, classes):

      >>> hard_targets = jc.distill.outputs.hard_targets
      >>> of_tokens = lambda logits, labels: hard_targets(logits, labels).mean(-1)
      >>> labels = jnp.array([[0, 1], [1, 1]])
      >>> fn = lambda params, x: jnp.zeros((*x.shape, 2))
      >>> jc.validate.evaluate_loss(fn, {}, x, labels, of_tokens).mean_loss
      0.6931471824645996
    """
    check_function("evaluate_loss", "fn", fn, "It is the model, fn(params, inputs).")
    check_arrays("evaluate_loss", "params", params)
    check_function("evaluate_loss", "loss", loss, "It is loss(outputs, targets) -> (n,).")
    batch_size = check_count("evaluate_loss", "batch_size", batch_size)
    check_concrete("evaluate_loss", "Inside, call loss.", params=params, inputs=(inputs, targets))
    n, judged_on = _count("evaluate_loss", inputs), _count("evaluate_loss", targets, "targets")
    if judged_on != n:
        raise ValueError(
            f"evaluate_loss(targets of {judged_on} examples, inputs of {n}) needs the same in both."
        )
    size = min(batch_size, n)

    def judged(params: Params, batch: tuple[PyTree, PyTree]) -> Array:
        inputs, targets = batch
        losses = jnp.asarray(loss(fn(params, inputs), targets))
        if losses.shape != (size,):
            raise ValueError(
                f"evaluate_loss(loss=...) gives shape {losses.shape} for {size} examples; one "
                f"number per example has shape ({size},). Take the mean over every axis but the "
                "first."
            )
        return losses.astype(jnp.float32)

    return Losses(predict(judged, params, (inputs, targets), batch_size=batch_size))


def _count(caller: str, tree: PyTree, argument: str = "inputs") -> int:
    leaves = jax.tree.leaves(tree)
    if not leaves or any(np.ndim(leaf) == 0 for leaf in leaves):
        raise TypeError(f"{caller}({argument}) needs arrays whose first axis is the examples'.")
    counts = {np.shape(leaf)[0] for leaf in leaves}
    if len(counts) > 1:
        raise ValueError(
            f"{caller}({argument}): arrays disagree on the number of examples: {sorted(counts)}."
        )
    if counts == {0}:
        raise ValueError(f"{caller}({argument}) holds no examples.")
    return counts.pop()


def _outputs(outputs: PyTree, size: int) -> PyTree:
    for leaf in jax.tree.leaves(outputs):
        if leaf.shape[:1] != (size,):
            raise ValueError(
                f"predict(fn): an output has shape {leaf.shape} for {size} examples;"
                " its first axis must be the examples'."
            )
    return jax.device_get(outputs)
