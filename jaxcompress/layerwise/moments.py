"""Moments of matrices' inputs: E[x xᵀ], and E[x x'ᵀ] with x before any solving."""

import functools
import glob
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.observers import Observer, covariance, row_count
from jaxcompress.core.rules import Rules
from jaxcompress.core.types import Array, Model, Params
from jaxcompress.graph.observe import initial_readings, observe, observed_sites, windows
from jaxcompress.graph.program import Program
from jaxcompress.graph.sites import Site
from jaxcompress.layerwise.probes import Probe
from jaxcompress.layerwise.stream import Stream
from jaxcompress.layerwise.turns import Sites

Recording = tuple[Array, Array]
"""The vectors of each execution, (executions, …) float32, and how many there were."""

Products = tuple[Array, Array, Array]
"""The sum of x x'ᵀ, how many rows it has, and whether both runs met as many."""


def row_counts(
    fn: Model, program: Program, params: Params, batches: Sequence[tuple[Any, ...]], sites: Sites
) -> dict[str, Array]:
    """How many rows with an entry other than 0 each matrix meets.

    Args:
      fn: the model.
      program: of the first batch.
      params: as they are.
      batches: tuples of the model's inputs.
      sites: of the leaves to count for.

    Returns:
      By leaf name, (stack…, batch…) int32.
    """
    rules = Rules({glob.escape(site.leaf): row_count() for each in sites.values() for site in each})
    observed = observe(fn, rules)
    step = jax.jit(lambda params, inputs, readings: observed(params, *inputs, readings=readings)[1])
    readings = initial_readings(program, observed_sites(program, rules))
    for inputs in batches:
        readings = step(params, inputs, readings)
    merge = row_count().merge
    return {
        name: functools.reduce(merge, (readings[site.name] for site in each))
        for name, each in sites.items()
    }


def second_moments(site: Site, executions: int) -> Observer:
    """Observes E[x xᵀ] of the windows of a site."""
    del executions
    return windows(site, covariance())


def recordings(site: Site, executions: int) -> Observer:
    """Keeps the windows of so many executions, separately for each layer of a stack."""

    def init(x: jax.ShapeDtypeStruct) -> Recording:
        return jnp.zeros((executions, *x.shape), jnp.float32), jnp.zeros((), jnp.int32)

    def update(x: Array, state: Recording) -> Recording:
        kept, count = state
        return kept.at[count].set(x.astype(jnp.float32)), count + 1

    observer = Observer(init, update, read=lambda state: state, merge=lambda _, last: last)
    return windows(site, observer)


def second_moment(streams: Sequence[Stream], probes: Sequence[Probe]) -> Array:
    """E[x xᵀ] of what one matrix meets in all batches of the streams.

    Args:
      streams: each with the batches of one shape.
      probes: the matrix's in each stream, by `second_moments`.

    Returns:
      (batch…, inputs, inputs) float32.
    """
    found = []
    for stream, probe in zip(streams, probes, strict=True):
        states = probe.start
        for batch in range(len(stream.batches)):
            states = probe.step(stream.values(probe.inputs, batch), states)
        found += probe.own(states)
    return _mean_product(found)


@jax.jit
def _mean_product(found: Sequence[tuple[Array, Array]]) -> Array:
    return covariance().read(functools.reduce(covariance().merge, found))


def cross_moment(
    caller: str,
    name: str,
    before: Sequence[Stream],
    now: Sequence[Stream],
    probes: Sequence[Probe],
) -> Array:
    """E[x x'ᵀ] of what a matrix met in the model as it was, and what it meets now.

    Args:
      caller: the name of the verb in errors.
      name: of the leaf.
      before, now: the two models' streams of the same batches.
      probes: the matrix's in each stream, by `recordings`.

    Returns:
      (batch…, inputs, inputs) float32.

    Raises:
      ValueError: one of the two meets the leaf more often than the other, or a loop
        whose length is not known does.
    """
    found: list[Products] = []
    for old, new, probe in zip(before, now, probes, strict=True):
        for batch in range(len(new.batches)):
            met, meets = (
                probe.own(probe.step(stream.values(probe.inputs, batch), probe.start))
                for stream in (old, new)
            )
            found += map(_products, met, meets)
    totals, rows, alike = zip(*found, strict=True)
    if not all(alike):
        raise ValueError(
            f"{caller}(correction=...): once earlier leaves are solved, the model meets leaf "
            f"{name!r} another number of times, or it does so in a loop of unknown length. Pass "
            "correction=0."
        )
    return _mean(totals, rows)


@jax.jit
def _mean(totals: Sequence[Array], rows: Sequence[Array]) -> Array:
    count = functools.reduce(jnp.add, rows).astype(jnp.float32)
    return functools.reduce(jnp.add, totals) / count


@jax.jit
def _products(met: Recording, meets: Recording) -> Products:
    (x, before), (y, now) = met, meets
    total = jnp.einsum("e...mi,e...mj->...ij", x, y, precision=jax.lax.Precision.HIGHEST)
    return total, now * x.shape[-2], (before == now) & (now <= len(x))
