"""Labelled examples as one value, for code that evaluates a model repeatedly."""

from typing import NamedTuple

from jaxcompress.core.types import Loss, Model, Params, PyTree
from jaxcompress.validate.evaluate import evaluate, evaluate_loss
from jaxcompress.validate.results import Evaluation, Losses


class Examples(NamedTuple):
    """Held-out examples with labels, and how a judge reads them: see `evaluate`.

    Attributes:
      inputs: array, or tree of arrays, with first axis n, n at least 1.
      labels: (n,), integer in [0, classes); with a `loss` what it takes.
      ignore: the label of examples to leave out, such as -100 for padding.
      batch_size: examples per call; fewer when there are fewer.
      loss: `loss(outputs, labels) -> (n,)`, one number per example, for what is no
        classifier; None for cross-entropy and accuracy.

    Example:
      >>> examples = jc.validate.Examples(jnp.eye(2), jnp.array([0, 1]))
      >>> classifier = lambda params, x: x @ params
      >>> examples.judge(classifier, jnp.eye(2)).accuracy
      1.0
    """

    inputs: PyTree
    labels: PyTree
    ignore: int | None = None
    batch_size: int = 256
    loss: Loss | None = None

    def judge(self, fn: Model, params: Params) -> Evaluation | Losses:
        """Evaluates a model: what `evaluate` gives, or `evaluate_loss` with a loss."""
        if self.loss is None:
            return evaluate(
                fn,
                params,
                self.inputs,
                self.labels,
                ignore=self.ignore,
                batch_size=self.batch_size,
            )
        return evaluate_loss(
            fn, params, self.inputs, self.labels, self.loss, batch_size=self.batch_size
        )
