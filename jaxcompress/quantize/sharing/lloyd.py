"""Lloyd's iteration on numbers in order, around a level that stays zero."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.types import Array
from jaxcompress.quantize.sharing.points import Points


class Clusters(NamedTuple):
    """What is nearest to each level, zero among them, all (blocks, levels + 1).

    Attributes:
      levels: ascending.
      is_zero: bool, which one is the zero that does not move.
      mass: the sum of weights.
      mean: the weighted mean; the level itself where the mass is 0.
      spread: the widest distance inside; from zero for its own cluster.
      farthest: the member farthest from the mean.
    """

    levels: Array
    is_zero: Array
    mass: Array
    mean: Array
    spread: Array
    farthest: Array


class _State(NamedTuple):
    """Between two iterations: free levels, the runs before them, whether any moved."""

    count: Array
    levels: Array
    runs: Array
    moved: Array


def lloyd(points: Points, levels: Array, iterations: int) -> Array:
    """Moves levels to the means of what is nearest to them until nothing changes.

    Each iteration finds where the runs of levels end in the order of the points, and
    their means from running sums: levels · log(entries) steps, however many entries.
    The weighted squared error never rises.

    A level without members leaves its place for the end of one of the clusters with the
    largest weight times squared width, so that it halves that cluster in the next
    iteration. Where every number has a level of its own, levels are left over: they
    repeat the one of largest magnitude.

    Args:
      points: of each block.
      levels: (blocks, levels), where to begin. Zero is a level besides.
      iterations: at most so many.

    Returns:
      (blocks, levels) float32 ascending.
    """

    def step(state: _State) -> _State:
        full, is_zero = _with_zero(state.levels)
        runs = points.runs(full)
        found = _clusters(points, full, is_zero, runs)
        moved = jnp.any(runs != state.runs)
        return _State(state.count + 1, _free(_split(found), is_zero), runs, moved)

    def goes_on(state: _State) -> Array:
        return state.moved & (state.count < iterations)

    blocks, count = levels.shape
    nowhere = jnp.full((blocks, count + 2), -1, jnp.int32)
    begun = _State(jnp.int32(0), jnp.sort(levels, axis=1), nowhere, jnp.bool_(True))
    found = jax.lax.while_loop(goes_on, step, begun).levels
    full, is_zero = _with_zero(found)
    return _parked(_clusters(points, full, is_zero, points.runs(full)))


def _with_zero(levels: Array) -> tuple[Array, Array]:
    """Levels in ascending order with a zero among them, and which one that is."""
    place = jnp.sum(levels < 0, axis=1, keepdims=True)
    index = jnp.arange(levels.shape[1] + 1)[None]
    below, above = jnp.pad(levels, ((0, 0), (0, 1))), jnp.pad(levels, ((0, 0), (1, 0)))
    full = jnp.where(index < place, below, jnp.where(index == place, 0.0, above))
    return full, index == place


def _free(full: Array, is_zero: Array) -> Array:
    """The levels in ascending order without the zero that does not move."""
    behind = jnp.cumsum(is_zero, axis=1)[:, :-1] > 0
    return jnp.sort(jnp.where(behind, full[:, 1:], full[:, :-1]), axis=1)


def _clusters(points: Points, full: Array, is_zero: Array, runs: Array) -> Clusters:
    begin, end = runs[:, :-1], runs[:, 1:]
    mass = points.mass.between(begin, end)
    first, last = points.at(begin), points.at(end - 1)
    mean = points.moment.between(begin, end) / jnp.where(mass > 0, mass, 1.0)
    # Between its ends, so that equal numbers have exactly themselves as their mean.
    mean = jnp.where(mass > 0, jnp.clip(mean, first, last), full)
    mean = jnp.where(is_zero, 0.0, mean)
    farthest = jnp.where(last - mean > mean - first, last, first)
    spread = jnp.where(is_zero, jnp.abs(farthest), last - first)
    return Clusters(full, is_zero, mass, mean, jnp.where(mass > 0, spread, 0.0), farthest)


def _split(found: Clusters) -> Array:
    """The means, with levels without members moved into the widest clusters."""
    gain = found.mass * jnp.square(found.spread)
    order = jnp.argsort(-gain, axis=1)
    empty = (found.mass == 0) & ~found.is_zero
    widest = jnp.take_along_axis(order, jnp.maximum(jnp.cumsum(empty, axis=1) - 1, 0), axis=1)
    can = empty & (jnp.take_along_axis(gain, widest, axis=1) > 0)
    return jnp.where(can, jnp.take_along_axis(found.farthest, widest, axis=1), found.mean)


def _parked(found: Clusters) -> Array:
    """The levels, those without members at the used one of largest magnitude."""
    used = (found.mass > 0) & ~found.is_zero
    size = jnp.where(used, jnp.abs(found.levels), -1.0)
    largest = jnp.take_along_axis(found.levels, jnp.argmax(size, axis=1)[:, None], axis=1)
    some = jnp.any(used, axis=1, keepdims=True)
    return _free(jnp.where(used, found.levels, jnp.where(some, largest, 0.0)), found.is_zero)
