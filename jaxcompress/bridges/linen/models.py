"""A Linen module and its variables as pure functions."""

from typing import Any

import jax

from jaxcompress.bridges.absent import absent
from jaxcompress.bridges.functional import NO_KEYWORDS, Functional, Keywords, check_keywords
from jaxcompress.core.kinds import check_each, check_kind, check_mapping, check_text
from jaxcompress.core.leaf import materialize
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Key, Params

try:
    from flax import core, linen
except ModuleNotFoundError as error:
    raise absent("linen", "flax", error) from error


def functional(
    module: linen.Module,
    variables: core.FrozenDict[str, Any] | dict[str, Any],
    *,
    evaluation: Keywords = NO_KEYWORDS,
    training: Keywords = NO_KEYWORDS,
    rngs: tuple[str, ...] = ("dropout",),
) -> Functional:
    """The module as pure functions of its variables.

    Linen modules switch to training by a keyword of their own choice (`train`,
    `deterministic`, `use_running_average`), so the caller gives those of each mode.

    Args:
      module: any Linen module.
      variables: what `module.init` gave: all collections.
      evaluation: keywords of `module.apply` in `fn`, `method` included.
      training: keywords of `module.apply` in `train_fn`.
      rngs: names of the random streams `train_fn` gives the module, each from its key.

    Returns:
      Functional whose params are the variables as a plain dict, and whose `restore` is
      the identity. Every collection but "params" counts as statistics.

    Example:
      >>> from flax import linen
      >>> module = linen.Dropout(0.5)
      >>> model = jc.bridges.linen.functional(
      ...     module,
      ...     {"params": {}},
      ...     evaluation={"deterministic": True},
      ...     training={"deterministic": False},
      ... )
      >>> model.fn(model.params, jnp.ones(4))
      Array([1., 1., 1., 1.], dtype=float32)
      >>> outputs, _ = model.train_fn(model.params, jnp.ones(4), key=jax.random.key(0))
      >>> sorted(set(outputs.tolist()))
      [0.0, 2.0]
    """
    check_kind("linen.functional", "module", module, linen.Module, "Call the class, as MLP().")
    check_mapping("linen.functional", "variables", variables, "Pass what module.init gave.")
    check_arrays("linen.functional", "variables", core.unfreeze(variables))
    check_keywords("linen.functional", evaluation=evaluation, training=training)
    check_each("linen.functional", "rngs", rngs, check_text)
    params = core.unfreeze(variables)

    def fn(params: Params, *inputs):
        return module.apply(materialize(params), *inputs, **evaluation)

    def train_fn(params: Params, *inputs, key: Key):
        outputs, updated = module.apply(
            materialize(params),
            *inputs,
            rngs={name: jax.random.fold_in(key, index) for index, name in enumerate(rngs)},
            mutable=[collection for collection in params if collection != "params"],
            **training,
        )
        return outputs, {**params, **updated}

    return Functional(fn=fn, params=params, train_fn=train_fn, restore=lambda params: params)
