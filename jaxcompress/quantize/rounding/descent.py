"""Coordinate descent on codes, and the fall back to the nearest ones."""

from typing import Any

import jax.numpy as jnp

from jaxcompress.core.types import Array
from jaxcompress.layerwise.sweeps import product, sweep
from jaxcompress.quantize.rounding.columns import Columns


def polished(columns: Columns, codes: Array, moment: Array, block_size: int) -> Array:
    """One sweep of coordinate descent: each weight gets its best code in its turn.

        R = (Q - W) · H
        q_j <- the level nearest to q_j - R_j / H_jj,   R <- R + Δq_j · H_j

    That level is the best one for this weight as all others are, so no step raises the
    loss.

    Args:
      columns: the inputs in their turns.
      codes: (inputs, outputs).
      moment: (inputs, inputs) in the same order, positive on its diagonal.
      block_size: inputs between two products with all others.

    Returns:
      (inputs, outputs) codes.
    """

    def decide(row: tuple[Any, ...], pull: Array, drift: Array) -> tuple[Array, Array]:
        weights, on, energy, codes = row
        value = columns.decode(codes, on)
        target = value - pull / energy
        other = columns.encode(target, on, weights)
        closer = jnp.abs(columns.decode(other, on) - target) < jnp.abs(value - target)
        codes = jnp.where(closer, other, codes)
        return columns.decode(codes, on) - weights, codes

    rows = (columns.weights, columns.on, jnp.diagonal(moment), codes)
    drift = columns.decode(codes, columns.on) - columns.weights
    return sweep(decide, moment, drift, rows, block_size)[1]


def better(columns: Columns, one: Array, other: Array, moment: Array, more: Array) -> Array:
    """Of two sets of codes (inputs, outputs), for each output those of less loss.

        E[|(q - w) x|²] + Σ_j more_j · (q_j - w_j)²

    Args:
      columns: the inputs in their turns.
      one: codes (inputs, outputs).
      other: codes that stay where both are as good.
      moment: (inputs, inputs) in the same order.
      more: (inputs,) what damping adds to its diagonal.

    Returns:
      (inputs, outputs) codes.
    """

    def loss(codes: Array) -> Array:
        """(1, outputs)."""
        drift = columns.decode(codes, columns.on) - columns.weights
        pull = product(moment, drift) + more[:, None] * drift
        return jnp.sum(drift * pull, axis=0, keepdims=True)

    return jnp.where(loss(one) < loss(other), one, other)


def unit(second_moment: Array) -> Array:
    """The second moment in units of its largest entry, which changes no code.

    So that the squares of enormous and of tiny data are numbers that float32 holds.
    """
    largest = jnp.max(jnp.diagonal(second_moment))
    usable = (largest > jnp.finfo(jnp.float32).tiny) & jnp.isfinite(largest)
    return second_moment / jnp.where(usable, largest, 1.0)
