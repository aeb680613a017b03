"""Metrics of numbers: errors of outputs from targets of the same shape."""

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.kinds import check_numeric
from jaxcompress.core.types import Array
from jaxcompress.validate.metrics.counting import divided
from jaxcompress.validate.metrics.metric import Metric, Statistics, mean
from jaxcompress.validate.metrics.of_mean import OfMean


def mean_squared_error() -> Metric:
    """The mean of squared errors, of several numbers per example of all of them.

    Not for: errors with outliers, which decide it; take `mean_absolute_error`.

    Outputs and targets are (n, …), of one shape. Where errors have tails so long that
    their sixth moment is infinite, the interval of few examples holds the figure less
    often than it says; see the benchmark `metric_intervals`.

    Returns:
      The metric, at least 0, by the name "mean_squared_error"; lower is better.

    Also known as: MSE, L2 loss.

    Example:
      >>> jc.validate.metrics.mean_squared_error()(jnp.zeros(2), jnp.array([1.0, 3.0]))
      5.0
    """

    def per_example(outputs: Array, targets: Array) -> Array:
        return _mean(_errors("mean_squared_error", outputs, targets) ** 2)

    return Metric("mean_squared_error", per_example, higher_is_better=False)


def root_mean_squared_error() -> Metric:
    """The root of `mean_squared_error`, in the unit of the targets.

    Not for: errors with outliers, which decide it; take `mean_absolute_error`.

    Of several numbers per example the root is taken of the mean of all. The ends of its
    interval are roots, too.

    Returns:
      The metric, at least 0, by the name "root_mean_squared_error"; lower is better.

    Also known as: RMSE.

    Example:
      >>> metric = jc.validate.metrics.root_mean_squared_error()
      >>> metric(jnp.zeros(2), jnp.array([3.0, 3.0]))
      3.0
    """

    def per_example(outputs: Array, targets: Array) -> Array:
        return _mean(_errors("root_mean_squared_error", outputs, targets) ** 2)

    def root(means: np.ndarray) -> np.ndarray:
        # The low end of an interval may lie below 0.
        return np.sqrt(np.maximum(means, 0))

    name = "root_mean_squared_error"
    return Metric(name, per_example, OfMean(mean, root), higher_is_better=False)


def mean_absolute_error() -> Metric:
    """The mean of absolute errors, of several numbers per example of all of them.

    Not for: a few large errors that matter; take `mean_squared_error` or `max_error`.

    Returns:
      The metric, at least 0, by the name "mean_absolute_error"; lower is better.

    Also known as: MAE, L1 loss.

    Example:
      >>> jc.validate.metrics.mean_absolute_error()(jnp.zeros(2), jnp.arange(1.0, 3))
      1.5
    """

    def per_example(outputs: Array, targets: Array) -> Array:
        return _mean(jnp.abs(_errors("mean_absolute_error", outputs, targets)))

    return Metric("mean_absolute_error", per_example, higher_is_better=False)


def max_error() -> Metric:
    """The largest absolute error of any example.

    The bootstrap never draws an error above it: its interval is a lower bound.

    Returns:
      The metric, at least 0, by the name "max_error"; lower is better.

    Example:
      >>> jc.validate.metrics.max_error()(jnp.zeros(2), jnp.array([1.0, -3.0]))
      3.0
    """

    def per_example(outputs: Array, targets: Array) -> Array:
        errors = jnp.abs(_errors("max_error", outputs, targets))
        return jnp.max(errors.reshape(errors.shape[0], -1), axis=1)

    def summary(statistics: Statistics, counts: np.ndarray) -> np.ndarray:
        return np.max(np.where(counts > 0, statistics, 0), axis=-1)

    return Metric("max_error", per_example, summary, higher_is_better=False)


def r2() -> Metric:
    """The share of the targets' variance that outputs explain.

    Not for: sets whose targets spread differently, since it divides by that; take
    `root_mean_squared_error`.

        R² = 1 - sum_i (target_i - output_i)² / sum_i (target_i - mean target)²

    Of several numbers per example the mean of R² over them. A constant output has at
    most 0; nothing bounds it from below.

    Returns:
      The metric, at most 1, by the name "r2".

    Also known as: coefficient of determination, explained variance of an unbiased fit.

    Example:
      >>> metric = jc.validate.metrics.r2()
      >>> metric(jnp.array([1.0, 2.0, 4.0]), jnp.array([1.0, 2.0, 3.0]))
      0.5
    """

    def per_example(outputs: Array, targets: Array) -> dict[str, Array]:
        errors = _errors("r2", outputs, targets)
        shape = errors.shape[0], -1
        return {
            "error": errors.reshape(shape),
            "target": jnp.asarray(targets, errors.dtype).reshape(shape),
        }

    def summary(statistics: Statistics, counts: np.ndarray) -> np.ndarray:
        errors, targets = (statistics[part].astype(np.float64) for part in ("error", "target"))
        # Around the mean of all, so that squares of large targets do not cancel.
        centred = targets - targets.mean(axis=0)
        n = counts.sum(axis=-1)[..., None]
        total = counts @ centred**2 - (counts @ centred) ** 2 / n
        # What rounding leaves of equal targets is no variance.
        varies = total > n * np.finfo(np.float64).eps * np.max(targets**2, axis=0)
        return np.mean(1 - divided(counts @ errors**2, np.where(varies, total, 0)), axis=-1)

    needs = "targets that are not all equal"
    return Metric("r2", per_example, summary, needs=needs)


def _errors(name: str, outputs: Array, targets: Array) -> Array:
    """Outputs less targets, floating, of one shape (n, …)."""
    for argument, array in {"outputs": outputs, "targets": targets}.items():
        check_numeric(name, argument, array)
    outputs, targets = jnp.asarray(outputs), jnp.asarray(targets)
    if outputs.shape != targets.shape or not outputs.size or not outputs.ndim:
        raise ValueError(
            f"{name}(outputs of shape {outputs.shape}, targets of shape {targets.shape}) needs one"
            " shape (n, …) of both, n at least 1; (n, 1) and (n,) would give n · n errors."
        )
    dtype = jnp.promote_types(jnp.promote_types(outputs.dtype, targets.dtype), jnp.float32)
    return outputs.astype(dtype) - targets.astype(dtype)


def _mean(values: Array) -> Array:
    return values.reshape(values.shape[0], -1).mean(axis=1)
