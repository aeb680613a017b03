"""An Equinox module as pure functions of its arrays."""

from typing import Any

import equinox

from jaxcompress.bridges.equinox.calls import Call, each_example, each_example_with_state
from jaxcompress.bridges.functional import Functional
from jaxcompress.bridges.layout import layout_of, updated
from jaxcompress.core import statistics
from jaxcompress.core.kinds import check_function, check_kind
from jaxcompress.core.leaf import materialize
from jaxcompress.core.names import named_leaves
from jaxcompress.core.types import Key, Params


def functional(model: equinox.Module, *, call: Call = each_example) -> Functional:
    """The module as pure functions of its floating arrays.

    `fn` runs `equinox.nn.inference_mode(model)`, `train_fn` the model with inference
    mode off. Compressed leaves are formed inside the call, so any layer takes them.

    Args:
      model: any module without state.
      call: how it runs on a batch; by default on each example by itself.

    Returns:
      Functional whose params are the module with None for all that is no floating
      array: leaf names are the attribute paths, for example "layers/0/weight". Its
      functions take batches: of one example pass `x[None]`. `restore(params)` is a
      module in the model's own mode.

    Example:
      >>> import equinox as eqx
      >>> linear = eqx.nn.Linear(2, 3, key=jax.random.key(0))
      >>> model = jc.bridges.equinox.functional(linear)
      >>> list(jc.named_leaves(model.params))
      ['weight', 'bias']
      >>> model.fn(model.params, jnp.ones((5, 2))).shape
      (5, 3)
      >>> model.restore(model.params).out_features
      3
    """
    check_kind(
        "equinox.functional", "model", model, equinox.Module, "Call the class, as MLP(key=key)."
    )
    check_function("equinox.functional", "call", call, "For example equinox.each_example.")
    params, static = equinox.partition(model, equinox.is_inexact_array)
    evaluated, trained = (_in_mode(static, inference) for inference in (True, False))
    layout = layout_of(params)

    def fn(params: Params, *inputs):
        params = layout.arranged("equinox: fn", params)
        return call(combined(evaluated, materialize(params)), *inputs, key=None)

    def train_fn(given: Params, *inputs, key: Key):
        params = layout.arranged("equinox: train_fn", given)
        return call(combined(trained, materialize(params)), *inputs, key=key), given

    def restore(params: Params) -> equinox.Module:
        return combined(static, layout.fitting("equinox: restore", params, "equinox.shrunk"))

    return Functional(fn=fn, params=params, train_fn=train_fn, restore=restore)


def stateful(
    model: equinox.Module, state: equinox.nn.State, *, call: Call = each_example_with_state
) -> Functional:
    """The pure functions of a model with state, of `equinox.nn.make_with_state`.

    Args:
      model: any module.
      state: its state; floating arrays in it count as statistics.
      call: how it runs on a batch; by default on each example, with one state for all.

    Returns:
      Functional whose params are {"params": those of the module, "state": the floating
      arrays of the state}; `restore(params)` is (module, state). Its functions take
      batches: of one example pass `x[None]`.

    Example:
      >>> import equinox as eqx
      >>> make = eqx.nn.make_with_state(eqx.nn.BatchNorm)
      >>> model = jc.bridges.equinox.stateful(*make(2, "batch", mode="batch"))
      >>> x, key = jnp.ones((5, 2)), jax.random.key(0)
      >>> outputs, new = model.train_fn(model.params, x, key=key)
      >>> outputs.shape
      (5, 2)
    """
    check_kind(
        "equinox.stateful", "model", model, equinox.Module, "Call the class, as MLP(key=key)."
    )
    check_kind(
        "equinox.stateful", "state", state, equinox.nn.State, "Take it from nn.make_with_state."
    )
    check_function("equinox.stateful", "call", call, "For example equinox.each_example.")
    params, static = equinox.partition(model, equinox.is_inexact_array)
    floating, rest = equinox.partition(state, equinox.is_inexact_array)
    everything = {"params": params, "state": floating}
    layout = layout_of(everything)
    evaluated, trained = (_in_mode(static, inference) for inference in (True, False))

    def run(static, params: Params, inputs: tuple[Any, ...], key: Key | None):
        arrays = materialize(params)
        own = combined(rest, arrays["state"])
        return call(combined(static, arrays["params"]), own, *inputs, key=key)

    def fn(params: Params, *inputs):
        return run(evaluated, layout.arranged("equinox: fn", params), inputs, None)[0]

    def train_fn(given: Params, *inputs, key: Key):
        params = layout.arranged("equinox: train_fn", given)
        outputs, new = run(trained, params, inputs, key)
        return outputs, updated(given, {"state": equinox.filter(new, equinox.is_inexact_array)})

    def restore(params: Params):
        params = layout.fitting("equinox: restore", params, "equinox.shrunk_stateful")
        return combined(static, params["params"]), combined(rest, params["state"])

    return Functional(
        fn=fn,
        params=everything,
        train_fn=train_fn,
        restore=restore,
        statistics=statistics.named(named_leaves({"state": floating}).keys()),
    )


def combined(static, arrays):
    """Static first: where it holds nothing, `combine` takes a whole compressed leaf."""
    return equinox.combine(static, arrays)


def _in_mode(static, inference: bool):
    return equinox.nn.inference_mode(static, value=inference)
