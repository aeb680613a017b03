"""What a metric is: statistics per example, and what sums them up.

Statistics are computed batch by batch on the device; everything after is NumPy on the
host. A summary takes how often each example counts, so that resampling is a product
with counts and never a copy of examples.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.checks import check_fits
from jaxcompress.core.finite import NotFiniteError, not_finite
from jaxcompress.core.kinds import check_function, check_takes, check_text
from jaxcompress.core.messages import shown
from jaxcompress.core.types import Array, PyTree

Statistics = Any
"""A NumPy array with first axis n, or a dict of such by name."""
PerExample = Callable[[PyTree, PyTree], Array | Mapping[str, Array]]
"""(outputs, targets) to statistics; traced by jit."""
Summary = Callable[[Statistics, np.ndarray], np.ndarray]
"""(statistics, counts (…, n)) to values (…); NaN where the metric is not defined."""
Limits = Callable[[Summary, Statistics, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""(summary, statistics, counts (…, n)) to what the ends of an interval are taken of."""

SHAPE = "one array whose first axis is the examples', or a dict of such by name"


@dataclasses.dataclass(frozen=True)
class Mean:
    """The mean over examples, as the summary of a metric.

        value = sum_i counts_i · values(statistics)_i / sum_i counts_i

    Metrics whose summary it is have a value per example, an interval without resampling
    (Wilson's of bools, Hall's of numbers) and a paired test.

    Args:
      values: statistics to one number or bool per example, (n,).

    Example:
      >>> wins = jc.validate.metrics.Mean(lambda statistics: statistics > 0)
      >>> wins(np.array([3.0, -1.0]), np.array([[3.0, 1.0], [1.0, 1.0]]))
      array([0.75, 0.5 ])
    """

    values: Callable[[Statistics], np.ndarray]

    def __post_init__(self) -> None:
        check_function("Mean", "values", self.values, "It is values(statistics) -> (n,).")

    def __call__(self, statistics: Statistics, counts: np.ndarray) -> np.ndarray:
        """The mean of each row of counts."""
        return counts @ self.values(statistics).astype(np.float64) / counts.sum(axis=-1)


def _unchanged(statistics: Statistics) -> np.ndarray:
    return np.asarray(statistics)


mean: Mean = Mean(_unchanged)
"""The mean of statistics that are one number or bool per example."""


def itself(
    summary: Summary, statistics: Statistics, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The figures of resamples for both ends: the percentile bootstrap."""
    values = np.asarray(summary(statistics, counts))
    return values, values


@dataclasses.dataclass(frozen=True)
class Metric:
    """A figure that judges a model's outputs against targets.

    Called on outputs and targets it gives the figure; `evaluate` computes several at
    once, in batches, and gives their intervals, too.

    Invariants:
      - `per_example` can be jitted and treats examples apart: statistics of a part of
        the examples are that part of the statistics.
      - `summary` depends on each example's statistics and count, not on their order.
        Counting an example twice is the same as having it twice.
      - Where the figure is not defined, such as an AUC of one class, the summary is NaN
        and `needs` says what was missing.

    Args:
      name: by which an evaluation gives it, in lower case with underscores.
      per_example: `per_example(outputs, targets) -> statistics`, an array (n, …) or a
        dict of such; finite. Traced by jit; once before it gets the targets as NumPy
        arrays, so that it can refuse them by their values.
      summary: `summary(statistics, counts) -> values`, NumPy; counts are float64 of
        shape (…, n), whole numbers of at least 0, values of shape (…). The default is
        the mean of statistics (n,).
      higher_is_better: whether a higher figure is a better model.
      needs: what examples must have for the figure to be defined, for the message.
      limits: of what on bootstrap samples an interval is made: its low end is a low
        quantile of the first array, its high end a high one of the second. The default
        is the figure itself; a metric that is biased, or near a bound, takes others.

    Example:
      >>> errors = lambda outputs, targets: jnp.abs(outputs - targets)
      >>> largest = lambda errors, counts: np.max(errors * (counts > 0), axis=-1)
      >>> metric = jc.validate.metrics.Metric("largest", errors, largest)
      >>> metric(jnp.array([1.0, 2.0]), jnp.array([1.5, 4.0]))
      2.0
    """

    name: str
    per_example: PerExample
    summary: Summary = mean
    higher_is_better: bool = True
    needs: str = "at least one example"
    limits: Limits = itself

    def __post_init__(self) -> None:
        check_text("Metric", "name", self.name)
        mend = "It is per_example(outputs, targets) -> statistics."
        check_takes("Metric", "per_example", self.per_example, 2, mend)
        mend = "It is summary(statistics, counts) -> values."
        check_takes("Metric", "summary", self.summary, 2, mend)
        if not isinstance(self.higher_is_better, bool):
            raise TypeError(
                f"Metric(higher_is_better={shown(self.higher_is_better)}) must be a bool."
            )
        check_text("Metric", "needs", self.needs)
        mend = "It is limits(summary, statistics, counts) -> (lows, highs)."
        check_takes("Metric", "limits", self.limits, 3, mend)

    def __call__(self, outputs: PyTree, targets: PyTree) -> float:
        """The figure of outputs that are there already.

        Raises:
          ValueError: there are no examples, or other numbers of outputs and targets;
            statistics are not finite, or the figure is not defined.
        """
        counts = {np.shape(leaf)[:1] for leaf in jax.tree.leaves((outputs, targets))}
        if len(counts) != 1 or counts <= {(), (0,)}:
            shapes = ", ".join(str(shape) for shape in sorted(counts))
            raise ValueError(
                f"{self.name}(outputs, targets) needs arrays of the same examples, at least one;"
                f" their first axes are {shapes}."
            )
        statistics = jax.device_get(self.measured(outputs, targets))
        check_fits(self.name, outputs=outputs, targets=targets)
        try:
            return self.value(checked_statistics(self.name, statistics))
        except NotFiniteError as error:
            if said := not_finite("targets", targets):
                raise NotFiniteError(f"{self.name}(targets): {said}") from error
            raise

    def measured(self, outputs: PyTree, targets: PyTree) -> Statistics:
        """What `per_example` gives, half precision as float32, which NumPy knows."""
        return jax.tree.map(_widened, self.per_example(outputs, targets))

    def value(self, statistics: Statistics) -> float:
        """The figure of all examples, each counted once.

        Raises:
          ValueError: it is not defined for these.
        """
        n = count_of(statistics)
        value = np.asarray(self.summary(statistics, np.ones((1, n))))
        if value.shape != (1,):
            raise ValueError(
                f"Metric({self.name}): summary gives shape {value.shape} for counts of shape"
                f" (1, {n}), and must give one number per row. Of a function of one row make one"
                " by np.apply_along_axis(lambda row: f(statistics, row), -1, counts)."
            )
        if np.isnan(value[0]):
            raise ValueError(f"{self.name} of {n} examples is not defined: it needs {self.needs}.")
        if np.isinf(value[0]):
            raise ValueError(f"{self.name} of {n} examples is infinite. Look for an overflow.")
        return float(value[0])


def mean_of(function: PerExample, name: str, *, higher_is_better: bool) -> Metric:
    """The mean of any number or bool per example.

    Args:
      function: `function(outputs, targets) -> (n,)`, finite numbers or bools, traced by
        jit. An example is what is independent of others: of a sequence take the mean
        over its tokens.
      name: by which an evaluation gives it.
      higher_is_better: whether a higher mean is a better model.

    Returns:
      The metric.

    Raises:
      TypeError: the function takes no two arguments, or another argument is of a wrong
        kind.

    Example:
      >>> near = lambda outputs, targets: jnp.abs(outputs - targets) < 1
      >>> metric = jc.validate.metrics.mean_of(near, "near", higher_is_better=True)
      >>> metric(jnp.array([1.0, 2.0]), jnp.array([1.5, 4.0]))
      0.5
    """
    mend = "It is function(outputs, targets) -> (n,)."
    check_takes("mean_of", "function", function, 2, mend)
    check_text("mean_of", "name", name)
    if not isinstance(higher_is_better, bool):
        raise TypeError(f"mean_of(higher_is_better={shown(higher_is_better)}) must be a bool.")

    def per_example(outputs: PyTree, targets: PyTree) -> Array:
        # JAX's arrays, since a function may index them by what is traced.
        values = jnp.asarray(function(outputs, jax.tree.map(jnp.asarray, targets)))
        n = np.shape(jax.tree.leaves(targets)[0])[0]
        if values.shape != (n,):
            raise ValueError(
                f"{name}: function gives shape {values.shape} for {n} examples; one number per"
                f" example has shape ({n},). Take the mean over every axis but the first."
            )
        return values

    return Metric(name, per_example, higher_is_better=higher_is_better)


def loss(function: PerExample) -> Metric:
    """The mean of any loss: of regression, of tokens, of a detector.

    Args:
      function: `function(outputs, targets) -> (n,)`, one finite number per example, the
        lower the better, traced by jit. Of a sequence take the mean over its tokens.

    Returns:
      The metric, by the name "loss".

    Raises:
      TypeError: the function takes no two arguments.

    Example:
      >>> squares = lambda outputs, targets: jnp.sum((outputs - targets) ** 2, -1)
      >>> fn, x = lambda params, x: x @ params, jnp.eye(2)
      >>> targets = jnp.array([[1.0, 0.0], [0.0, 3.0]])
      >>> metrics = [jc.validate.metrics.loss(squares)]
      >>> result = jc.validate.evaluate(fn, jnp.eye(2), x, targets, metrics)
      >>> result.mean_loss, result.loss
      (2.0, array([0., 4.], dtype=float32))
    """
    check_takes("loss", "function", function, 2, "It is function(outputs, targets) -> (n,).")
    return mean_of(function, "loss", higher_is_better=False)


def _widened(statistic: Array) -> Array:
    half = jnp.issubdtype(statistic.dtype, jnp.floating) and statistic.dtype.itemsize < 4
    return statistic.astype(jnp.float32) if half else statistic


def count_of(statistics: Statistics) -> int:
    """The number of examples."""
    return np.shape(jax.tree.leaves(statistics)[0])[0]


def checked_statistics(name: str, statistics: Any) -> Statistics:
    """The statistics of a metric, or an error that names it and the first bad example.

    Raises:
      TypeError: they are neither an array nor a dict of arrays.
      ValueError: their first axes differ, there are no examples, or one is not finite.
    """
    check_structure(name, statistics)
    parts = statistics if isinstance(statistics, Mapping) else {"": statistics}
    for key, part in parts.items():
        if not np.issubdtype(part.dtype, np.inexact):
            continue
        finite = np.isfinite(part).reshape(len(part), -1).all(axis=1)
        if not finite.all():
            first = np.flatnonzero(~finite)[0]
            label = f"{name} ({key})" if key else name
            raise NotFiniteError(
                f"{label} is not finite for {np.sum(~finite)} of {len(part)} examples, the first"
                f" is example {first}: {shown(part[first])}. Look for an overflow in the model, or"
                " a target that it rules out."
            )
    return statistics


def check_structure(name: str, statistics: Any) -> None:
    """Raises unless they are arrays, or shapes, of one number of examples."""
    parts = list(statistics.values()) if isinstance(statistics, Mapping) else [statistics]
    if not parts or not all(hasattr(part, "shape") and hasattr(part, "dtype") for part in parts):
        raise TypeError(f"{name}: per_example gives {shown(statistics)}, and must give {SHAPE}.")
    if any(jnp.issubdtype(part.dtype, jnp.complexfloating) for part in parts):
        raise TypeError(f"{name} of complex numbers is none. Take their absolute values or parts.")
    counts = {part.shape[:1] for part in parts}
    if len(counts) > 1 or counts <= {(), (0,)}:
        shapes = ", ".join(str(part.shape) for part in parts)
        raise ValueError(f"{name}: per_example gives shapes {shapes}, and must give {SHAPE}.")
