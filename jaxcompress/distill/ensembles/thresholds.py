"""Thresholds of confidence, below which a cascade asks its large model."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_concrete, check_size
from jaxcompress.core.kinds import check_takes
from jaxcompress.core.labels import check_classes, class_labels
from jaxcompress.distill.checks import check_same_shape
from jaxcompress.distill.ensembles.confidences import (
    Confidence,
    confidences_of,
    largest_probability,
)
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

    Not for: more accuracy than the large model has, for which `mixture` combines both.

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
    sure = np.asarray(confidences_of(caller, confidence, small))
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
