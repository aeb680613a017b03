"""Constraints on weights: updates that never take a weight, or a unit's norm, beyond.

They come last in a chain, since they rewrite the update so that the sum of param and
update, as `optax.apply_updates` forms it, keeps the constraint in the param's dtype.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxcompress.core.axes import Axes
from jaxcompress.core.checks import check_number, check_size
from jaxcompress.core.penalties import group_norms
from jaxcompress.core.selectors import axes_of
from jaxcompress.core.trees import named_axes
from jaxcompress.core.types import Array, Selector
from jaxcompress.optimizers.leafwise import on_selected
from jaxcompress.optimizers.moments import divided


def clip_weights(
    low: ArrayLike, high: ArrayLike, *, select: Selector | None = None
) -> optax.GradientTransformation:
    """Keeps weights in [low, high] after every step; it comes last in a chain.

    Not for: units that should stay short, which single weights do not show; take
    `max_norm`.

        w <- clip(w + update, low, high)

    After `optax.apply_updates` no selected weight lies outside, in any dtype, with no
    tolerance. A weight that would cross a bound lands on it where an update exists that
    takes it there, which is always so in bfloat16 and float16; in float32 a sum of two
    numbers may only come within one rounding of the bound, and then stays inside.

    Args:
      low: () finite.
      high: () above `low`. What the dtype of a leaf cannot hold is rounded inwards.
      select: which leaves; by default matrices and kernels, see `weights`.

    Returns:
      Stateless transformation. Updates of weights that stay inside keep their value,
      NaN too; those of selected leaves are at least float32. Of narrower gradients it
      stands behind `optax.apply_if_finite`, not within: that wants their dtype back.

    Raises:
      ValueError: a bound is not finite, or `low` is not below `high`; in `update`:
        params are missing.
      TypeError: when `init` sees the params: a leaf is not real floating.

    Example:
      >>> optimizer = optax.chain(optax.sgd(1.0), jc.optimizers.clip_weights(-1.0, 1.0))
      >>> params = jnp.array([[0.5, -0.25]])
      >>> updates, _ = optimizer.update(-params * 3, optimizer.init(params), params)
      >>> optax.apply_updates(params, updates)
      Array([[ 1., -1.]], dtype=float32)

    Also known as: weight clipping, projected gradient descent onto a box; BinaryConnect
    clips its real weights to [-1, 1].

    Source: Courbariaux et al. 2015, arXiv:1511.00363, section 2.4; Arjovsky et al.
    2017, arXiv:1701.07875, algorithm 1. Differs: the update is rewritten, so that the
    clipped weights are those of one addition and no second hook is needed.
    """
    check_number("clip_weights", "low", low)
    check_number("clip_weights", "high", high)
    traced = isinstance(low, Tracer) or isinstance(high, Tracer)
    if not traced and np.asarray(low).item() >= np.asarray(high).item():
        raise ValueError(f"clip_weights(low={low}, high={high}) needs low below high.")

    def constrained(name: str, leaf: Array, update: Array) -> Array:
        del name
        return landing_between(leaf, update, *inward(low, high, leaf.dtype))

    return on_selected("clip_weights", select, constrained)


def max_norm(
    limit: ArrayLike = 3.0, *, axes: Axes | None = None, select: Selector | None = None
) -> optax.GradientTransformation:
    """Keeps the norm of the weights into each unit at most `limit`; last in a chain.

    Not for: bounds on single weights; take `clip_weights`.

        v = w + update
        w <- v · min(1, limit / ‖v_i‖)   for each unit i

    A unit is one output with all the weights into it, its bias apart. Entries are
    rounded towards 0, so that after `optax.apply_updates` no norm exceeds the limit by
    more than the rounding of a float32 sum, in bfloat16 and float16 too.

    Args:
      limit: () at least 0.
      axes: from `graph.axes`; by default the layout of `assumed_axes`.
      select: which leaves; by default matrices and kernels, see `weights`. A selected
        leaf that meets no data (a bias, a norm) is one unit as a whole.

    Returns:
      Stateless transformation. Updates of units within the limit keep their value, NaN
      too; those of selected leaves are at least float32, as of `clip_weights`.

    Raises:
      ValueError: `limit` is negative or not finite; in `update`: params are missing.
      TypeError: when `init` sees the params: a leaf is not real floating.

    Example:
      >>> optimizer = optax.chain(optax.sgd(1.0), jc.optimizers.max_norm(2.5))
      >>> params = jnp.array([[3.0, 0.0], [4.0, 1.0]])
      >>> updates, _ = optimizer.update(params * 0, optimizer.init(params), params)
      >>> optax.apply_updates(params, updates)
      Array([[1.5, 0. ],
             [2. , 1. ]], dtype=float32)

    Also known as: max-norm regularization, max-norm constraint, kernel constraint.

    Source: Srivastava et al. 2014, "Dropout", JMLR 15, section 5.1 and appendix A.1;
    Hinton et al. 2012, arXiv:1207.0580. Differs: units follow the program's axes.
    """
    check_size("max_norm", "limit", limit)
    known = named_axes("max_norm", axes)

    def constrained(name: str, leaf: Array, update: Array) -> Array:
        roles = axes_of(name, leaf, known)
        within = roles.contracting if roles.meets_data else tuple(range(leaf.ndim))
        reached = (leaf + update).astype(leaf.dtype)
        norms = group_norms(reached, within)
        long = norms > limit
        share = jnp.where(long, divided(jnp.asarray(limit, norms.dtype), norms), 1.0)
        ends = towards_zero(reached * share, leaf.dtype)
        return jnp.where(long, landing_between(leaf, update, *ends), update)

    return on_selected("max_norm", select, constrained)


def inward(low: ArrayLike, high: ArrayLike, dtype: Any) -> tuple[Array, Array]:
    """The smallest and largest numbers of a dtype in [low, high].

    Example:
      >>> inward(-0.3, 0.3, jnp.bfloat16)
      (Array(-0.298828, dtype=bfloat16), Array(0.298828, dtype=bfloat16))
    """
    low, high = jnp.asarray(low, jnp.float32), jnp.asarray(high, jnp.float32)
    from_below, from_above = low.astype(dtype), high.astype(dtype)
    up = jnp.nextafter(from_below, jnp.array(jnp.inf, dtype))
    down = jnp.nextafter(from_above, jnp.array(-jnp.inf, dtype))
    return (
        jnp.where(from_below < low, up, from_below),
        jnp.where(from_above > high, down, from_above),
    )


def towards_zero(target: Array, dtype: Any) -> tuple[Array, Array]:
    """The interval from 0 to each target, its end rounded towards 0 in a dtype."""
    rounded = target.astype(dtype)
    beyond = jnp.abs(rounded) > jnp.abs(target)
    end = jnp.where(beyond, jnp.nextafter(rounded, jnp.zeros((), dtype)), rounded)
    return jnp.minimum(end, 0), jnp.maximum(end, 0)


def landing_between(leaf: Array, update: Array, low: Array, high: Array) -> Array:
    """The update, changed where its sum with the leaf would lie outside [low, high].

    Of the difference to the nearer bound and its two neighbours, the one is taken whose
    sum with the leaf comes nearest to the bound from inside. One step is enough: the
    difference and the sum are each off by half of its last bit.

    Args:
      leaf: (…) float.
      update: of that shape, float.
      low: of the leaf's dtype, of that shape or ().
      high: the same, not below `low`.

    Returns:
      Array of that shape, float32 or wider.

    Example:
      >>> leaf, ends = jnp.array([0.25, 0.5]), jnp.array([-1.0, 1.0])
      >>> landing_between(leaf, jnp.array([0.5, 2.0]), *ends)
      Array([0.5, 0.5], dtype=float32)
    """

    def landed(update: Array) -> Array:
        return (leaf + update).astype(leaf.dtype)

    reached = landed(update)
    bound = jnp.where(reached > high, high, low)
    wide = jnp.promote_types(jnp.promote_types(leaf.dtype, update.dtype), jnp.float32)
    exact = bound.astype(wide) - leaf.astype(wide)
    best, at = exact, landed(exact)
    for towards in (-jnp.inf, jnp.inf):
        other = jnp.nextafter(exact, jnp.array(towards, wide))
        there = landed(other)
        inside = (there >= low) & (there <= high)
        outside = (at < low) | (at > high)
        nearer = jnp.abs(there - bound) < jnp.abs(at - bound)
        better = inside & (outside | nearer)
        best, at = jnp.where(better, other, best), jnp.where(better, there, at)
    crosses = (reached > high) | (reached < low)
    return jnp.where(crosses, best, update.astype(wide))
