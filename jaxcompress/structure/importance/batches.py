"""Means over the examples of batches, and losses checked to be one per example."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.batches import as_inputs
from jaxcompress.core.checks import check_concrete
from jaxcompress.core.kinds import check_iterable, check_loss, check_takes
from jaxcompress.core.types import Array, Loss, Params

Batches = Iterable[Any]
"""Pairs (inputs, targets), listed once; inputs are one input of the model or a tuple of
them. Axis 0 of every array counts examples; under a `BatchLoss` a batch is one."""


@dataclasses.dataclass(frozen=True)
class BatchLoss:
    """A loss of a whole batch, which counts as one example.

    For data without an axis 0 that counts examples in every array: a graph with nodes
    and edges, inputs with time first, an input that all examples share. A batch is then
    what is scored at once: one graph, one sequence.

    Attributes:
      loss: (outputs, targets) to one number (), such as a mean over nodes.

    Example:
      >>> def fn(params, nodes, senders, receivers):
      ...     sent = (nodes @ params["in"])[senders]
      ...     return jax.ops.segment_sum(sent, receivers, 3) @ params["out"]
      >>> params = {"in": jnp.eye(2), "out": jnp.array([[3.0], [1.0]])}
      >>> graph = (jnp.ones((3, 2)), jnp.array([0, 1]), jnp.array([1, 2]))
      >>> mean = lambda outputs, targets: jnp.mean((outputs - targets) ** 2)
      >>> loss = jc.structure.importance.BatchLoss(mean)
      >>> taylor = jc.structure.importance.taylor(loss, [(graph, jnp.zeros((3, 1)))])
      >>> couplings = jc.graph.couplings(fn, params, *graph)
      >>> taylor(fn, params, couplings)
      {'in:1': Array([16.   ,  5.333], dtype=float32)}
    """

    loss: Loss

    def __post_init__(self) -> None:
        check_takes("BatchLoss", "loss", self.loss, 2, "Pass (outputs, targets) -> one number.")

    def __call__(self, outputs: Any, targets: Any) -> Array:
        return self.loss(outputs, targets)


def apart(loss: Loss, batch: Any):
    """The batch with an axis in front that counts its examples."""
    if isinstance(loss, BatchLoss):
        return jax.tree.map(lambda array: jnp.asarray(array)[None], batch)
    return batch


def alone(loss: Loss, example: Any):
    """One of the examples that `apart` gives, as the model takes it."""
    if isinstance(loss, BatchLoss):
        return example
    return jax.tree.map(lambda array: array[None], example)


def average(
    caller: str,
    loss: Loss | None,
    measure: Callable[..., Any],
    params: Params,
    batches: Sequence[Any],
):
    """The mean over examples of what a batch gives, its own mean over examples."""
    check_concrete(caller, params=params)
    jitted = jax.jit(measure)
    # Summed on the host, where nothing is compiled for each shape of scores.
    total, count = None, 0
    for inputs, targets in batches:
        inputs = as_inputs(inputs)
        size = 1 if isinstance(loss, BatchLoss) else _examples(caller, inputs, targets)
        means = jax.device_get(jitted(params, inputs, targets))
        with np.errstate(over="ignore", invalid="ignore"):  # checked where scores are read
            share = jax.tree.map(lambda x, size=size: size * x, means)
            total = share if total is None else jax.tree.map(np.add, total, share)
        count += size
    return jax.device_put(jax.tree.map(lambda x: x / count, total))


def number_of_examples(loss: Loss, batches: Sequence[Any]) -> int:
    """How many examples all batches hold."""
    if isinstance(loss, BatchLoss):
        return len(batches)
    return sum(len(jax.tree.leaves(targets)[0]) for _, targets in batches)


def _examples(caller: str, inputs: tuple[Any, ...], targets) -> int:
    """How many examples a batch holds."""
    sizes = {jnp.shape(array)[:1] for array in jax.tree.leaves((inputs, targets))}
    if len(sizes) != 1 or sizes <= {(), (0,)}:
        shapes = [jnp.shape(array) for array in jax.tree.leaves((inputs, targets))]
        raise ValueError(
            f"{caller}(batches=...): axis 0 of inputs and targets must count the same examples, "
            f"but the shapes are {', '.join(map(str, shapes))}. Where they do not, give a "
            "loss of the whole batch, importance.BatchLoss(loss)."
        )
    return sizes.pop()[0]


def per_example(caller: str, loss: Loss, outputs: Any, targets: Any) -> Array:
    """The losses of a batch, (examples,) float32, checked."""
    losses = loss(outputs, targets)
    if isinstance(loss, BatchLoss):
        if losses.shape != ():
            raise ValueError(
                f"{caller}(loss=BatchLoss(...)) gives shape {losses.shape}; a loss of a whole "
                "batch is one number, of shape ()."
            )
        return losses.astype(jnp.float32)[None]
    expected = jax.tree.leaves(targets)[0].shape[:1]
    if losses.shape != expected:
        raise ValueError(
            f"{caller}(loss=...) gives shape {losses.shape}; one number per example has shape "
            f"{expected}. A loss of the whole batch is importance.BatchLoss(loss)."
        )
    return losses.astype(jnp.float32)


def check_judged(caller: str, loss: object, batches: object) -> None:
    """Raises a TypeError unless it is a loss, and batches to judge by it."""
    check_loss(caller, loss)
    check_iterable(caller, "batches", batches, "Pass (inputs, targets) pairs.")
