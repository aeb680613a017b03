"""Fidelity layer by layer: where in the program the error enters."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.batches import whole_rows
from jaxcompress.core.checks import check_concrete, check_count, check_fits
from jaxcompress.core.leaf import materialize
from jaxcompress.core.models import check_model
from jaxcompress.core.names import named_leaves
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Model, Params, PyTree
from jaxcompress.graph.capture import capture
from jaxcompress.graph.program import trace
from jaxcompress.graph.rewrite import rewrite
from jaxcompress.graph.sites import Site


class LayerFidelity(NamedTuple):
    """How close one layer's output is to the original's.

    Attributes:
      name: of the site, which is the leaf's.
      turns: of the scans around it, outermost first; () outside of any.
      primitive: what meets the weight there.
      relative_error: |output - original| / |original|, over all examples: what comes in
        with the data and what is added here.
      own_error: the same with the original's data: what this weight alone adds.
      cosine: of the angle between both outputs, as one vector, in [-1, 1].
    """

    name: str
    turns: tuple[int, ...]
    primitive: str
    relative_error: float
    own_error: float
    cosine: float

    def to_json(self) -> dict[str, Any]:
        """All fields as plain numbers and lists."""
        return self._asdict() | {"turns": list(self.turns)}


def layer_fidelity(
    fn: Model, params: Params, candidate: Params, inputs: PyTree, *, batch_size: int = 256
) -> list[LayerFidelity]:
    """Error of every layer's output, in the order of the program.

    Not for: what an error costs in loss; `auto.sensitivity` measures it.

    What a layer gives is the product of its weight with the data, before bias and
    activation, as `graph.capture` has it. `own_error` comes from the same pass: the
    derivative of the output in the direction of the change of the weight, with the data
    held. That is exact where the weight meets data as it is stored, and to first order
    where the model transforms it first.

    Also known as: layer-wise error, layer-wise SQNR, error propagation.

    Args:
      fn: the model, `fn(params, inputs) -> outputs`.
      params: the original's, a tree of arrays.
      candidate: the compressed ones, of the same leaves and shapes: quantized, pruned,
        low-rank, or arrays.
      inputs: array, or tree of arrays, with first axis n, n at least 1.
      batch_size: examples per call.

    Returns:
      One row for each site, and each turn of the scans around it, as the program runs.

    Raises:
      ValueError: no weight meets data; the leaves or shapes of the two differ; a site
        that `graph.capture` refuses.
      TypeError: a leaf is no array.

    Example:
      >>> fn = lambda params, x: jnp.tanh(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.eye(2), "out": jnp.ones((2, 1))}
      >>> coarse = params | {"in": 1.5 * jnp.eye(2)}
      >>> layer_fidelity = jc.validate.comparisons.layer_fidelity
      >>> rows = layer_fidelity(fn, params, coarse, jnp.ones((4, 2)))
      >>> [(row.name, round(row.relative_error, 2), row.own_error) for row in rows]
      [('in', 0.5, 0.5), ('out', 0.19, 0.0)]
    """
    caller = "layer_fidelity"
    check_model(caller, fn)
    check_arrays(caller, "params", params)
    check_arrays(caller, "candidate", candidate)
    check_arrays(caller, "inputs", inputs)
    check_concrete(caller, "", params=params, candidate=candidate, inputs=inputs)
    check_fits(caller, inputs=inputs)
    batch_size = check_count(caller, "batch_size", batch_size)
    before, after = materialize(params), materialize(candidate)
    _check_same(caller, before, after)
    counts = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(inputs)}
    if len(counts) != 1 or counts & {(), (0,)}:
        raise ValueError(f"{caller}(inputs) needs arrays with one first axis, the examples'.")
    n = counts.pop()[0]
    sites = trace(fn, before, _rows(inputs, slice(0, min(n, batch_size)))).sites
    if not sites:
        raise ValueError(f"{caller}(fn): no weight meets data in this program.")
    sums = jax.jit(_summed(fn, sites))
    total: dict[str, np.ndarray] = {}
    for start in range(0, n, batch_size):
        found = jax.device_get(sums(before, after, _rows(inputs, slice(start, start + batch_size))))
        for name, each in found.items():
            total[name] = total.get(name, 0.0) + np.asarray(each, np.float64)
    return [
        _row(site, turns, total[site.name][(..., *turns)])
        for _, group in itertools.groupby(sites, key=lambda site: site.scans)
        for turns, site in _in_order(list(group))
    ]


def _summed(fn: Model, sites: Sequence[Site]) -> Any:
    """(params, candidate, inputs) -> by site the four sums of `_row`, (4, *turns)."""

    def held(site, apply, data, weight):
        return apply(jax.lax.stop_gradient(data), weight)

    names = [site.name for site in sites]
    captured, of_weights = capture(fn, names), capture(rewrite(fn, held), names)

    def sums(params: Params, candidate: Params, inputs: PyTree) -> dict[str, Array]:
        leaves, structure = jax.tree.flatten(params)
        floating = [jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves]
        change = [
            after - before
            for before, after, real in zip(
                leaves, jax.tree.leaves(candidate), floating, strict=True
            )
            if real
        ]

        def outputs(chosen: list[Array]) -> dict[str, Array]:
            given = iter(chosen)
            filled = [
                next(given) if real else leaf for leaf, real in zip(leaves, floating, strict=True)
            ]
            return of_weights(structure.unflatten(filled), inputs)[1]

        chosen = [leaf for leaf, real in zip(leaves, floating, strict=True) if real]
        before, own = jax.jvp(outputs, (chosen,), (change,))
        after = captured(candidate, inputs)[1]
        return {
            site.name: _sums(before[site.name], after[site.name], own[site.name], len(site.scans))
            for site in sites
        }

    return sums


def _sums(before: Array, after: Array, own: Array, loops: int) -> Array:
    """Squares of the original, the candidate, both changes; over all but the turns."""
    before, after, own = (each.astype(jnp.float32) for each in (before, after, own))
    axes = tuple(range(loops, before.ndim))
    parts = (before**2, after**2, (after - before) ** 2, own**2)
    return jnp.stack([jnp.sum(part, axis=axes) for part in parts])


def _row(site: Site, turns: tuple[int, ...], sums: np.ndarray) -> LayerFidelity:
    before, after, change, own = (float(each) for each in sums)
    sizes = np.sqrt(before * after)
    # a · b from |a|², |b|² and |a - b|².
    product = (before + after - change) / 2
    return LayerFidelity(
        site.name,
        turns,
        site.primitive,
        _ratio(change, before),
        _ratio(own, before),
        float(np.clip(product / sizes, -1, 1)) if sizes else float(before == after),
    )


def _ratio(change: float, size: float) -> float:
    return float(np.sqrt(change / size)) if size else float(change > 0)


def _in_order(sites: list[Site]) -> list[tuple[tuple[int, ...], Site]]:
    """Sites in one scan, turn by turn."""
    return [
        (turns, site)
        for turns in itertools.product(*(range(length) for length in sites[0].scans))
        for site in sites
    ]


def _rows(inputs: PyTree, chosen: slice) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[chosen], whole_rows(inputs))


def _check_same(caller: str, params: Params, candidate: Params) -> None:
    before, after = named_leaves(params), named_leaves(candidate)
    if list(before) != list(after):
        differing = sorted(set(before) ^ set(after))
        raise ValueError(
            f"{caller}(candidate) needs the leaves of the params; they differ in {differing}."
        )
    for name, leaf in before.items():
        if np.shape(leaf) != np.shape(after[name]):
            raise ValueError(
                f"{caller}(candidate): leaf {name!r} has shape {np.shape(after[name])}, in the"
                f" params {np.shape(leaf)}. Of a smaller model compare the outputs, by fidelity."
            )
