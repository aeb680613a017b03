"""The model at a cut: the streams of all batches, and moments of inputs there."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.types import Array
from jaxcompress.layerwise.moments import cross_moment, recordings, second_moment, second_moments
from jaxcompress.layerwise.plan import Plan
from jaxcompress.layerwise.probes import Observing, Probe, probe
from jaxcompress.layerwise.segments import Direct, Rerun, Stage
from jaxcompress.layerwise.stream import Programs, Stream


class Frontier:
    """The streams of a model as it is now and, for a correction, as it was.

    Each stage and each reading comes once for each plan.

    Args:
      caller: the name of the verb in errors.
      plans: for each shape of batch.
      now: the leaves as they are, by name; they may change between segments.
      before: the leaves as they were, or None where nothing is to be corrected.
      programs: what is compiled; those of other frontiers may be in it.
    """

    def __init__(
        self,
        caller: str,
        plans: Sequence[Plan],
        now: Mapping[str, Any],
        before: Mapping[str, Any] | None,
        programs: Programs,
    ):
        self.caller = caller
        self.programs = programs

        def streams(params: Mapping[str, Any]) -> list[Stream]:
            return [Stream(plan.program, params, plan.batches, self.programs) for plan in plans]

        self.now = streams(now)
        self.before = [] if before is None else streams(before)
        self.known: dict[Hashable, Array] = {}

    def advance(self, stage: Sequence[Stage]) -> None:
        """Runs the model to the next cut."""
        self.known = {}
        for streams in (self.now, self.before):
            for stream, segment in zip(streams, stage, strict=False):
                stream.advance(segment)

    def second_moment(self, readings: Sequence[Direct | Rerun], needed: bool) -> Array:
        """E[x xᵀ] of a matrix's inputs, (batch…, inputs, inputs) float32.

        Args:
          readings: of one leaf, one for each plan.
          needed: no matrix may meet nothing but 0.

        Raises:
          ValueError: it is not finite, or all of it is 0 where it is needed.
        """
        probes = self._probes(readings, second_moments)
        sight = "second", probes[0].sight
        if sight not in self.known:
            self.known[sight] = second_moment(self.now, probes)
        self._check(readings[0].turn[0], self.known[sight], needed)
        return self.known[sight]

    def cross_moment(self, readings: Sequence[Direct | Rerun]) -> Array:
        """E[x x'ᵀ] of a matrix's inputs as they were and are; see `moments`."""
        probes = self._probes(readings, recordings)
        sight = "cross", probes[0].sight
        if sight not in self.known:
            name = readings[0].turn[0]
            self.known[sight] = cross_moment(self.caller, name, self.before, self.now, probes)
        return self.known[sight]

    def _probes(self, readings: Sequence[Direct | Rerun], observing: Observing) -> list[Probe]:
        return [probe(reading, observing, self.programs) for reading in readings]

    def _check(self, name: str, moment: Array, needed: bool) -> None:
        if not bool(all_finite(moment)):
            raise ValueError(
                f"{self.caller}(batches=...): leaf {name!r} meets inputs whose products are not "
                "finite. Clean the data, or scale them."
            )
        if needed and not bool(_all_reached(moment)):
            raise ValueError(
                f"{self.caller}(batches=...): a matrix of leaf {name!r} meets no input but 0. Give "
                "data that reach it, prune less before it, or leave it out, with "
                "Target(select=...) where you prune."
            )


@jax.jit
def all_finite(x: Array) -> Array:
    """Whether an array holds no NaN and no infinity."""
    return jnp.all(jnp.isfinite(x))


@jax.jit
def reached(moments: Array) -> Array:
    """Which matrices meet inputs other than 0, by their second moments (…, n, n).

    Example:
      >>> reached(jnp.array([[[4.0]], [[0.0]]]))
      Array([ True, False], dtype=bool)
    """
    return jnp.any(moments, axis=(-2, -1))


@jax.jit
def _all_reached(moments: Array) -> Array:
    return jnp.all(reached(moments))


@jax.jit
def filled(moments: Array) -> Array:
    """Second moments (…, n, n), the identity for matrices that meet no input but 0.

    Example:
      >>> filled(jnp.array([[[4.0]], [[0.0]]])).ravel()
      Array([4., 1.], dtype=float32)
    """
    identity = jnp.eye(moments.shape[-1], dtype=moments.dtype)
    return jnp.where(reached(moments)[..., None, None], moments, identity)
