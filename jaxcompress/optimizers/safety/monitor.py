"""A monitor around an optimizer: vanishing and exploding gradients, seen by name."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxcompress.core.axes import Axes
from jaxcompress.core.checks import check_concrete, require_params
from jaxcompress.core.flax_leaf import unwrapped
from jaxcompress.core.kinds import check_transformation
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.penalties import group_norms
from jaxcompress.core.selectors import axes_of
from jaxcompress.core.trees import named_axes
from jaxcompress.core.types import Array, Params, PyTree
from jaxcompress.optimizers.leafwise import check_gradients, check_trainable
from jaxcompress.optimizers.safety.guard import check_order


class MonitorState(NamedTuple):
    """What the monitor saw in the last step.

    Attributes:
      gradient_norms: of the params' structure; () float32, the length of the gradient.
      update_ratios: () float32, the length of the update over that of the params.
      dead_units: () float32 in [0, 1], the fraction of output units with gradient 0.
      inner: the inner transformation's state.
    """

    gradient_norms: PyTree
    update_ratios: PyTree
    dead_units: PyTree
    inner: optax.OptState


class Reading(NamedTuple):
    """The last step of one leaf, as Python numbers.

    Attributes:
      gradient_norm: the length of the gradient.
      relative_norm: in [0, 1], over that of the leaf where it is longest: layers that
        learn little beside others. NaN where no leaf has a finite gradient but 0.
      update_ratio: the length of the update over that of the params; around 1e-3 is
        common, infinity means that a leaf of zeros moved.
      dead_units: the fraction of output units whose gradient is 0.
    """

    gradient_norm: float
    relative_norm: float
    update_ratio: float
    dead_units: float


def monitor(
    inner: optax.GradientTransformation, *, axes: Axes | None = None
) -> optax.GradientTransformationExtraArgs:
    """Records norms, ratios and dead units of every leaf; changes nothing.

    `read(opt_state)` gives them by name. It is outermost, where updates are what the
    params get; around it go `optax.masked`, `dynamic_loss_scale`, whose gradients would
    be seen scaled, and `optax.MultiSteps`, to see means and not micro-batches. Then the
    guard still goes around MultiSteps.

    Args:
      inner: optimizer; extra arguments go to it.
      axes: from `graph.axes`; by default the layout of `assumed_axes`. In a leaf that
        meets no data (a bias, a norm) every number is a unit.

    Returns:
      Transformation with a `MonitorState`, all zero before the first step.

    Raises:
      ValueError: when `init` sees the params: a guard lies inside `optax.MultiSteps`
        that skips nothing itself; in `update`: params are missing.
      TypeError: when `init` sees the params: a leaf is not real floating.

    Example:
      >>> params = {"kernel": jnp.array([[3.0, 3.0], [4.0, 4.0]]), "bias": jnp.ones(1)}
      >>> grads = {"kernel": jnp.array([[3.0, 0.0], [4.0, 0.0]]), "bias": jnp.ones(1)}
      >>> optimizer = jc.optimizers.monitor(optax.sgd(0.1))
      >>> opt_state = optimizer.init(params)
      >>> _, opt_state = optimizer.update(grads, opt_state, params)
      >>> reading = jc.optimizers.read(opt_state)["kernel"]
      >>> reading.gradient_norm, reading.dead_units
      (5.0, 0.5)
    """
    check_transformation("monitor", "inner", inner)
    known = named_axes("monitor", axes)
    inner = optax.with_extra_args_support(inner)

    def init(params: Params) -> MonitorState:
        check_trainable("monitor", params)
        zeros = jax.tree.map(lambda leaf: jnp.zeros((), jnp.float32), params)
        inner_state = inner.init(params)
        check_order("monitor(...).init(params)", inner_state)
        return MonitorState(zeros, zeros, zeros, inner_state)

    def update(updates: optax.Updates, state: Any, params: Params = None, **extra):
        require_params("monitor", params)
        check_gradients("monitor", updates, params)
        norms = jax.tree.map(length, updates)
        dead = map_named(
            lambda name, leaf, gradient: dead_fraction(
                gradient, axes_of(name, leaf, known).contracting
            ),
            params,
            updates,
        )
        updates, inner_state = inner.update(updates, state.inner, params, **extra)
        steps, sizes = jax.tree.map(length, (updates, params))
        # 0 where both are, as of a leaf of zeros that stays.
        ratios = jax.tree.map(
            lambda step, size: jnp.where(step == 0, 0.0, step / size), steps, sizes
        )
        return updates, MonitorState(norms, ratios, dead, inner_state)

    return optax.GradientTransformationExtraArgs(init, update)


def read(opt_state: optax.OptState) -> dict[str, Reading]:
    """What `monitor` saw in the last step, by leaf name; not for use inside jit.

    Args:
      opt_state: of a transformation that holds one `monitor`.

    Returns:
      Dict from leaf name to `Reading`, in the tree's order.

    Raises:
      ValueError: there is no `monitor` in it, or more than one; a guard lies inside
        `optax.MultiSteps`, where one bad micro-batch stops training for ever.

    Example:
      >>> optimizer = jc.optimizers.monitor(optax.sgd(0.1))
      >>> list(jc.optimizers.read(optimizer.init({"kernel": jnp.ones((2, 2))})))
      ['kernel']
    """
    check_concrete("read", opt_state=opt_state)
    check_order("read(opt_state)", opt_state)
    nodes = jax.tree.leaves(
        unwrapped(opt_state), is_leaf=lambda node: isinstance(node, MonitorState)
    )
    states = [node for node in nodes if isinstance(node, MonitorState)]
    if len(states) != 1:
        raise ValueError(
            f"read(opt_state) finds {len(states)} states of monitor. Pass the part of opt_state "
            "that holds one."
        )
    norms, ratios, dead = jax.device_get(states[0][:3])
    norms, ratios, dead = map(named_leaves, (norms, ratios, dead))
    longest = max((float(norm) for norm in norms.values() if math.isfinite(norm)), default=0.0)
    return {
        name: Reading(
            gradient_norm=float(norm),
            relative_norm=float(norm) / longest if longest else float("nan"),
            update_ratio=float(ratios[name]),
            dead_units=float(dead[name]),
        )
        for name, norm in norms.items()
    }


def length(x: Array) -> Array:
    """The Euclidean norm of a whole leaf, () float32.

    Example:
      >>> length(jnp.float16([[300.0], [400.0]]))
      Array(500., dtype=float32)
    """
    return group_norms(x, tuple(range(x.ndim))).reshape(())


def dead_fraction(gradient: Array, within: tuple[int, ...]) -> Array:
    """The fraction of units whose gradient is all 0, () float32.

    Args:
      gradient: (…) float.
      within: the axes of a unit; all others count the units.

    Example:
      >>> dead_fraction(jnp.array([[1.0, 0.0], [0.0, 0.0]]), (0,))
      Array(0.5, dtype=float32)
    """
    dead = jnp.all(gradient == 0, axis=within)
    return jnp.sum(dead, dtype=jnp.float32) / max(dead.size, 1)
