"""A recipe as a `Fit`: wholly traceable, so that folds and seeds are one program."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxcompress.core.batches import whole_rows
from jaxcompress.core.checks import check_count
from jaxcompress.core.kinds import check_key, check_kind, check_shape, check_takes
from jaxcompress.core.types import Array, Fit, Key, Params, PyTree
from jaxcompress.train.examples import example_count, rows
from jaxcompress.train.recipe import Recipe
from jaxcompress.train.steps.order import order
from jaxcompress.train.steps.step import BUILD, State, initial, step


def fitting(recipe: Recipe, init: Callable[[Key], Params], *, steps: int, batch_size: int) -> Fit:
    """A training run as one pure function of examples, weights and a key.

    Jit it for one run; vmap it over weights for folds and shadow models, over keys for
    seeds. Which examples a batch holds depends on the key and on how many rows count:
    rows of weight 0 change nothing, wherever they stand.

    Args:
      recipe: how the params are trained.
      init: the params a run starts from, `init(key) -> params`; `lambda key: params`
        where training goes on from given ones.
      steps: batches to train on, at least 1.
      batch_size: examples per step, at least 1. Where fewer rows count, a batch holds
        each of them once.

    Returns:
      `fit(examples, weights, key) -> params`, those after the last step. Examples are a
      tree of arrays with first axis n >= batch_size; of weights (n,) those above 0
      count.

    Raises:
      TypeError: an argument is of another kind.
      ValueError: a count is none; when it is called: there are no examples, their
        lengths differ, or `batch_size` is larger.

    Example:
      >>> model = lambda params, x: params * x
      >>> squared = lambda outputs, targets: (outputs - targets) ** 2
      >>> recipe = jc.train.Recipe(
      ...     jc.train.objectives.supervised(model, squared), optax.sgd(0.05)
      ... )
      >>> init = lambda key: jnp.ones(())
      >>> fit = jc.train.fitting(recipe, init, steps=40, batch_size=2)
      >>> x = jnp.array([1.0, 2.0, 3.0, 4.0])
      >>> folds = jnp.array([[1.0, 1.0, 1.0, 0.0], [0.0, 1.0, 1.0, 1.0]])
      >>> keys = jax.random.split(jax.random.key(0), 2)
      >>> jax.jit(jax.vmap(fit, (None, 0, 0)))((x, 3 * x), folds, keys).round(2)
      Array([3., 3.], dtype=float32)
    """
    check_kind("fitting", "recipe", recipe, Recipe, BUILD)
    check_takes("fitting", "init", init, 1, "Pass init(key), which gives the params.")
    steps = check_count("fitting", "steps", steps)
    batch_size = check_count("fitting", "batch_size", batch_size)
    update = step(recipe)

    def fit(examples: PyTree, weights: Array, key: Key) -> Params:
        n = example_count("fit", examples)
        check_shape("fit", "weights", weights, "(n,)")
        check_key("fit", "key", key)
        if batch_size > n:
            raise ValueError(f"fitting(batch_size={batch_size}) is more than the {n} examples.")
        if len(weights) != n:
            raise ValueError(f"fit(weights of {len(weights)}, examples of {n}) needs one for each.")
        init_key, key = jax.random.split(key)
        return run(initial(recipe, init(init_key), key), *whole_rows((examples, weights)))

    # Outside of jit, too, examples of NumPy are read at places that are traced.
    @jax.jit
    def run(state: State, examples: PyTree, weights: Array) -> Params:
        counts = jnp.asarray(weights) > 0
        # Real rows first, in their own order.
        real = jnp.argsort(~counts, stable=True)
        n_real = jnp.sum(counts, dtype=jnp.int32)
        index = real[order(state.key, jnp.arange(steps), n=n_real, batch_size=batch_size)]
        within = jnp.arange(batch_size) < n_real  # all, unless a batch is larger than n_real

        def body(state: State, index: Array) -> tuple[State, Array]:
            return update(state, rows(examples, index), within)

        return jax.lax.scan(body, state, index)[0].params

    return fit
