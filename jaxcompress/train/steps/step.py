"""One step of training as a pure function of a state and a batch."""

from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.kinds import check_key, check_kind
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.messages import shown
from jaxcompress.core.names import named_leaves
from jaxcompress.core.partition import combine, partition
from jaxcompress.core.statistics import check_untrained
from jaxcompress.core.trees import check_arrays, chosen_by
from jaxcompress.core.types import Array, Key, Params, PyTree
from jaxcompress.train.recipe import Recipe

BUILD = "Make it with train.Recipe(objective, optimizer)."


class State(NamedTuple):
    """What a run carries from step to step.

    Attributes:
      params: the whole tree, statistics and leaves that do not train among it.
      opt_state: of the leaves that train.
      key: of the whole run, the same in each step.
      count: () int32, steps taken.
    """

    params: Params
    opt_state: optax.OptState
    key: Key
    count: Array


Update = Callable[..., tuple[State, Array]]
"""`update(state, batch, weights=1.0) -> (state, loss)`."""


def initial(recipe: Recipe, params: Params, key: Key) -> State:
    """The state before the first step.

    Args:
      recipe: how the params are trained.
      params: tree of arrays; not copied.
      key: of the run: of the order of examples, of augmentation and of dropout.

    Returns:
      State.

    Raises:
      TypeError: an argument is of another kind.
      ValueError: no leaf trains.

    Example:
      >>> model = lambda params, x: params * x
      >>> squared = lambda outputs, targets: (outputs - targets) ** 2
      >>> objective = jc.train.objectives.supervised(model, squared)
      >>> recipe = jc.train.Recipe(objective, optax.sgd(0.1))
      >>> int(jc.train.steps.initial(recipe, jnp.float32(2), jax.random.key(0)).count)
      0
    """
    check_kind("initial", "recipe", recipe, Recipe, BUILD)
    check_trained("initial", recipe, params)
    check_key("initial", "key", key)
    trained, _ = partition(params, recipe.select)
    return State(params, recipe.optimizer.init(trained), key, jnp.zeros((), jnp.int32))


def step(recipe: Recipe) -> Update:
    """One step: the loss of a batch, its gradient, and the optimizer's update.

        loss = Σ_i weight_i · loss_i / Σ_i weight_i

    Randomness comes from the state's key and count, so that steps are the same wherever
    a run goes on. Jit it, scan it or map it; give the state's buffers away.

    Args:
      recipe: how the params are trained.

    Returns:
      `update(state, batch, weights=1.0) -> (state, loss)`: batch is a tree of arrays
      with first axis b, weights (b,) or () at least 0, loss () at least float32.

    Raises:
      TypeError: `recipe` is none; when traced, the objective gives no (b,) losses, or
        other params than it was given.
      ValueError: when traced, the objective changes a leaf that trains, as it does with
        running statistics that `select` does not leave out.

    Example:
      >>> model = lambda params, x: params * x
      >>> squared = lambda outputs, targets: (outputs - targets) ** 2
      >>> objective = jc.train.objectives.supervised(model, squared)
      >>> recipe = jc.train.Recipe(objective, optax.sgd(0.1))
      >>> state = jc.train.steps.initial(recipe, jnp.float32(2), jax.random.key(0))
      >>> batch = jnp.array([1.0, 2.0]), jnp.array([0.0, 3.0])
      >>> state, loss = jax.jit(jc.train.steps.step(recipe))(state, batch)
      >>> state.params, loss
      (Array(1.6, dtype=float32), Array(2.5, dtype=float32))
    """
    check_kind("step", "recipe", recipe, Recipe, BUILD)
    optimizer = optax.with_extra_args_support(recipe.optimizer)

    def update(state: State, batch: PyTree, weights: ArrayLike = 1.0) -> tuple[State, Array]:
        half = jax.random.split(state.key)[1]  # the other half orders the examples
        augment_key, key = jax.random.split(jax.random.fold_in(half, state.count))
        seen = recipe.augment(augment_key, batch)
        trained, carried = partition(state.params, recipe.select)

        def mean_loss(trained: Params) -> tuple[Array, Params]:
            params = combine(trained, carried)
            losses, after = recipe.objective(params, seen, key)
            return weighted_mean(losses, weights), _carried(recipe, params, after)

        (loss, after), grads = jax.value_and_grad(mean_loss, has_aux=True)(trained)
        updates, opt_state = optimizer.update(
            grads,
            state.opt_state,
            trained,
            value=loss,
            grad=grads,
            value_fn=lambda trained: mean_loss(trained)[0],
        )
        params = combine(cast(Params, optax.apply_updates(trained, updates)), after)
        return State(params, opt_state, state.key, state.count + 1), loss

    return update


def check_trained(caller: str, recipe: Recipe, params: Params) -> None:
    """Raises an error unless the params are arrays of which some train."""
    check_arrays(caller, "params", params)
    chosen = chosen_by(caller, recipe.select, params)
    for name, leaf in named_leaves(params).items():
        if chosen[name] and is_compressed(leaf):
            raise TypeError(
                f"{caller}(params=...): leaf {name!r} is compressed, {shown(leaf)}, and its codes "
                "have no gradient. Train jc.materialize(params), through "
                "view=quantize.fake_quantize(spec) where codes are to come, or leave it out by "
                "select=."
            )
        if isinstance(leaf, float | complex):
            raise TypeError(
                f"{caller}(params=...): leaf {name!r} is the number {leaf}. Pass jnp.asarray of "
                "it, so that it is clear whether it trains."
            )
    check_untrained(caller, recipe.objective, params, recipe.select)
    if not any(chosen.values()):
        names = ", ".join(named_leaves(params)) or "none"
        raise ValueError(f"{caller}(params=...): no leaf trains. Leaves are: {names}. See select=.")


def weighted_mean(losses: Array, weights: ArrayLike) -> Array:
    """The mean of the losses with weights at least 0; 0 where all weights are.

    A loss of weight 0 may be NaN.

    Raises:
      TypeError: the losses are not one number per example.

    Example:
      >>> weighted_mean(jnp.array([1.0, 3.0, jnp.nan]), jnp.array([1.0, 1.0, 0.0]))
      Array(2., dtype=float32)
    """
    if getattr(losses, "ndim", None) != 1:
        raise TypeError(
            f"step(recipe): the objective gives losses of shape {jnp.shape(losses)}, which must "
            "be one number per example, (b,). Average over their other axes in the loss."
        )
    losses = losses.astype(jnp.promote_types(losses.dtype, jnp.float32))
    weights = jnp.broadcast_to(jnp.asarray(weights, losses.dtype), losses.shape)
    total = jnp.sum(jnp.where(weights > 0, weights * losses, 0))
    return total / jnp.maximum(jnp.sum(weights), jnp.finfo(losses.dtype).tiny)


def _carried(recipe: Recipe, params: Params, after: Params) -> Params:
    """The leaves that do not train as the objective left them.

    Raises:
      ValueError: it changes a leaf that trains, whose change would be lost.
    """
    before, now = named_leaves(params), named_leaves(after)
    if before.keys() != now.keys():
        raise TypeError(
            "step(recipe): the objective must give the params it was given, with statistics "
            f"updated; it gives leaves {', '.join(now) or 'none'}."
        )
    chosen = chosen_by("step", recipe.select, params)
    changed = [name for name in chosen if chosen[name] and now[name] is not before[name]]
    if changed:
        raise ValueError(
            f"step(recipe): the objective changes leaves that train: {', '.join(changed)}. Leave "
            "running statistics out with select=none_of(functional.statistics) or "
            "none_of(matching(...)), and pass weights through."
        )
    return partition(after, recipe.select)[1]
