"""What a step makes small: a model and a loss as losses per example."""

from collections.abc import Callable
from typing import Any

from jaxcompress.core import exports
from jaxcompress.core.batches import as_inputs
from jaxcompress.core.kinds import check_function
from jaxcompress.core.messages import shown
from jaxcompress.core.models import check_model, check_train_fn
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.statistics import reading, statistics_of
from jaxcompress.core.trees import trained
from jaxcompress.core.types import Array, Key, Model, Params, PyTree, View

exports.list_definitions(globals())

Objective = Callable[[Params, PyTree, Key], tuple[Array, Params]]
"""(params, batch, key) to losses (b,) and the params as the model leaves them.

A term that is no example's, such as a penalty of the weights, is added to each loss.
What comes back are the params given, running statistics updated.
"""


def _unchanged(tree: PyTree) -> PyTree:
    """The tree as it is: the view of a model that sees its weights themselves."""
    return tree


def supervised(fn: Model, loss: Callable[..., Array], *, view: View = _unchanged) -> Objective:
    """The losses of a model without running statistics or dropout.

        losses = loss(fn(view(params), inputs), *targets)

    Args:
      fn: `fn(params, inputs) -> outputs`; a tuple of inputs is passed one by one. Of a
        bridge's `fn` the running statistics are not to train: see `select` of `Recipe`.
      loss: `loss(outputs, *targets) -> (b,)`, one number per example, such as
        `distill.outputs.hard_targets`. A sum of losses is a function that adds them.
      view: how the model sees its weights, such as `quantize.fake_quantize(spec)`.

    Returns:
      Objective of batches (inputs, *targets), for a `Recipe`.

    Raises:
      TypeError: an argument is no function, or `fn` asks for a keyword, as a `train_fn`
        does; when it is called: the batch is no tuple.

    Example:
      >>> squared = lambda outputs, targets: (outputs - targets) ** 2
      >>> model = lambda params, x: params * x
      >>> objective = jc.train.objectives.supervised(model, squared)
      >>> batch = jnp.array([1.0, 2.0]), jnp.array([0.0, 5.0])
      >>> objective(jnp.float32(2), batch, jax.random.key(0))[0]
      Array([4., 1.], dtype=float32)
    """
    check_model("supervised", fn)
    _check("supervised", loss=loss, view=view)

    def objective(params: Params, batch: PyTree, key: Key) -> tuple[Array, Params]:
        inputs, targets = _parts("supervised", batch)
        return loss(fn(view(params), *inputs), *targets), params

    reading(statistics_of(fn), objective)
    return objective


def supervised_with_state(
    train_fn: Callable[..., tuple[Any, Params]],
    loss: Callable[..., Array],
    *,
    view: View = _unchanged,
) -> Objective:
    """The losses of a model in training mode: dropout, statistics of batch norms.

    Args:
      train_fn: `train_fn(params, inputs, key=key) -> (outputs, new_params)`, as bridges
        give it; weights are passed through as they came.
      loss: as of `supervised`.
      view: as of `supervised`. Weights that it changes stay what they are; statistics
        are seen as they are.

    Returns:
      Objective of batches (inputs, *targets). Leave the statistics out of what trains:
      `Recipe(..., select=none_of(functional.statistics))` of a bridge's functional, or
      `none_of(matching("*/mean", "*/var"))`.

    Raises:
      TypeError: as of `supervised`; or `train_fn` takes no key, or gives no such pair.

    Example:
      >>> def train_fn(params, x, *, key):
      ...     mean = 0.9 * params["mean"] + 0.1 * x.mean()
      ...     return params["scale"] * (x - x.mean()), {**params, "mean": mean}
      >>> squared = lambda outputs, targets: (outputs - targets) ** 2
      >>> objective = jc.train.objectives.supervised_with_state(train_fn, squared)
      >>> params = {"scale": jnp.float32(2), "mean": jnp.float32(0)}
      >>> batch = jnp.array([1.0, 3.0]), jnp.array([0.0, 0.0])
      >>> losses, after = objective(params, batch, jax.random.key(0))
      >>> losses, after["mean"]
      (Array([4., 4.], dtype=float32), Array(0.2, dtype=float32))
    """
    check_train_fn("supervised_with_state", train_fn)
    _check("supervised_with_state", loss=loss, view=view)

    def objective(params: Params, batch: PyTree, key: Key) -> tuple[Array, Params]:
        inputs, targets = _parts("supervised_with_state", batch)
        seen = view(params)
        result = train_fn(seen, *inputs, key=key)
        outputs, after = trained("supervised_with_state", result, seen)
        given = named_leaves(seen)
        # What was passed through is what the view gave, and not the weight itself.
        new = map_named(
            lambda name, own: own if after[name] is given[name] else after[name], params
        )
        return loss(outputs, *targets), new

    return objective


def _check(caller: str, **functions: object) -> None:
    mends = {
        "loss": "Pass loss(outputs, *targets), one number per example.",
        "view": "Pass view(params), such as quantize.fake_quantize(spec).",
    }
    for argument, function in functions.items():
        check_function(caller, argument, function, mends[argument])


def _parts(caller: str, batch: PyTree) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The inputs of the model and the targets of the loss."""
    if not isinstance(batch, tuple | list) or not batch:
        raise TypeError(
            f"{caller}(...): the examples are {shown(batch)}, no tuple (inputs, *targets). Pass "
            "(x, labels), or write the objective(params, batch, key) yourself."
        )
    inputs, *targets = batch
    return as_inputs(inputs), tuple(targets)
