"""The start of least error, by dynamic programming."""

import jax
import jax.numpy as jnp

from jaxcompress.core.checks import check_count
from jaxcompress.core.types import Array
from jaxcompress.quantize.sharing.points import Points
from jaxcompress.quantize.sharing.starts.start import Start


def optimal(cells: int = 1024) -> Start:
    """Begins with the levels of least squared error, which numbers in a row have.

    Not for: many blocks or levels where time counts, since each block takes levels ·
    cells² steps; take `linear`.

    Also known as: Ckmeans.1d.dp, optimal scalar quantization. In one dimension a
    cluster is a run of the ordered numbers, so that dynamic programming over where runs
    end finds the best of all partitions, zero pinned:

        error_j(i) = min over m of error_{j-1}(m) + spread of the numbers m … i - 1

    once for the numbers above zero and once for those below, with each split of the
    levels among the two. Exact where a block has no more numbers than cells; of more
    each cell holds neighbours, and k-means ends what is left. levels · cells² steps for
    each block.

    Args:
      cells: how many runs of neighbours are told apart, at least 2.

    Returns:
      Start.

    Raises:
      ValueError: `cells` is no such count.

    Example:
      >>> spec = jc.quantize.formats.codebook(2, per="tensor")
      >>> start = jc.quantize.sharing.starts.optimal()
      >>> rounding = jc.quantize.rounding.nearest(jc.quantize.sharing.k_means(start))
      >>> params = {"kernel": jnp.array([[1.0, 2.0, 5.0, 6.0, -9.0]])}
      >>> found, _ = jc.quantize.quantize(params, spec, rounding=rounding)
      >>> found["kernel"].codebook.ravel()
      Array([ 0. , -9. ,  1.5,  5.5], dtype=float32)

    Source: Wang and Song 2011, "Ckmeans.1d.dp: Optimal k-means Clustering in One
    Dimension by Dynamic Programming". Differs: a level at zero that does not move;
    cells for long rows.
    """
    cells = check_count("optimal", "cells", cells, least=2)

    def levels(points: Points, count: int) -> Array:
        mass, means = _cells(points, cells)

        def block(one: tuple[Array, Array]) -> Array:
            mass, means = one
            above = _side(jnp.where(means > 0, mass, 0.0), means, count)
            below = _side(jnp.where(means < 0, mass, 0.0)[::-1], -means[::-1], count)
            return _together(above, below)

        return jax.lax.map(block, (mass, means))

    return Start(levels)


def _cells(points: Points, cells: int) -> tuple[Array, Array]:
    """Runs of neighbours as single points: their mass and mean, (blocks, cells).

    Half of the cells part the numbers evenly, half their range, so that neither
    outliers nor crowds leave them empty.
    """
    values = points.values
    blocks, entries = values.shape
    if entries <= cells:
        return points.weights, values
    rank = (jnp.arange(entries)[None] + 0.5) / entries
    low, high = values[:, :1], values[:, -1:]
    share = (values - low) / jnp.where(high > low, high - low, 1.0)
    place = (rank + share) * (0.5 * cells)  # (blocks, entries) ascending
    find = jax.vmap(lambda place: jnp.searchsorted(place, jnp.arange(1.0, cells)))
    ends = find(place).astype(jnp.int32)
    first = jnp.zeros((blocks, 1), jnp.int32)
    runs = jnp.concatenate([first, ends, first + entries], axis=1)
    mass = points.mass.between(runs[:, :-1], runs[:, 1:])
    moment = points.moment.between(runs[:, :-1], runs[:, 1:])
    return mass, moment / jnp.where(mass > 0, mass, 1.0)


def _side(mass: Array, means: Array, count: int) -> tuple[Array, Array, Array]:
    """The best partitions of points at or above zero, for each number of levels.

    Args:
      mass: (cells,), 0 for a point that is not there.
      means: (cells,) ascending.
      count: the most levels.

    Returns:
      (errors, begins, means of runs): (count + 1,) the error with 0, 1, … levels beside
      zero; (count, cells + 1) int32 where the last run begins, by levels less one and
      by where it ends; (cells + 1, cells + 1) means by end and begin.
    """
    spreads, centers = _spreads(mass, means)
    from_zero = jnp.pad(jnp.cumsum(mass * jnp.square(means)), (1, 0))  # (cells + 1,)

    def one_more(errors: Array, _) -> tuple[Array, tuple[Array, Array]]:
        total = errors[None] + spreads  # by end, by begin
        begin = jnp.argmin(total, axis=1).astype(jnp.int32)
        errors = jnp.take_along_axis(total, begin[:, None], axis=1)[:, 0]
        return errors, (errors[-1], begin)

    _, (errors, begins) = jax.lax.scan(one_more, from_zero, None, length=count)
    return jnp.concatenate([from_zero[-1:], errors]), begins, centers


def _spreads(mass: Array, means: Array) -> tuple[Array, Array]:
    """Squared errors around the mean, and means, of all runs: by end, by begin.

    Points are added one by one, which loses no digits, as differences of sums would.
    """
    size = len(mass)
    starts = jnp.arange(size + 1)

    def add(state: tuple[Array, Array, Array], point: tuple[Array, Array, Array]):
        total, center, spread = state
        place, mass, mean = point
        inside = (starts <= place) & (mass > 0)
        both = jnp.where(inside, total + mass, 1.0)
        away = mean - center
        spread = jnp.where(inside, spread + mass * total / both * jnp.square(away), spread)
        center = jnp.where(inside, center + away * mass / both, center)
        total = jnp.where(inside, total + mass, total)
        shown = jnp.where(starts <= place + 1, spread, jnp.inf)
        return (total, center, spread), (shown, center)

    nothing = jnp.zeros(size + 1, jnp.float32)
    places = jnp.arange(size)
    _, (spreads, centers) = jax.lax.scan(add, (nothing, nothing, nothing), (places, mass, means))
    empty = jnp.where(starts == 0, 0.0, jnp.inf)
    return jnp.concatenate([empty[None], spreads]), jnp.concatenate([nothing[None], centers])


def _together(above: tuple[Array, Array, Array], below: tuple[Array, Array, Array]) -> Array:
    """The levels of the best split of all between the two sides, (levels,)."""
    count = len(above[1])
    best = jnp.argmin(above[0] + below[0][::-1])  # so many above zero
    return jnp.where(
        jnp.arange(count) < best, _levels(above, best), -_levels(below, count - best)[::-1]
    )


def _levels(side: tuple[Array, Array, Array], count: Array) -> Array:
    """The means of the runs with so many levels, in the first places; (levels,)."""
    _, begins, centers = side

    def back(end: Array, one: tuple[Array, Array]) -> tuple[Array, Array]:
        place, row = one
        begin = row[end]
        return jnp.where(place < count, begin, end), centers[end, begin]

    places = jnp.arange(len(begins))
    last = jnp.int32(begins.shape[1] - 1)
    return jax.lax.scan(back, last, (places, begins), reverse=True)[1]
