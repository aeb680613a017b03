"""Means over the examples of batches, and losses checked to be one per example."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.batches import as_inputs
from jaxcompress.core.checks import check_concrete
from jaxcompress.core.kinds import check_iterable, check_takes
from jaxcompress.core.types import Array, Loss, Params

Batches = Iterable[Any]
"""Pairs (inputs, targets), listed once; inputs are one input of the model or a tuple of
them. Axis 0 of every array counts examples."""


def average(caller: str, measure: Callable, params: Params, batches: Sequence[Any]):
    """The mean over examples of what a batch gives, its own mean over examples."""
    check_concrete(caller, params=params)
    jitted = jax.jit(measure)
    total, count = None, 0
    for inputs, targets in batches:
        inputs = as_inputs(inputs)
        size = _examples(caller, inputs, targets)
        share = jax.tree.map(lambda x, size=size: size * x, jitted(params, inputs, targets))
        total = share if total is None else jax.tree.map(jnp.add, total, share)
        count += size
    return jax.tree.map(lambda x: x / count, total)


def number_of_examples(batches: Sequence[Any]) -> int:
    """How many examples all batches hold."""
    return sum(len(jax.tree.leaves(targets)[0]) for _, targets in batches)


def _examples(caller: str, inputs: tuple, targets) -> int:
    """How many examples a batch holds."""
    sizes = {jnp.shape(array)[:1] for array in jax.tree.leaves((inputs, targets))}
    if len(sizes) != 1 or sizes <= {(), (0,)}:
        shapes = [jnp.shape(array) for array in jax.tree.leaves((inputs, targets))]
        raise ValueError(
            f"{caller}(batches=...): axis 0 of inputs and targets must count the same examples, "
            f"but the shapes are {', '.join(map(str, shapes))}."
        )
    return sizes.pop()[0]


def per_example(caller: str, loss: Loss, outputs, targets) -> Array:
    """The losses of a batch, (examples,) float32, checked."""
    losses = loss(outputs, targets)
    expected = jax.tree.leaves(targets)[0].shape[:1]
    if losses.shape != expected:
        raise ValueError(
            f"{caller}(loss=...) gives shape {losses.shape}; one number per example has shape "
            f"{expected}."
        )
    return losses.astype(jnp.float32)


def check_loss(caller: str, loss: object, batches: object) -> None:
    """Raises a TypeError unless it is a loss, and something to go through."""
    check_takes(caller, "loss", loss, 2, "Pass (outputs, targets) -> one number per example.")
    check_iterable(caller, "batches", batches, "Pass (inputs, targets) pairs.")
