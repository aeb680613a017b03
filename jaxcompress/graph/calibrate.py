"""Calibration: a model run over batches of data, and what its observers learned."""

from collections.abc import Iterable

import jax
import jax.numpy as jnp

from jaxcompress.core.observers import Observer, Reading, counted
from jaxcompress.core.rules import Rules, as_rules
from jaxcompress.core.types import Model, Params
from jaxcompress.graph.observe import initial_readings, observe, observed_sites
from jaxcompress.graph.program import trace


def calibrate(
    fn: Model, params: Params, batches: Iterable, rules: Rules[Observer] | Observer
) -> dict[str, Reading]:
    """What observers learn about the data that meet each weight.

    A reading says from how many rows it was learned: a weight in a branch that no batch
    took, or of an expert that got no tokens, has the count 0.

    Runs on the host: one jitted step per batch, compiled once per shape of batch. The
    model runs no further than its last observed site.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: tree of arrays or compressed leaves.
      batches: each an input, or a tuple of the model's inputs; without NaN.
      rules: observers by leaf name, or one for every leaf.

    Returns:
      Dict from site name to `Reading(observer.read(state), count)`, in program order.
      Readings of scanned leaves are stacked: leading axes `site.stack`.

    Raises:
      ValueError: there is no batch, a batch holds a NaN, its shapes give readings of
        other shapes than the batches before, no data reach any observed site, or a
        rule matches no leaf with an observed site.

    Example:
      >>> from jaxcompress.core.observers import second_moment
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> batches = [jnp.array([[1.0, 2.0]]), jnp.array([[3.0, 0.0]])]
      >>> readings = calibrate(fn, {"kernel": jnp.eye(2)}, batches, second_moment())
      >>> readings["kernel"].value, int(readings["kernel"].count)
      (Array([5., 2.], dtype=float32), 2)
    """
    rules = Rules((pattern, counted(observer)) for pattern, observer in as_rules(rules).pairs)
    observed = observe(fn, rules)
    step = jax.jit(lambda params, inputs, readings: observed(params, *inputs, readings=readings)[1])
    program, observers, readings = None, {}, {}
    for index, batch in enumerate(batches):
        inputs = batch if isinstance(batch, tuple) else (batch,)
        check_no_nan(f"calibrate(batches): batch {index}", inputs)
        if program is None:
            program = trace(fn, params, *inputs)
            observers = observed_sites(program, rules)
            readings = initial_readings(program, observers)
        readings = step(params, inputs, readings)
    if program is None:
        raise ValueError("calibrate(batches) holds no batch. Pass at least one.")
    found = {name: observer.read(readings[name]) for name, observer in observers.items()}
    if found and not any(bool(jnp.any(reading.count)) for reading in found.values()):
        raise ValueError(
            f"calibrate(batches): no row other than 0 reached any of {', '.join(found)}. "
            "Give data that reach them."
        )
    return found


def check_no_nan(batch: str, inputs: tuple) -> None:
    """Raises a ValueError where an input of the batch holds a NaN."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(inputs):
        if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) and bool(jnp.isnan(leaf).any()):
            raise ValueError(
                f"{batch} holds a NaN in "
                f"inputs{jax.tree_util.keystr(path)}. "
                "Clean the data, or leave the batch out."
            )
