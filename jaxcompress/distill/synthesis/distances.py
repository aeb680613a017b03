"""How far inputs are from the data that a model knows, and how rough they are."""

from collections.abc import Mapping

import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.kinds import check_mapping, check_numeric, check_text
from jaxcompress.core.messages import shown
from jaxcompress.core.types import Array
from jaxcompress.distill.vectors import norm

Statistics = Mapping[str, tuple[ArrayLike, ArrayLike]]
"""By site, mean and variance (channels,) of what it gives over a data set."""


def statistics_distance(values: Mapping[str, ArrayLike], statistics: Statistics) -> Array:
    """How far statistics of a batch are from those of a data set, over all sites.

        sum over sites of ‖mean(value) - mean‖ + ‖variance(value) - variance‖

    Args:
      values: by site (b, …, channels), floating, as `graph.capture` gives them.
      statistics: by site mean and variance (channels,).

    Returns:
      () float32, at least 0; where a norm is 0 its gradient is, too.

    Raises:
      TypeError: an argument is no mapping of arrays.
      ValueError: a site has no values, or other channels than its statistics.

    Example:
      >>> value = jnp.array([[1.0], [3.0]])
      >>> statistics = {"conv": (jnp.array([2.0]), jnp.array([0.5]))}
      >>> jc.distill.synthesis.statistics_distance({"conv": value}, statistics)
      Array(0.5, dtype=float32)

    Source: Yin et al. 2020, arXiv:1912.08795, equation 4.
    """
    check_mapping("statistics_distance", "values", values, "graph.capture gives it.")
    check_statistics("statistics_distance", statistics)
    total = jnp.zeros((), jnp.float32)
    for site, (mean, variance) in statistics.items():
        if site not in values:
            raise ValueError(
                f"statistics_distance(values=...) has no site {site!r}; it has "
                f"{', '.join(map(repr, values)) or 'none'}."
            )
        value = jnp.asarray(values[site], jnp.float32)
        if value.ndim < 2 or {jnp.shape(mean), jnp.shape(variance)} != {value.shape[-1:]}:
            raise ValueError(
                f"statistics_distance: site {site!r} gives values {shown(value)}, whose last axis "
                f"must be that of the statistics, {jnp.shape(mean)} and {jnp.shape(variance)}."
            )
        entries = value.reshape(-1, value.shape[-1])  # (entries, channels)
        total += norm(jnp.mean(entries, axis=0) - jnp.asarray(mean, jnp.float32))[0]
        total += norm(jnp.var(entries, axis=0) - jnp.asarray(variance, jnp.float32))[0]
    return total


def total_variation(inputs: ArrayLike) -> Array:
    """Mean square of the differences of neighbours, along all axes but channels.

    Args:
      inputs: (b, …, channels), floating, such as images.

    Returns:
      (b,) float32; 0 where no axis lies between the first and the last.

    Raises:
      TypeError: the inputs are no array of numbers with two axes or more.

    Example:
      >>> images = jnp.array([[0.0, 2.0], [0.0, 2.0]]).reshape(1, 2, 2, 1)
      >>> jc.distill.synthesis.total_variation(images)
      Array([4.], dtype=float32)

    Source: Mahendran and Vedaldi 2015, arXiv:1412.0035, section 2, with β = 2.
    """
    check_numeric("total_variation", "inputs", inputs)
    images = jnp.asarray(inputs, jnp.float32)
    if images.ndim < 2:
        raise TypeError(
            f"total_variation(inputs={shown(images)}) must be of shape (b, …, channels)."
        )
    total = jnp.zeros(len(images), jnp.float32)
    for axis in range(1, images.ndim - 1):
        if images.shape[axis] > 1:
            squares = jnp.square(jnp.diff(images, axis=axis))
            total += jnp.mean(squares, axis=tuple(range(1, images.ndim)))
    return total


def check_statistics(caller: str, statistics: object) -> None:
    """Raises unless it holds, by site, two arrays of numbers."""
    mend = "By site the mean and the variance of what it gives."
    check_mapping(caller, "statistics", statistics, mend)
    for site, pair in dict(statistics).items():  # pyright: ignore
        check_text(caller, "statistics", site)
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(f"{caller}(statistics[{site!r}]={shown(pair)}) must be a pair. {mend}")
        for each in pair:
            check_numeric(caller, f"statistics[{site!r}]", each)
    if not statistics:
        raise ValueError(f"{caller}(statistics={{}}) holds no site.")
