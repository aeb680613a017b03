"""How good each answer is: one number per example, never reduced.

Means, intervals and tests over examples live in `intervals` and `compare`; losses to
train on live in `distill`. Shapes and dtypes are checked always, values only where they
are known (not under `jax.jit`).
"""

import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxcompress.core.types import Array


def correct(logits: ArrayLike, labels: ArrayLike) -> Array:
    """Whether the highest logit is the label's.

    Args:
      logits: (n, classes), floating; among equal logits the earlier class counts.
      labels: (n,), integer in [0, classes).

    Returns:
      (n,) bool.

    Raises:
      TypeError: logits are not floating or labels are not integer.
      ValueError: a shape does not fit, a label is out of range, a logit is NaN or +inf.

    Example:
      >>> jc.validate.correct(jnp.array([[2.0, 1.0], [2.0, 1.0]]), jnp.array([0, 1]))
      Array([ True, False], dtype=bool)
    """
    logits = _checked_logits("correct", "logits", logits)
    labels = _checked_labels("correct", labels, logits)
    return _classes(logits) == labels


def cross_entropy(logits: ArrayLike, labels: ArrayLike) -> Array:
    """Minus the log probability, in nats, that the model gives to the label.

        loss_i = log(sum_j exp(logits_ij)) - logits_i,label_i

    Args:
      logits: (n, classes), floating; -inf rules a class out.
      labels: (n,), integer in [0, classes).

    Returns:
      (n,) float32, computed in float32, >= 0 up to rounding.

    Raises:
      TypeError: logits are not floating or labels are not integer.
      ValueError: a shape does not fit, a label is out of range, a logit is NaN or +inf.

    Example:
      >>> jc.validate.cross_entropy(jnp.zeros((1, 4)), jnp.array([3])) == jnp.log(4)
      Array([ True], dtype=bool)
    """
    logits = _checked_logits("cross_entropy", "logits", logits)
    labels = _checked_labels("cross_entropy", labels, logits)
    return optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), labels)


def agreement(logits: ArrayLike, other_logits: ArrayLike) -> Array:
    """Whether two models answer the same class, right or wrong.

    Args:
      logits: (n, classes), floating.
      other_logits: (n, classes), floating; the dtype may differ.

    Returns:
      (n,) bool.

    Raises:
      TypeError: one of them is not floating.
      ValueError: the shapes differ, or a logit is NaN or +inf.

    Example:
      >>> jc.validate.agreement(jnp.array([[2.0, 1.0]]), jnp.array([[0.2, 0.1]]))
      Array([ True], dtype=bool)
    """
    logits = _checked_logits("agreement", "logits", logits)
    other_logits = _checked_logits("agreement", "other_logits", other_logits)
    if logits.shape != other_logits.shape:
        raise ValueError(
            f"agreement(logits of shape {logits.shape}, other_logits of shape"
            f" {other_logits.shape}): both need one shape (n, classes)."
        )
    return _classes(logits) == _classes(other_logits)


def _classes(logits: Array) -> Array:
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)


def _checked_logits(callable_name: str, argument: str, logits: ArrayLike) -> Array:
    logits = jnp.asarray(logits)
    if not jnp.issubdtype(logits.dtype, jnp.floating):
        raise TypeError(
            f"{callable_name}({argument} of dtype {logits.dtype}) needs floating logits."
        )
    if logits.ndim != 2 or logits.shape[1] == 0:
        raise ValueError(
            f"{callable_name}({argument} of shape {logits.shape}) needs the shape (n, classes)."
        )
    if _known(logits):
        bad = np.flatnonzero(jnp.any(jnp.isnan(logits) | jnp.isposinf(logits), axis=-1))
        if bad.size:
            raise ValueError(
                f"{callable_name}({argument}): {bad.size} of {logits.shape[0]} rows hold NaN or"
                f" +inf, the first is row {bad[0]}. Look for an overflow in the model."
            )
    return logits


def _checked_labels(callable_name: str, labels: ArrayLike, logits: Array) -> Array:
    labels = jnp.asarray(labels)
    n, classes = logits.shape
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"{callable_name}(labels of dtype {labels.dtype}) needs integer labels.")
    if labels.shape != (n,):
        raise ValueError(
            f"{callable_name}(labels of shape {labels.shape}) needs the shape ({n},), one label"
            f" per row of logits."
        )
    if _known(labels):
        bad = np.flatnonzero((labels < 0) | (labels >= classes))
        if bad.size:
            raise ValueError(
                f"{callable_name}(labels): {bad.size} of {n} labels are outside [0, {classes}),"
                f" the first is labels[{bad[0]}] = {labels[bad[0]]}."
            )
    return labels.astype(jnp.int32)


def _known(array: Array) -> bool:
    return not isinstance(array, Tracer)
