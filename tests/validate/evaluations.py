"""Evaluations of a classifier with answers and losses that a test sets by hand."""

import numpy as np

from jaxcompress.validate import Evaluation, Score, leakage, metrics


def classifier(correct, loss=None, *, labels=1, first=0) -> Evaluation:
    """Predictions are the label where right and the class before where wrong.

    The inputs are the numbers from `first` on.
    """
    correct = np.asarray(correct, bool)
    labels = np.broadcast_to(labels, correct.shape)
    loss = np.zeros(correct.size) if loss is None else loss
    answers = {"predicted": labels - ~correct, "label": labels}
    scores = {
        "loss": Score(metrics.cross_entropy(), np.asarray(loss, np.float32)),
        "accuracy": Score(metrics.accuracy(), answers),
    }
    inputs = first + np.arange(correct.size)
    return Evaluation(scores, leakage.fingerprints(inputs), leakage.fingerprints(labels))
