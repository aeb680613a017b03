"""Examples with targets as one value, for code that evaluates a model repeatedly."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxcompress.core.labels import check_ignore, counted
from jaxcompress.core.messages import shown
from jaxcompress.core.types import Model, Params, PyTree
from jaxcompress.validate.evaluate import CLASSIFIER, as_array, evaluate_each
from jaxcompress.validate.metrics.metric import Metric
from jaxcompress.validate.results import Evaluation


class Examples(NamedTuple):
    """Held-out examples with targets, and how to judge a model on them: see `evaluate`.

    Attributes:
      inputs: array, or tree of arrays, with first axis n, n at least 1.
      targets: what the metrics take: for a classifier labels (n,), integer in
        [0, classes).
      metrics: what to measure; the default is cross-entropy and accuracy.
      ignore: the label of examples to leave out, such as -100 for padding; of labels
        (n,). Of tokens the metrics leave out some.
      batch_size: examples per call; fewer when there are fewer.

    Example:
      >>> examples = jc.validate.Examples(jnp.eye(2), jnp.array([0, 1]))
      >>> classifier = lambda params, x: x @ params
      >>> examples.judge(classifier, jnp.eye(2)).accuracy
      1.0
    """

    inputs: PyTree
    targets: PyTree
    metrics: Sequence[Metric] = CLASSIFIER
    ignore: int | None = None
    batch_size: int = 256

    def counting(self) -> np.ndarray:
        """The positions of the examples whose label is not `ignore`.

        Raises:
          TypeError: some are to be left out, and targets are no integer labels.
          ValueError: some are to be left out, and labels are not (n,), or all are.
        """
        targets = as_array(self.targets)
        check_ignore("Examples", self.ignore)
        n = np.shape(jax.tree.leaves(targets)[0])[0]
        if self.ignore is None:
            return np.arange(n)
        if np.shape(targets) != (n,):
            raise ValueError(
                f"Examples(ignore={self.ignore}) leaves out examples by their label, and needs"
                f" targets of shape ({n},), not {shown(targets)}. Of tokens pass ignore= to the"
                " metric."
            )
        kept = np.flatnonzero(counted(targets, ignore=self.ignore))
        if not kept.size:
            raise ValueError(f"Examples(ignore={self.ignore}) leaves out all {n} examples.")
        return kept

    def judge(self, fn: Model, params: Params) -> Evaluation:
        """Evaluates a model on the examples that count: what `evaluate` gives."""
        return next(self.judge_each(fn, [params]))

    def judge_each(self, fn: Model, candidates: Iterable[Params]) -> Iterator[Evaluation]:
        """Evaluates a model with several params, compiled once where they are alike."""
        inputs, targets = self.inputs, as_array(self.targets)
        if self.ignore is not None:
            kept = self.counting()
            inputs, targets = jax.tree.map(lambda array: array[kept], (inputs, targets))
        size = self.batch_size
        return evaluate_each(fn, candidates, inputs, targets, self.metrics, batch_size=size)
