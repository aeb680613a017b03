"""A Linen module and its variables as pure functions."""

import inspect
from typing import Any

import jax

from jaxcompress.bridges.absent import absent
from jaxcompress.bridges.functional import NO_KEYWORDS, Functional, Keywords, check_keywords
from jaxcompress.core import statistics
from jaxcompress.core.kinds import check_each, check_kind, check_mapping, check_text
from jaxcompress.core.leaf import materialize
from jaxcompress.core.names import named_leaves
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Key, Params

try:
    from flax import core, linen
except ModuleNotFoundError as error:
    raise absent("linen", "flax", error) from error


_SWITCHES = {
    "train": False,
    "training": False,
    "is_training": False,
    "deterministic": True,
    "use_running_average": True,
}
"""Keywords by which modules switch modes, with their value in evaluation mode."""


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
      training: keywords of `module.apply` in `train_fn`, which refuses to run where a
        switch (`train`, `training`, `is_training`, `deterministic`,
        `use_running_average`) would stay in evaluation mode by its default.
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
        _check_switched(module, inputs, training)
        outputs, updated = module.apply(
            materialize(params),
            *inputs,
            rngs={name: jax.random.fold_in(key, index) for index, name in enumerate(rngs)},
            mutable=[collection for collection in params if collection != "params"],
            **training,
        )
        return outputs, {**params, **updated}

    held = {name: collection for name, collection in params.items() if name != "params"}
    return Functional(
        fn=fn,
        params=params,
        train_fn=train_fn,
        restore=lambda params: params,
        statistics=statistics.named(named_leaves(held).keys()),
    )


def _check_switched(module: linen.Module, inputs: tuple[Any, ...], training: Keywords) -> None:
    """Raises a ValueError where a switch of the call is left in evaluation mode.

    A module with `train=False` runs without any error and updates nothing.
    """
    method = training.get("method") or type(module).__call__
    method = getattr(type(module), method) if isinstance(method, str) else method
    parameters = inspect.signature(method).parameters
    given = {*training, *list(parameters)[1 : 1 + len(inputs)]}
    for name, evaluates in _SWITCHES.items():
        if name in parameters and name not in given and parameters[name].default is evaluates:
            kind = type(module).__name__
            raise ValueError(
                f"linen.functional(training={dict(training)}): {kind} would run in evaluation mode "
                f"in train_fn, since its call has {name}={evaluates}. Pass "
                f"training={{{name!r}: {not evaluates}}} when you make the functional."
            )
