"""Schedules of a sparsity, and the steps at which masks are updated.

A schedule is optax's: step -> scalar. What optax has is used from there:

    linear              optax.linear_schedule(0.0, 0.8, steps, begin)
    cosine              lambda step: 0.8 - optax.cosine_decay_schedule(0.8, steps)(step)
    all at one step     optax.join_schedules([constant(0.0), constant(0.8)], [step]),
                        constant = optax.constant_schedule
"""

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core import exports
from jaxcompress.core.checks import check_count, check_share
from jaxcompress.core.types import Array, When

exports.list_definitions(globals())


def cubic(initial: float, final: float, *, begin: int, end: int) -> optax.Schedule:
    """Raises a sparsity along a cubic curve: fast at first, then slower.

    Not for: weights that should grow back in dense phases; take `cyclic`.

    Also known as: gradual magnitude pruning (GMP), polynomial decay, agp.

        s(t) = final + (initial - final) · (1 - (t - begin) / (end - begin))³

    Args:
      initial: value until `begin`, in [0, 1].
      final: value from `end` on, in [0, 1].
      begin: step where the ramp starts, at least 0.
      end: step where it is complete, above `begin`.

    Returns:
      Schedule from step () int32 to () float32 between `initial` and `final`.

    Raises:
      ValueError: `begin` is negative, `end` is not after it, one of them is no int, or
        a value is outside [0, 1].

    Example:
      >>> schedule = jc.schedules.cubic(0.0, 0.8, begin=10, end=20)
      >>> [round(float(schedule(step)), 3) for step in (0, 10, 15, 20, 99)]
      [0.0, 0.0, 0.7, 0.8, 0.8]

    Source: Zhu and Gupta 2017, arXiv:1710.01878, equation 1. Differs: continuous in the
    step; how often masks follow it is the `when` of the pruner.
    """
    check_share("cubic", "initial", initial)
    check_share("cubic", "final", final)
    begin = check_count("cubic", "begin", begin, least=0)
    end = check_count("cubic", "end", end)
    if begin >= end:
        raise ValueError(f"cubic(begin={begin}, end={end}) must satisfy 0 <= begin < end.")

    def schedule(count: ArrayLike) -> Array:
        progress = jnp.clip((jnp.asarray(count, jnp.float32) - begin) / (end - begin), 0.0, 1.0)
        return final + (initial - final) * (1.0 - progress) ** 3

    return schedule


def cyclic(sparsity: float, *, dense: int, sparse: int, begin: int = 0, end: int) -> optax.Schedule:
    """Alternates dense and sparse phases, so that pruned weights may grow back.

    Not for: training that stays sparse throughout; take `prune.regrow`.

    Also known as: AC/DC (alternating compressed and decompressed training), DSD.

        0 until begin, then sparsity for `sparse` steps and 0 for `dense` steps in turn,
        sparsity from end on

    A pruner follows it where its `when` says so: with `every(steps, begin=begin,
    end=end)` for `steps` that divide both phases. Where both have `steps`, each phase
    keeps one mask.

    Args:
      sparsity: of the sparse phases, in [0, 1].
      dense: steps of a dense phase, at least 1.
      sparse: steps of a sparse phase, at least 1.
      begin: first step of the first sparse phase, at least 0.
      end: step where the last sparse phase begins, at least `begin`.

    Returns:
      Schedule from step () int32 to () float32, either 0 or `sparsity`.

    Raises:
      ValueError: a number is outside its range, or a count of steps no int.

    Example:
      >>> schedule = jc.schedules.cyclic(0.5, dense=2, sparse=1, begin=1, end=7)
      >>> [float(schedule(step)) for step in range(9)]
      [0.0, 0.5, 0.0, 0.0, 0.5, 0.0, 0.0, 0.5, 0.5]

    Source: Peste et al. 2021, arXiv:2106.12379, algorithm 1.
    """
    check_share("cyclic", "sparsity", sparsity)
    dense = check_count("cyclic", "dense", dense)
    sparse = check_count("cyclic", "sparse", sparse)
    begin = check_count("cyclic", "begin", begin, least=0)
    end = check_count("cyclic", "end", end, least=0)
    if begin > end:
        raise ValueError(f"cyclic(begin={begin}, end={end}) must satisfy 0 <= begin <= end.")

    def schedule(count: ArrayLike) -> Array:
        count = jnp.asarray(count, jnp.int32)
        in_turn = (count >= begin) & ((count - begin) % (sparse + dense) < sparse)
        return jnp.where(in_turn | (count >= end), jnp.float32(sparsity), 0.0)

    return schedule


def every(steps: int, *, begin: int = 0, end: int | None = None) -> When:
    """True at `begin` and every `steps` steps after it, up to and including `end`.

    Args:
      steps: distance, at least 1.
      begin: first step, at least 0.
      end: last step, at least `begin`; without it there is none. `end` itself always
        counts, so that a schedule's final value is reached.

    Returns:
      Function from step () int32 to () bool.

    Raises:
      ValueError: a number is outside its range or no int.

    Example:
      >>> when = jc.schedules.every(4, begin=2, end=9)
      >>> [step for step in range(12) if when(step)]
      [2, 6, 9]
    """
    last = jnp.iinfo(jnp.int32).max if end is None else end
    steps = check_count("every", "steps", steps)
    begin = check_count("every", "begin", begin, least=0)
    last = check_count("every", "end", last, least=0)
    if begin > last:
        raise ValueError(f"every(begin={begin}, end={end}) must satisfy 0 <= begin <= end.")

    def when(count: ArrayLike) -> Array:
        count = jnp.asarray(count, jnp.int32)
        regular = (count >= begin) & (count <= last) & ((count - begin) % steps == 0)
        return regular | (count == last)

    return when
