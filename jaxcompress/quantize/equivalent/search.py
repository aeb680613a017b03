"""The search that smoothing and activation-aware scaling share: factors by error."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.matrices import as_matrices
from jaxcompress.core.names import named_leaves
from jaxcompress.core.report import KEPT, LeafReport, Report
from jaxcompress.core.sizes import size_bytes
from jaxcompress.core.types import Array, Params
from jaxcompress.graph.symmetries import Scalings, scale
from jaxcompress.quantize.equivalent.ways import UNMOVED, Reader, Way

MOST = 1e5
"""Largest factor, and one over the smallest, that a channel gets."""

Error = Callable[[Array, Any, Array], tuple[Array, Array]]
"""(leaf, data, factors) to (error, energy), both (matrices,).

The factors are those of the data by channel, and a 1 for inputs that none reaches.
"""


class Chosen(NamedTuple):
    """What the search took for one way.

    Attributes:
      factors: (channels,) what the data are multiplied by.
      strengths: (groups,) the strength of each; NaN where none is better.
      before, after: the relative output error of all readers.
    """

    factors: np.ndarray
    strengths: np.ndarray
    before: float
    after: float


def largest(way: Way, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """The largest value of each channel over all readers: (channels,) float64."""
    found = np.zeros(way.scaling.size)
    for reader in way.readers:
        moved = reader.channels != UNMOVED
        np.maximum.at(found, reader.channels[moved], values[reader.site.name][moved])
    return found


def searched(
    way: Way,
    params: Params,
    data: Mapping[str, Any],
    candidates: Sequence[tuple[float, np.ndarray]],
    error_of: Callable[[Reader], Error],
) -> Chosen:
    """The candidate of least error, group by group; the first leaves all as it is.

    Args:
      way: the scaling and its readers.
      params: as they are now.
      data: by site name what the error takes.
      candidates: (strength, factors (channels,)); factors of the data.
      error_of: the error of a reader.
    """
    leaves = named_leaves(params)
    count = int(way.groups.max(initial=-1)) + 1
    errors, energies = np.zeros((len(candidates), count)), np.zeros(count)
    for reader in way.readers:
        # A matrix is of the group of its channels; one that reads none is of no group.
        first = reader.channels.max(axis=1)
        owned = np.flatnonzero(first != UNMOVED)
        group = way.groups[first[owned]]
        error = jax.jit(error_of(reader))
        for number, (_, factors) in enumerate(candidates):
            by = jnp.append(jnp.asarray(factors, jnp.float32), 1.0)
            found, energy = error(leaves[reader.leaf], data[reader.site.name], by)
            np.add.at(errors[number], group, np.asarray(found, float)[owned])
            if not number:
                np.add.at(energies, group, np.asarray(energy, float)[owned])
    # What is not finite is worse than anything.
    best = np.argmin(np.where(np.isfinite(errors), errors, np.inf), axis=0)
    stack = np.stack([factors for _, factors in candidates])
    strengths = np.array([strength for strength, _ in candidates])
    total = max(float(energies.sum()), float(np.finfo(np.float32).tiny))
    return Chosen(
        factors=stack[best[way.groups], np.arange(way.scaling.size)],
        strengths=strengths[best],
        before=float(errors[0].sum()) / total,
        after=float(errors[best, np.arange(count)].sum()) / total,
    )


def bounded(factors: np.ndarray) -> np.ndarray:
    """Positive, finite factors: 1 where a channel says nothing."""
    usable = np.isfinite(factors) & (factors > 0)
    return np.clip(np.where(usable, factors, 1.0), 1 / MOST, MOST)


def moved(params: Params, way: Way, chosen: Chosen) -> Params:
    """The params with the chosen factors moved."""
    return scale(params, way.scaling, jnp.asarray(chosen.factors, jnp.float32))


def matrices(reader: Reader, leaf: Array) -> Array:
    """The leaf as (matrices, outputs, inputs) float32."""
    return as_matrices(jnp.asarray(leaf, jnp.float32), reader.roles)


def report_of(
    title: str,
    params: Params,
    after: Params,
    done: Sequence[tuple[Way, Chosen]],
    found: Scalings,
) -> Report:
    """One row per leaf: the strength that its inputs got, or why they got none."""
    told: dict[str, tuple[str, str]] = {}
    for way, chosen in done:
        names = ", ".join(dict.fromkeys(reader.site.name for reader in way.readers))
        kept = np.isnan(chosen.strengths)
        errors = f"relative output error {chosen.before:.3g} before, {chosen.after:.3g} after"
        if kept.all():
            for reader in way.readers:
                why = f"no strength lowers the relative output error {chosen.before:.3g}"
                told.setdefault(reader.leaf, (KEPT, why))
            continue
        for move in way.scaling.moves:
            told.setdefault(move.leaf, ("scaled", f"takes factors for {names}"))
        for reader in way.readers:
            told[reader.leaf] = (f"scaled, {_strength(chosen.strengths)}", errors)
    blocked = {site.partition("#")[0]: why for site, why in found.blocked.items()}
    rows, results = [], named_leaves(after)
    for name, leaf in named_leaves(params).items():
        why = f"its data take no factor: {blocked[name]}" if name in blocked else "no factor"
        action, reason = told.get(name, (KEPT, why))
        sizes = size_bytes(leaf), size_bytes(results[name])
        rows.append(LeafReport(name, tuple(np.shape(leaf)), action, reason, *sizes))
    return Report(title, tuple(rows))


def _strength(strengths: np.ndarray) -> str:
    taken = strengths[~np.isnan(strengths)]
    low, high = taken.min(), taken.max()
    words = f"strength {low:.2g}" if low == high else f"strengths {low:.2g} to {high:.2g}"
    return words if len(taken) == len(strengths) else f"{words}, {len(taken)} of {len(strengths)}"
