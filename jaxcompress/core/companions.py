"""Companions: parameters that a technique trains beside the model's own.

Scores and gates that decide which weights stay are companions, and so are learned
quantization steps, thresholds, codebooks and low-rank factors. All of them live alike:

    companions = technique.init(params)
    loss of (params, companions) = loss of technique.view(params, companions, step)
                                   + weight · technique.penalty(params, companions)
    shipped = technique.freeze(params, companions)

The pair (params, companions) is what `jax.grad` differentiates, what the optimizer
moves and what a checkpoint holds. No technique lives here.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.kinds import check_kind
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.types import Array, Key, Params, PyTree

Companions = dict[str, PyTree]
"""By leaf name, what is trained beside that leaf: an array, or a tree of arrays."""


class Step(NamedTuple):
    """What a view may depend on besides params and companions.

    Attributes:
      count: () int, steps taken so far; schedules read it.
      key: random key of this step, for techniques that draw noise.
    """

    count: ArrayLike = 0
    key: Key | None = None


class Seen(Protocol):
    """From params and companions to params, at a step."""

    def __call__(self, params: Params, companions: Companions, step: Step = Step()) -> Params:
        """Params of the same structure."""
        ...


class Companion(NamedTuple):
    """A technique that trains parameters beside the model's: four pure functions.

    Attributes:
      init: params -> companions, to be trained from there. Where they start at values
        that do not come from weights, shapes are enough.
      view: (params, companions, step) -> params as the model sees them in training;
        differentiable in both. Leaves without companions are unchanged.
      freeze: (params, companions, step) -> params that are shipped: no noise, no
        companions, and arrays or compressed leaves in the params' places.
      penalty: (params, companions) -> () float32, to be added to the loss times a
        weight of the user's; 0 for a technique without one.

    Example:
      >>> technique = jc.prune.companions.soft_movement(threshold=0.0, start=1.0)
      >>> params = {"kernel": jnp.array([[1.0, -2.0]])}
      >>> both = params, technique.init(params)
      >>> def loss(both):
      ...     return technique.view(*both)["kernel"].sum() + technique.penalty(*both)
      >>> optimizer = optax.partition(
      ...     {"params": optax.sgd(0.1), "scores": optax.sgd(1.0)}, ("params", "scores")
      ... )
      >>> updates, _ = optimizer.update(jax.grad(loss)(both), optimizer.init(both))
      >>> technique.freeze(*optax.apply_updates(both, updates))
      {'kernel': Array([[ 0. , -2.1]], dtype=float32)}
    """

    init: Callable[[Params], Companions]
    view: Seen
    freeze: Seen
    penalty: Callable[[Params, Companions], Array]


def begin(params: Params, selected: PyTree, start: Callable[[str, Any], PyTree]) -> Companions:
    """What stands beside each selected leaf at first: `start(name, leaf)`, by name."""
    chosen = named_leaves(selected)
    return {name: start(name, leaf) for name, leaf in named_leaves(params).items() if chosen[name]}


def no_penalty(params: Params, companions: Companions) -> Array:
    """The penalty of a technique without one: 0."""
    del params, companions
    return jnp.zeros((), jnp.float32)


def require(
    caller: str, params: Params, companions: Companions, fits: Callable[[Any, Any], bool]
) -> None:
    """Raises a ValueError unless companions are of leaves of these params and fit them.

    Args:
      caller: the technique.
      params: tree of arrays or shapes.
      companions: by leaf name.
      fits: (companion, leaf) to whether it stands beside such a leaf.
    """
    if not companions:
        raise ValueError(f"{caller}(companions={{}}) is empty. Begin with init(params).")
    leaves = named_leaves(params)
    for name, companion in companions.items():
        if name not in leaves:
            raise ValueError(
                f"{caller}(companions=...): there is no leaf {name!r}. "
                f"Leaves are: {', '.join(leaves)}."
            )
        if not fits(companion, leaves[name]):
            raise ValueError(
                f"{caller}(companions=...): what stands beside leaf {name!r} has shape "
                f"{tuple(jnp.shape(companion))}, the leaf has {tuple(leaves[name].shape)}. Begin "
                "with init(params)."
            )


def of_equal_shape(companion: Any, leaf: Any) -> bool:
    """Whether there is one number for each weight."""
    return tuple(companion.shape) == tuple(leaf.shape)


def that_broadcasts(companion: Any, leaf: Any) -> bool:
    """Whether there is one number for each weight, or each group of them along axes."""
    return companion.ndim == leaf.ndim and all(
        own in (1, size) for own, size in zip(companion.shape, leaf.shape, strict=True)
    )


def seen(params: Params, companions: Companions, of_leaf: Callable[[str, Any], Any]) -> Params:
    """The params with `of_leaf(name, leaf)` wherever there is a companion."""
    return map_named(lambda name, leaf: of_leaf(name, leaf) if name in companions else leaf, params)


def check_step(caller: str, step: object) -> None:
    """Raises a TypeError unless it is a Step, such as for a count alone."""
    check_kind(caller, "step", step, Step, "Pass Step(count, key).")


def keys_of(caller: str, companions: Companions, step: Step) -> dict[str, Key]:
    """A random key for every companion, by name.

    Raises:
      ValueError: the step has no key.
    """
    check_step(caller, step)
    if step.key is None:
        raise ValueError(
            f"{caller}(step=...) draws noise and was given no key. Pass Step(count, key), with "
            "another key at each step; freeze() is the model without noise."
        )
    keys = jax.random.split(step.key, len(companions))
    return dict(zip(sorted(companions), keys, strict=True))
