"""Evaluates a model on many examples, in batches of one size.

Results are kept per example, see `results`; comparisons are in `compare`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.batches import count_of, in_batches, whole_rows
from jaxcompress.core.checks import check_concrete, check_count, check_fits, is_number
from jaxcompress.core.finite import NotFiniteError, not_finite
from jaxcompress.core.kinds import check_iterable, check_kind
from jaxcompress.core.models import check_model
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Model, Params, PyTree
from jaxcompress.validate.leakage.calibration import as_traced
from jaxcompress.validate.leakage.fingerprints import digests
from jaxcompress.validate.metrics.classes import accuracy
from jaxcompress.validate.metrics.metric import Metric, check_structure
from jaxcompress.validate.metrics.probabilities import cross_entropy
from jaxcompress.validate.results import Evaluation
from jaxcompress.validate.scores import Score

INSIDE = "Inside, validate.correct and validate.cross_entropy judge outputs."
CLASSIFIER = (cross_entropy(), accuracy())
"""The metrics of a classifier: outputs are logits, targets labels."""


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
    check_model("predict", fn, 1)
    check_arrays("predict", "params", params)
    check_concrete("predict", "Inside, call fn itself.", params=params, inputs=inputs)
    n = count_of("predict", "inputs", inputs)
    check_fits("predict", inputs=inputs)
    batch_size = check_count("predict", "batch_size", batch_size)
    run = jax.jit(fn)
    batches = [
        _outputs(run(params, batch), size)
        for batch, size in in_batches(inputs, np.arange(n), batch_size)
    ]
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:n], *batches)


def evaluate(
    fn: Model,
    params: Params,
    inputs: PyTree,
    targets: PyTree,
    metrics: Sequence[Metric] = CLASSIFIER,
    *,
    batch_size: int = 256,
) -> Evaluation:
    """Judges a model by any metrics, in batches, and keeps what they need per example.

    Metrics are called on shapes of the outputs first, so that targets that do not fit
    are refused before anything is computed.

    Args:
      fn: model in evaluation mode, `fn(params, inputs) -> outputs`, a tree of arrays
        with first axis n; for the default metrics logits (n, classes).
      params: tree of arrays; of compressed leaves where `fn` takes them, as
        `materialized(fn)` and what `quantize.run` gives do.
      inputs: array, or tree of arrays, with first axis n, n at least 1.
      targets: array, or tree of arrays, with first axis n: labels (n,), integer in
        [0, classes), or what the metrics take.
      metrics: what to measure, of different names; the default is cross-entropy, by the
        name "loss", and accuracy.
      batch_size: examples per call; fewer when there are fewer.

    Returns:
      The evaluation of the n examples in their order. Examples whose label stands for
      none are left out before, by `counted` or by `Examples(ignore=...)`.

    Raises:
      TypeError: what is no model, array, label or metric.
      ValueError: what `predict` raises; shapes that do not fit; a label out of range;
        outputs hold NaN or +inf, or a metric's statistics
        are not finite: the message names the first example, and the inputs or targets
        where these are not finite; a metric is not defined for these examples, as an
        AUC is not for one class.

    Example:
      >>> classifier, labels = lambda params, x: x @ params, jnp.array([0, 1])
      >>> result = jc.validate.evaluate(classifier, jnp.eye(2), jnp.eye(2), labels)
      >>> result.accuracy, result.n
      (1.0, 2)
      >>> low, high = result["accuracy"].interval()
      >>> round(low, 2), high
      (0.18, 1.0)
    """
    candidates = [params]
    return next(evaluate_each(fn, candidates, inputs, targets, metrics, batch_size=batch_size))


def evaluate_each(
    fn: Model,
    candidates: Iterable[Params],
    inputs: PyTree,
    targets: PyTree,
    metrics: Sequence[Metric] = CLASSIFIER,
    *,
    batch_size: int = 256,
) -> Iterator[Evaluation]:
    """What `evaluate` gives for several params of one model, on the same examples.

    Compiled once where the params have one structure, with the same shapes and dtypes.
    """
    check_model("evaluate", fn, 1)
    metrics = _checked_metrics("evaluate", metrics)
    check_count("evaluate", "batch_size", batch_size)
    check_concrete("evaluate", INSIDE, inputs=inputs, targets=targets)
    targets = as_array(targets)
    n = _count(inputs, targets)
    targets = jax.tree.map(np.asarray, targets)
    size = min(batch_size, n)
    # One trace for the shapes and for the program.
    fn = jax.jit(fn)

    def judged(params: Params, batch: tuple[PyTree, PyTree]) -> PyTree:
        inputs, targets = batch
        outputs = fn(params, inputs)
        return unusable(outputs, size), {
            each.name: each.measured(outputs, targets) for each in metrics
        }

    marks: tuple[Any, ...] = ()
    for params in candidates:
        check_arrays("evaluate", "params", params)
        check_concrete("evaluate", INSIDE, params=params)
        if not marks:
            _check_metrics(jax.eval_shape(fn, params, _first(inputs, size)), targets, metrics, size)
            check_fits("evaluate", inputs=inputs, targets=targets)
            arrays = jax.tree.map(np.asarray, inputs)
            marks = digests(arrays, as_traced), digests(targets, as_traced)
        bad, statistics = predict(judged, params, (inputs, targets), batch_size=batch_size)
        _check_usable(bad, inputs)
        try:
            scores = {each.name: Score(each, statistics[each.name]) for each in metrics}
        except NotFiniteError as error:
            if said := not_finite("targets", targets):
                raise NotFiniteError(f"evaluate(targets): {said}") from error
            raise
        yield Evaluation(scores, *marks)


def _count(inputs: PyTree, targets: PyTree) -> int:
    """The number of examples."""
    n, judged_on = count_of("evaluate", "inputs", inputs), count_of("evaluate", "targets", targets)
    if judged_on != n:
        raise ValueError(
            f"evaluate(targets of {judged_on} examples, inputs of {n}) needs the same in both."
        )
    return n


def _check_usable(bad: np.ndarray, inputs: PyTree) -> None:
    if bad.any():
        said = not_finite("inputs", inputs, among=bad)
        raise NotFiniteError(
            f"evaluate(fn): the outputs of {bad.sum()} of {len(bad)} examples hold NaN or +inf,"
            f" the first is example {bad.argmax()}. {said or 'Look for an overflow in the model.'}"
        )


def _checked_metrics(caller: str, metrics: Sequence[Metric]) -> tuple[Metric, ...]:
    mend = "Pass a list, for example [validate.metrics.accuracy()]."
    check_iterable(caller, "metrics", metrics, mend)
    metrics = tuple(metrics)
    for each in metrics:
        check_kind(caller, "metrics", each, Metric, "Make one of a function with metrics.mean_of.")
    names = [each.name for each in metrics]
    twice = [name for name in names if names.count(name) > 1]
    if twice or not names:
        raise ValueError(
            f"{caller}(metrics of names {names}) needs one metric or more, each of another name."
            " Rename one with dataclasses.replace(metric, name=...)."
        )
    return metrics


def _check_metrics(outputs: PyTree, targets: PyTree, metrics: Sequence[Metric], size: int) -> None:
    """Calls each metric on shapes of all outputs and on the targets themselves.

    So a metric sees which labels there are, which it cannot in the jitted program.
    """
    _check_axis(outputs, size)
    n = len(jax.tree.leaves(targets)[0])
    shapes = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((n, *leaf.shape[1:]), leaf.dtype), outputs
    )
    for each in metrics:
        found = jax.eval_shape(
            lambda outputs, each=each: each.per_example(outputs, targets), shapes
        )
        check_structure(each.name, found)
        given = {leaf.shape[0] for leaf in jax.tree.leaves(found)}
        if given != {n}:
            raise ValueError(
                f"{each.name}: per_example gives statistics of {given} examples for {n}."
            )


def as_array(targets: PyTree) -> PyTree:
    """A list of numbers is one array of labels, and no tree of numbers."""
    numbers = isinstance(targets, list) and all(map(is_number, targets))
    return np.asarray(targets) if numbers else targets


def _first(inputs: PyTree, size: int) -> PyTree:
    return jax.tree.map(lambda array: array[:size], whole_rows(inputs))


def unusable(outputs: PyTree, size: int) -> Array:
    """Whether an output of each example is NaN or +inf; -inf rules a class out."""
    bad = jnp.zeros(size, bool)
    for leaf in jax.tree.leaves(outputs):
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            wrong = jnp.isnan(leaf) | (leaf == jnp.inf)
            bad |= wrong.reshape(size, -1).any(axis=1)
    return bad


def _outputs(outputs: PyTree, size: int) -> PyTree:
    _check_axis(outputs, size)
    return jax.device_get(outputs)


def _check_axis(outputs: PyTree, size: int) -> None:
    for leaf in jax.tree.leaves(outputs):
        if leaf.shape[:1] != (size,):
            raise ValueError(
                f"predict(fn): an output has shape {leaf.shape} for {size} examples;"
                " its first axis must be the examples'."
            )
