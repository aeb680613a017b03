"""A recipe and how its models are judged."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from jax.core import Tracer

from jaxcompress.core.kinds import check_iterable, check_kind
from jaxcompress.core.models import check_model
from jaxcompress.core.types import Array, Fit, Model, PyTree
from jaxcompress.validate.evaluate import CLASSIFIER, unusable
from jaxcompress.validate.metrics.metric import Mean, Metric, mean

USABLE = "outputs/usable"
"""The value that says in a program which examples have outputs that are numbers."""
Evaluate = Callable[[PyTree, PyTree], dict[str, Array] | Array]
"""Judges a model: (model, examples) to values by name, each with first axis n."""


class Candidate(NamedTuple):
    """A recipe: how a model is made from training examples, and how it is judged.

    Attributes:
      fit: `fit(examples, weights, key) -> model`: trains, and compresses too where the
        compressed model is what will be used. Weights (n,) float32 are 1 for an example
        to train on and 0 for one that only fills up the array.
      evaluate: `evaluate(model, examples) -> values`, a dict of arrays with first axis
        n, such as the losses of the examples; one array counts as {"score": array}.
    """

    fit: Fit
    evaluate: Evaluate


def evaluating(fn: Model, metrics: Sequence[Metric] = CLASSIFIER) -> Evaluate:
    """An `evaluate` that judges params by any of `validate.metrics`.

    Args:
      fn: model in evaluation mode, `fn(params, inputs) -> outputs`; of compressed
        params `materialized(fn)`.
      metrics: of different names; the default is cross-entropy, by the name "loss", and
        accuracy, of logits (n, classes) and labels (n,).

    Returns:
      `evaluate(params, examples)` of examples (inputs, targets). Metrics that are means
      have a value per example, and so scores. Of others, such as an AUC, statistics are
      kept, of which `CrossValidation.by_metric` gives the figures. Traced, it also says
      which outputs are numbers, for `cross_validate`, which keeps it no further.

    Raises:
      TypeError: `fn` is no function, or a metric none.
      ValueError: there is no metric, or two have one name.

    Example:
      >>> model = lambda params, x: x @ params
      >>> evaluate = jc.validate.cross_validation.evaluating(model)
      >>> evaluate(jnp.eye(2), (jnp.eye(2), jnp.array([0, 0])))["accuracy"]
      Array([ True, False], dtype=bool)
    """
    check_model("evaluating", fn, 1)
    check_iterable("evaluating", "metrics", metrics, "Such as [validate.metrics.accuracy()].")
    metrics = tuple(metrics)
    for each in metrics:
        check_kind("evaluating", "metrics", each, Metric, "Such as metrics.accuracy().")
    if not metrics or len({each.name for each in metrics}) < len(metrics):
        names = ", ".join(each.name for each in metrics)
        raise ValueError(f"evaluating(metrics={names or 'none'}) needs metrics of different names.")

    def evaluate(params: PyTree, examples: PyTree) -> dict[str, Array]:
        inputs, targets = examples
        outputs = fn(params, inputs)
        values: dict[str, Array] = {}
        for metric in metrics:
            values |= _values(metric, metric.per_example(outputs, targets))
        if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(outputs)):
            # NaN gets a class like any other output, so that a metric cannot tell.
            values[USABLE] = ~unusable(outputs, len(jax.tree.leaves(targets)[0]))
        return values

    return evaluate


def _values(metric: Metric, statistics: Any) -> dict[str, Any]:
    if isinstance(metric.summary, Mean):
        # The mean of plain statistics asks for NumPy, which they need not be here.
        plain = metric.summary is mean
        return {metric.name: statistics if plain else metric.summary.values(statistics)}
    if isinstance(statistics, Mapping):
        return {f"{metric.name}/{part}": each for part, each in statistics.items()}
    return {metric.name: statistics}
