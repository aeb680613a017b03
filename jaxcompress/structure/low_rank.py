"""Low rank after training: params in, params with `LowRank` leaves out.

The maths of one matrix is in `decomposition`, the choice of ranks in `ranks`.
"""

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.axes import Axes, LeafAxes, assumed_axes, to_canonical
from jaxcompress.core.checks import check_concrete, check_count, check_finite, check_range
from jaxcompress.core.evidence import missing
from jaxcompress.core.kinds import check_mapping, check_takes
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.left_out import Obstacle, by_kind, left_out, without_data
from jaxcompress.core.lowrank import LowRank
from jaxcompress.core.names import named_leaves
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.observers import Reading, as_reading
from jaxcompress.core.report import KEPT, LeafReport, Report
from jaxcompress.core.rules import Rules, as_rules
from jaxcompress.core.selectors import axes_of, reasons_left_out, weights
from jaxcompress.core.sizes import size_bytes
from jaxcompress.core.trees import check_arrays, chosen_by, named_axes
from jaxcompress.core.types import Array, Params, Selector
from jaxcompress.structure.decomposition import Decomposition, per_tap, plain, weighted
from jaxcompress.structure.ranks import Ranks, at_most


def factorize(
    params: Params,
    *,
    rank: Rules[Ranks | int] | Ranks | int,
    axes: Axes | None = None,
    select: Selector | None = None,
    covariances: Mapping[str, Reading | Array] | None = None,
    damping: float = 1e-6,
) -> tuple[Params, Report]:
    """Replaces weights by two thin factors, and reports what was done to each leaf.

    Not for: weights whose singular values fall slowly: a square one at half its rank is
    no smaller; `remove` cuts units.

    Also known as: low-rank factorization, truncated SVD; with covariances,
    activation-aware SVD (SVD-LLM), data-aware low rank.

    Without covariances a factored weight is the nearest matrix of its rank; with them,
    the one whose outputs on the calibration data are nearest. `materialized(fn)` takes
    the result where `fn` took the params, forming the product; `run_low_rank(fn)` runs
    two thin products. A convolution becomes one to `rank` channels and a 1×1 one.

    Args:
      params: arrays; finite where they are factored.
      rank: a number, or how ranks are chosen: `energy(0.99)`, `parameters(0.5)`,
        `budget(100_000)`; or rules of those over the names of the selected leaves.
        Leaves that share a rule share its budget; a leaf without a rule stays.
      axes: what `graph.axes` gave. Without it, the last axis of a weight is taken as
        its output, all others as contracting, and the report says "assumed".
      select: which leaves; without it every weight that meets data.
      covariances: by site name, what `graph.calibrate` read with
        `observers.covariance()`, or arrays of one's own; the sites of one leaf that
        data reached count alike. Leaves without a site, and matrices that no data
        reached, are factored plainly. Of a convolution it is that of the features, and
        positions in the window count as independent.
      damping: share of the mean input energy that every input direction
        counts at least.

    Returns:
      (params, report). Leaves that are not factored are the same objects as before; so
      are those whose factors would hold no fewer parameters.

    Raises:
      TypeError: a leaf that `select` or a rule other than "*" names is compressed, or
        of an integer, bool or complex dtype.
      ValueError: a leaf to factor holds NaN or infinity, or does not fit its
        covariance; a selector, rule or covariance matches nothing; a rank or budget is
        out of reach; `damping` is negative or not finite; a leaf that is asked for by
        name is empty, has no output or no contracting axis, or no data reached it; or
        all are such.

    Example:
      >>> kernel = jnp.outer(jnp.arange(1.0, 5.0), jnp.arange(1.0, 4.0))
      >>> params, report = jc.structure.factorize({"kernel": kernel}, rank=1)
      >>> params["kernel"]
      LowRank(rank=1, shape=(4, 3), dtype=float32)
      >>> bool(jnp.allclose(params["kernel"].materialize(), kernel))
      True
      >>> report.leaves[0].action
      'rank 1 of 3'

    Source: Denton et al. 2014, arXiv:1404.0736, section 3; weighted by the inputs as
    Wang et al. 2024, arXiv:2403.07378, section 3.1, see `Decomposition`.
    """
    check_arrays("factorize", "params", params)
    known = named_axes("factorize", axes)
    check_range("factorize", "damping", damping, 0, math.inf)
    check_concrete("factorize", params=params, covariances=covariances)
    leaves = named_leaves(params)
    chosen = chosen_by("factorize", select or weights(axes), params)
    selected = [name for name in leaves if chosen[name]]
    if leaves and not selected:
        raise ValueError(f"factorize(select=...) selects no leaf. Leaves are: {', '.join(leaves)}.")
    check_rank("factorize", rank)
    rules = as_rules(rank).pairs
    places = Rules((pattern, i) for i, (pattern, _) in enumerate(rules)).assign(selected)
    if covariances is not None:
        check_mapping("factorize", "covariances", covariances, "Pass what graph.calibrate gave.")
    inputs = _by_leaf(leaves, covariances or {})
    reasons = {name: missing(each.count) for name, each in inputs.items()}
    unreached = {name: reason for name, reason in reasons.items() if reason}
    left_out("factorize", without_data(unreached), places, select, rank)  # those go plainly
    obstacles = {name: _obstacle(name, leaves[name], known) for name in places}
    unfit = {name: each for name, each in obstacles.items() if each is not None}
    left = left_out("factorize", unfit, places, select, rank)
    places = {name: place for name, place in places.items() if name not in left}
    targets = {name: _target(name, leaves[name], known, inputs, damping) for name in places}
    ranks: dict[str, int] = {}
    for i, (_, choose) in enumerate(rules):
        shared = {name: targets[name].found for name, place in places.items() if place == i}
        ranks |= (at_most(cast(int, choose)) if isinstance(choose, Real) else choose)(shared)
    unselected = {} if select else reasons_left_out(params, axes)
    why = {name: f"not selected: {reason}" for name, reason in unselected.items()} | left
    results = {
        name: _factored(leaf, targets[name], ranks[name])
        if name in targets
        else _Result(leaf, KEPT, why.get(name, "no rule" if chosen[name] else "not selected"))
        for name, leaf in leaves.items()
    }
    treedef = jax.tree.structure(params, is_leaf=is_compressed)
    rows = tuple(
        LeafReport(
            name,
            np.shape(leaf),
            result.action,
            result.reason,
            size_bytes(leaf),
            size_bytes(result.leaf),
        )
        for (name, leaf), result in zip(leaves.items(), results.values(), strict=True)
    )
    factored = [result.leaf for result in results.values()]
    return jax.tree.unflatten(treedef, factored), Report("factorize", rows)


def check_rank(caller: str, rank: Rules[Ranks | int] | Ranks | int) -> None:
    """Refuses what is no rank, no choice of ranks and no rules of those.

    Raises:
      TypeError: it is none.
      ValueError: a rank is below 1.
    """
    for _, each in as_rules(rank).pairs:
        if callable(each):
            check_takes(caller, "rank", each, 1, "For example structure.ranks.energy(0.99).")
        else:
            check_count(caller, "rank", each)


class _Result(NamedTuple):
    """The leaf in place of one leaf, and the report's action and reason."""

    leaf: Any
    action: str
    reason: str


class _Target(NamedTuple):
    """One leaf to factor: its axes, its decomposition, and what that minimises."""

    axes: LeafAxes
    found: Decomposition
    reason: str


def _target(
    name: str,
    leaf,
    known: dict[str, LeafAxes] | None,
    inputs: Mapping[str, Reading],
    damping: float,
) -> _Target:
    axes = matrix_axes(name, leaf, known)
    check_finite("factorize", name, leaf)
    canonical = to_canonical(jnp.asarray(leaf), axes)
    batch = canonical.shape[: len(axes.batch)]
    window = canonical.shape[canonical.ndim - len(axes.contracting) :]
    weight = canonical.reshape(*batch, -1, math.prod(window))  # (batch…, outputs, contracting)
    source = "axes assumed" if axes.assumed else "axes from the program"
    if name not in inputs:
        return _Target(axes, plain(weight), source)
    reason = missing(inputs[name].count)
    if not bool(jnp.any(inputs[name].count)):
        return _Target(axes, plain(weight), f"{source}; unweighted: {reason}")
    covariance = _filled(inputs[name])
    if covariance.shape[-1] != weight.shape[-1] and axes.primitive.startswith("conv"):
        places = [i for i, size in enumerate(window) if size == covariance.shape[-1]]
        if len(places) != 1:
            return _Target(axes, plain(weight), f"{source}; unweighted: features not told apart")
        covariance = per_tap(covariance, window, places[0])
    _check_covariance(name, covariance, weight)
    told = f"{source}; weighted by the inputs" + f", but {reason}" * bool(reason)
    return _Target(axes, weighted(weight, covariance, damping), told)


def _filled(reading: Reading) -> Array:
    """The covariance, with the identity for each matrix that no data reached."""
    seen = jnp.expand_dims(reading.count > 0, (-2, -1))
    return jnp.where(
        seen, reading.value, jnp.eye(reading.value.shape[-1], dtype=reading.value.dtype)
    )


def _factored(leaf, target: _Target, rank: int) -> _Result:
    """The leaf as factors, or as it is."""
    axes, found, reason = target
    if rank > found.saving_rank:
        counts = f"{rank * found.cost:,} parameters, the weight {found.size:,}"
        return _Result(leaf, KEPT, f"the factors of rank {rank} would hold {counts}")
    left, right = (narrowed(factor, leaf.dtype) for factor in found.factors(rank))
    shape = [leaf.shape[axis] for axis in axes.order]
    outputs = len(axes.batch) + len(axes.output)
    result = LowRank.from_factors(
        left.reshape(*shape[:outputs], rank),
        right.reshape(*shape[: len(axes.batch)], rank, *shape[outputs:]),
        dtype=leaf.dtype,
        axes=axes,
    )
    kept = f"keeps {100 * (1 - found.left_out[rank]):.4g} % of the energy"
    return _Result(result, f"rank {rank} of {found.full_rank}", f"{kept}; {reason}")


def _by_leaf(
    leaves: Mapping[Any, Any], covariances: Mapping[str, Reading | Array]
) -> dict[str, Reading]:
    """The mean covariance over the sites of each leaf that data reached."""
    found: dict[str, list[Reading]] = {}
    for site, covariance in covariances.items():
        leaf = site if site in leaves else site.rpartition("#")[0]
        if leaf not in leaves:
            raise ValueError(
                f"factorize(covariances=...): {site!r} is no site of these params. Leaves are: "
                f"{', '.join(leaves)}."
            )
        found.setdefault(leaf, []).append(as_reading(covariance))
    return {name: _mean(each) for name, each in found.items()}


def _mean(readings: list[Reading]) -> Reading:
    """The mean of readings, in each matrix of those that data reached."""
    seen = [jnp.expand_dims(each.count > 0, (-2, -1)) for each in readings]
    shares = [jnp.where(on, each.value, 0) for on, each in zip(seen, readings, strict=True)]
    sites = sum(on.astype(jnp.float32) for on in seen)
    counts = [each.count for each in readings]
    return Reading(sum(shares) / jnp.maximum(sites, 1), sum(counts[1:], counts[0]))


def matrix_axes(name: str, leaf: Any, known: dict[str, LeafAxes] | None) -> LeafAxes:
    """The axes a leaf is factored along: assumed where it meets no data."""
    axes = axes_of(name, leaf, known)
    return axes if axes.meets_data else assumed_axes(leaf)


def _obstacle(name: str, leaf, known: dict[str, LeafAxes] | None) -> Obstacle | None:
    """What keeps a leaf from being factored: its kind, or that it is no matrix."""
    obstacle = by_kind(leaf, "Leave it out with select=, or materialize it first.")
    if obstacle is not None:
        return obstacle
    axes = matrix_axes(name, leaf, known)
    if not axes.output or not axes.contracting:
        shape = tuple(leaf.shape)
        return Obstacle(f"its shape {shape} has no output or no contracting axis: it is no matrix")
    return None


def _check_covariance(name: str, covariance: Array, weight: Array) -> None:
    *batch, _, contracting = weight.shape
    square = (contracting, contracting)
    if covariance.shape not in (square, (*batch, *square)):
        raise ValueError(
            f"factorize(covariances=...): leaf {name!r} has {contracting} inputs in "
            f"{math.prod(batch)} matrices, its covariance the shape {tuple(covariance.shape)}. "
            "Calibrate with observers.covariance() and pass axes=graph.axes(...) of the same model."
        )
    check_finite("factorize(covariances=...)", name, covariance)
