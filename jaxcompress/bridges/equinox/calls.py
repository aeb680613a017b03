"""How an Equinox model, written for one example, runs on a batch."""

import inspect
from collections.abc import Callable
from typing import Any

import jax

from jaxcompress.bridges.absent import absent
from jaxcompress.core.kinds import check_function, check_key, check_kind
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Key

try:
    import equinox
except ModuleNotFoundError as error:
    raise absent("equinox", "equinox", error) from error

Call = Callable[..., Any]
"""How a model runs on a batch: (model, *inputs, key) -> outputs, or with state (model,
state, *inputs, key) -> (outputs, state). The key is None in evaluation mode."""


def each_example(model: Callable[..., Any], *inputs: Any, key: Key | None) -> Any:
    """The model on every example along axis 0 of the inputs, each with its own key.

    The key goes to models whose call takes one.

    Raises:
      TypeError: an argument is of another kind.
      ValueError: the inputs are one example, without the axis of a batch.
    """
    check_function("equinox.each_example", "model", model, "Pass the module.")
    check_arrays("equinox.each_example", "inputs", inputs)
    if key is not None:
        check_key("equinox.each_example", "key", key)

    def run(*inputs):
        if key is None or "key" not in inspect.signature(model).parameters:
            return jax.vmap(model)(*inputs)
        return jax.vmap(lambda key, *one: model(*one, key=key))(_keys(key, inputs), *inputs)

    return _on_batch("equinox.each_example", run, inputs)


def each_example_with_state(
    model: Callable[..., Any], state: equinox.nn.State, *inputs: Any, key: Key | None
) -> tuple[Any, equinox.nn.State]:
    """The model on every example, with a state that all examples share.

    The examples lie along the axis "batch", over which batch norms average.

    Raises:
      TypeError: an argument is of another kind.
      ValueError: the inputs are one example, without the axis of a batch.
    """
    check_function("equinox.each_example_with_state", "model", model, "Pass the module.")
    check_kind(
        "equinox.each_example_with_state",
        "state",
        state,
        equinox.nn.State,
        "Take it from nn.make_with_state.",
    )
    check_arrays("equinox.each_example_with_state", "inputs", inputs)
    if key is not None:
        check_key("equinox.each_example_with_state", "key", key)

    def plain(state, *one):
        return model(*one, state)

    def keyed(key, state, *one):
        return model(*one, state, key=key)

    def run(*inputs):
        axes = (None, *(0 for _ in inputs))
        if key is None or "key" not in inspect.signature(model).parameters:
            return _shared(plain, axes)(state, *inputs)
        return _shared(keyed, (0, *axes))(_keys(key, inputs), state, *inputs)

    return _on_batch("equinox.each_example_with_state", run, inputs)


def _on_batch(caller: str, run: Callable[..., Any], inputs: tuple[Any, ...]) -> Any:
    """What a batch gives; a ValueError where the inputs would do as one example."""
    try:
        return run(*inputs)
    except (TypeError, ValueError) as error:
        # Deep inside a layer the lacking axis is another layer's wrong shape.
        if _runs(run, jax.tree.map(lambda array: array[None], inputs)):
            shapes = ", ".join(str(leaf.shape) for leaf in jax.tree.leaves(inputs))
            raise ValueError(
                f"{caller}(inputs of shape {shapes}): this is one example, and a batch is wanted, "
                "whose examples lie along axis 0. Pass x[None]."
            ) from error
        raise


def _runs(run: Callable[..., Any], inputs: tuple[Any, ...]) -> bool:
    try:
        jax.eval_shape(run, *inputs)
    except Exception:
        return False
    return True


def _keys(key: Key, inputs: tuple[Any, ...]) -> Key:
    return jax.random.split(key, len(jax.tree.leaves(inputs)[0]))


def _shared(function: Callable[..., Any], axes: tuple[Any, ...]) -> Callable[..., Any]:
    return jax.vmap(function, axis_name="batch", in_axes=axes, out_axes=(0, None))
