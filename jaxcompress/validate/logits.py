"""Logits judged example by example, never reduced.

Figures over examples live in `metrics`; losses to train on live in `distill`. Shapes
and dtypes are checked always, values only where they are known (not under `jax.jit`).
"""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxcompress.core.checks import KnownValueError
from jaxcompress.core.finite import NotFiniteError
from jaxcompress.core.kinds import check_numeric
from jaxcompress.core.labels import check_ignore, class_labels, counted
from jaxcompress.core.labels import cross_entropy as log_loss
from jaxcompress.core.types import Array


def correct(logits: ArrayLike, labels: ArrayLike, *, ignore: int | None = None) -> Array:
    """Whether the highest logit is the label's.

    Args:
      logits: (n, classes), floating; among equal logits the earlier class counts.
      labels: (n,), integer in [0, classes).
      ignore: the label of examples that are never correct and do not count; accuracy is
        the sum of this divided by that of `counted`.

    Returns:
      (n,) bool. Under `jax.jit` a label that is no class is never correct.

    Raises:
      TypeError: logits are not floating or labels are not integer.
      ValueError: a shape does not fit, a label is out of range, a logit is NaN or +inf.

    Example:
      >>> jc.validate.correct(jnp.array([[2.0, 1.0], [2.0, 1.0]]), jnp.array([0, 1]))
      Array([ True, False], dtype=bool)
    """
    logits = checked_logits("correct", "logits", logits)
    labels = checked_labels("correct", labels, logits, ignore)
    return counted(labels, ignore=ignore) & (classes_of(logits) == labels)


def cross_entropy(logits: ArrayLike, labels: ArrayLike, *, ignore: int | None = None) -> Array:
    """Minus the log probability, in nats, that the model gives to the label.

        loss_i = log(sum_j exp(logits_ij)) - logits_i,label_i

    Args:
      logits: (n, classes), floating; -inf rules a class out.
      labels: (n,), integer in [0, classes).
      ignore: the label of examples whose loss is 0 and that do not count; the mean is
        the sum of this divided by that of `counted`.

    Returns:
      (n,) float32, computed in float32, >= 0 up to rounding. Under `jax.jit` a label
      that is no class, also a negative one, gives NaN.

    Raises:
      TypeError: logits are not floating or labels are not integer.
      ValueError: a shape does not fit, a label is out of range, a logit is NaN or +inf.

    Example:
      >>> jc.validate.cross_entropy(jnp.zeros((1, 4)), jnp.array([3])) == jnp.log(4)
      Array([ True], dtype=bool)
    """
    logits = checked_logits("cross_entropy", "logits", logits)
    labels = checked_labels("cross_entropy", labels, logits, ignore)
    return log_loss(logits, labels, ignore)


def agreement(logits: ArrayLike, other_logits: ArrayLike) -> Array:
    """Whether two models predict the same class.

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
    logits = checked_logits("agreement", "logits", logits)
    other_logits = checked_logits("agreement", "other_logits", other_logits)
    if logits.shape != other_logits.shape:
        raise ValueError(
            f"agreement(logits of shape {logits.shape}, other_logits of shape"
            f" {other_logits.shape}): both need one shape (n, classes)."
        )
    return classes_of(logits) == classes_of(other_logits)


def classes_of(logits: Array) -> Array:
    """The class of the highest logit, among equal ones the first, (n,) int32."""
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)


def checked_logits(callable_name: str, argument: str, logits: ArrayLike) -> Array:
    """Logits (n, classes) as an array; raises where they are none, NaN or +inf."""
    if isinstance(logits, tuple | Mapping):
        raise TypeError(
            f"{callable_name}({argument}) is a {type(logits).__name__}, not one array of logits."
            " Wrap the model so that it gives the logits alone."
        )
    check_numeric(callable_name, argument, logits)
    logits = jnp.asarray(logits)
    if not jnp.issubdtype(logits.dtype, jnp.floating):
        raise TypeError(
            f"{callable_name}({argument} of dtype {logits.dtype}) needs floating logits."
        )
    if logits.ndim != 2 or logits.shape[1] == 0:
        raise ValueError(
            f"{callable_name}({argument} of shape {logits.shape}) needs the shape (n, classes)."
            " Reshape answers to tokens to (-1, classes) and their labels to (-1,)."
        )
    if _known(logits):
        # By NumPy, since JAX would trace it where the call is inside jit.
        values = np.asarray(logits).astype(np.float32)
        bad = np.flatnonzero(np.any(np.isnan(values) | np.isposinf(values), axis=-1))
        if bad.size:
            raise NotFiniteError(
                f"{callable_name}({argument}): {bad.size} of {logits.shape[0]} rows hold NaN or"
                f" +inf, the first is row {bad[0]}. Look for an overflow in the model."
            )
    return logits


def checked_labels(
    callable_name: str, given: ArrayLike, logits: Array, ignore: int | None = None
) -> Array:
    """Labels (n,) as int32; raises where they are none, or known and out of range.

    Labels that are NumPy's are known inside of jit, too.
    """
    labels = class_labels(callable_name, given)
    check_ignore(callable_name, ignore)
    n, classes = logits.shape
    if labels.shape != (n,):
        raise ValueError(
            f"{callable_name}(labels of shape {labels.shape}) needs the shape ({n},), one label"
            " per row of logits. For other targets take other metrics."
        )
    known = given if isinstance(given, np.ndarray) else labels
    if _known(known):
        values = np.asarray(known)
        bad = np.flatnonzero(((values < 0) | (values >= classes)) & (values != ignore))
        if bad.size:
            raise KnownValueError(
                f"{callable_name}(labels): {bad.size} of {n} labels are outside [0, {classes}),"
                f" the first is labels[{bad[0]}] = {np.asarray(given)[bad[0]]}."
            )
    return labels


def _known(array: ArrayLike) -> bool:
    return not isinstance(array, Tracer)
