"""Integer class labels, and the cross-entropy of logits with them.

A label outside of the classes chooses nothing: it never counts from the end, and what
depends on it is NaN.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxcompress.core.checks import KnownValueError
from jaxcompress.core.types import Array

_LOWEST, _HIGHEST = np.iinfo(np.int32).min, np.iinfo(np.int32).max


def class_labels(caller: str, labels: ArrayLike) -> Array:
    """Casts labels to int32; those that do not fit become invalid instead of wrapping.

    Args:
      caller: the function to name in errors.
      labels: (...), of any integer dtype.

    Returns:
      (...) int32. What int32 cannot hold becomes its lowest or highest value, which no
      class has; a cast alone would wrap 2³² to class 0.

    Raises:
      TypeError: labels are not integer.
    """
    # NumPy's 64-bit labels have to be seen before JAX makes them 32-bit.
    labels = labels if isinstance(labels, jax.Array) else np.asarray(labels)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"{caller}(labels of dtype {labels.dtype}) needs integer labels.")
    if np.can_cast(labels.dtype, np.int32):
        return jnp.asarray(labels, jnp.int32)
    if isinstance(labels, np.ndarray):
        return jnp.asarray(np.clip(labels, _LOWEST, _HIGHEST).astype(np.int32))
    lowest = 0 if jnp.issubdtype(labels.dtype, jnp.unsignedinteger) else _LOWEST
    return jnp.clip(labels, lowest, _HIGHEST).astype(jnp.int32)


def check_ignore(caller: str, ignore: int | None) -> None:
    """Raises a ValueError unless `ignore` is None or an integer that int32 can hold."""
    fits = isinstance(ignore, int | np.integer) and not isinstance(ignore, bool)
    if ignore is not None and not (fits and _LOWEST < ignore < _HIGHEST):
        raise ValueError(f"{caller}(ignore={ignore!r}) must be an integer label, such as -100.")


class Shown(np.ndarray):
    """Labels that a loss refuses by name where they are no classes.

    While it is traced a loss sees no labels, and gives NaN where they are none. Who
    finds the NaN calls it once more, on shapes and on labels in this form.
    """


def check_shown(
    caller: str, argument: str, labels: object, classes: int, ignore: int | None = None
) -> None:
    """Raises a KnownValueError where a shown label is neither class nor ignored.

    Example:
      >>> check_shown("hard_targets", "labels", np.array([[0, 2]]), 2)
      >>> check_shown("hard_targets", "labels", np.array([[0, 2]]).view(Shown), 2)
      Traceback (most recent call last):
      jaxcompress.core.checks.KnownValueError: hard_targets(labels): label 2 of example
      0 is none of 2 classes. ...
    """
    if isinstance(labels, Shown) and labels.ndim:
        said = _outside(f"{caller}({argument})", np.asarray(labels), classes, ignore)
        if said:
            raise KnownValueError(said)


def check_classes(caller: str, labels: np.ndarray, classes: int) -> None:
    """Raises a ValueError unless each label of (n, ...) is a class.

    Example:
      >>> check_classes("fit_weights", np.array([0, -100]), 2)
      Traceback (most recent call last):
      ValueError: fit_weights(labels): label -100 of example 1 is none of 2 classes. ...
    """
    if said := _outside(f"{caller}(labels)", labels, classes, None):
        raise ValueError(said)


def _outside(place: str, labels: np.ndarray, classes: int, ignore: int | None) -> str:
    """Names the first label of (n, ...) that is no class and not ignored, if any."""
    outside = (labels < 0) | (labels >= classes)
    if ignore is not None:
        outside &= labels != ignore
    if not outside.any():
        return ""
    first = tuple(np.argwhere(outside)[0])
    return (
        f"{place}: label {labels[first]} of example {first[0]} is none of {classes} classes. Leave "
        "out examples without a class."
    )


def counted(labels: ArrayLike, *, ignore: int | None) -> Array:
    """Marks the examples that count: those whose label is not `ignore`.

    Its sum is what the mean of a loss divides by. Over several batches or devices, add
    up losses and counts apart and divide at the end.

    Args:
      labels: (...), of any integer dtype.
      ignore: the label of examples that do not count; None where all do.

    Returns:
      (...) bool.

    Raises:
      TypeError: labels are not integer.
      ValueError: `ignore` is no integer label.

    Example:
      >>> labels = jnp.array([1, -100])
      >>> loss = jc.distill.outputs.hard_targets
      >>> losses = loss(jnp.zeros((2, 2)), labels, ignore=-100)
      >>> counts = jc.distill.counted(labels, ignore=-100)
      >>> losses.sum() / counts.sum()
      Array(0.693, dtype=float32)
    """
    labels = class_labels("counted", labels)
    check_ignore("counted", ignore)
    return jnp.ones(labels.shape, bool) if ignore is None else labels != ignore


def cross_entropy(logits: Array, labels: Array, ignore: int | None) -> Array:
    """Minus the log probability of the label's class.

        loss = log(sum_j exp(logits_j)) - logits_label

    Args:
      logits: (..., classes), floating.
      labels: (...) int32, from `class_labels`.
      ignore: the label of examples whose loss is 0, and so is their gradient; it may be
        a class or none.

    Returns:
      (...) float32; NaN, with a gradient of NaN, where the label is neither a class nor
      `ignore`.
    """
    return _cross_entropy(logits, labels, counted(labels, ignore=ignore))


@functools.partial(jax.jit, inline=True)
def _cross_entropy(logits: Array, labels: Array, counts: Array) -> Array:
    # Logits that do not count may hold anything, also for the gradient.
    logits = jnp.where(counts[..., None], logits.astype(jnp.float32), 0.0)
    chosen = jnp.sum(jnp.where(chosen_class(labels, logits.shape[-1]), logits, 0.0), axis=-1)
    known = known_factor(labels, logits.shape[-1], counts)
    return jnp.where(counts, (jax.nn.logsumexp(logits, axis=-1) - chosen) * known, 0.0)


def chosen_class(labels: Array, classes: int) -> Array:
    """Marks the class of each label, (...) int32: (..., classes) bool.

    Compared and not gathered: nothing can wrap or be clamped, the gradient scatters
    nothing, and the classes may lie on several devices.
    """
    indices = jax.lax.broadcasted_iota(jnp.int32, (*labels.shape, classes), labels.ndim)
    return indices == labels[..., None]


def known_factor(labels: Array, classes: int, counts: ArrayLike = True) -> Array:
    """1 where the label is a class or does not count, else NaN: (...) float32.

    NaN is a factor and not a choice: the gradient of a chosen constant would be 0, and
    a wrong label would pass for an example that teaches nothing.
    """
    exists = (labels >= 0) & (labels < classes)
    return jnp.where(exists | ~jnp.asarray(counts), 1.0, jnp.nan)
