"""Bias correction: the mean error of rounded weights goes into their biases."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.checks import check_concrete
from jaxcompress.core.leaf import is_compressed, materialize
from jaxcompress.core.matrices import as_matrices
from jaxcompress.core.models import check_model
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.observers import Observer
from jaxcompress.core.report import KEPT, LeafReport, Report
from jaxcompress.core.sizes import size_bytes
from jaxcompress.core.trees import check_arrays, check_leaves
from jaxcompress.core.types import Array, Model, Params
from jaxcompress.graph import Program, Site, trace
from jaxcompress.graph.symmetries.degrees.walk import Added, follow_degrees
from jaxcompress.layerwise.turns import no_matrix, reading_axes
from jaxcompress.quantize.equivalent.ways import check_weights, checked_batches, of_matrices


class Behind(NamedTuple):
    """The bias that the program adds to what a weight gives.

    Attributes:
      site: of the weight.
      leaf: the bias's name.
      sign: -1 where it is subtracted, as a running mean is.
      outputs: int, of the bias's shape: which output of the weight, its matrices one
        after the other, each entry is added to.
    """

    site: Site
    leaf: str
    sign: int
    outputs: np.ndarray


def correct_biases(
    fn: Model, params: Params, quantized: Params, batches: Iterable[Any]
) -> tuple[Params, Report]:
    """Adds to each bias what rounding took from the mean output of its weight.

    Not for: layers to whose outputs the program adds no bias; `reconstruct` lowers
    their errors in the weights themselves.

    Rounding errors of weights do not cancel over inputs whose mean is not 0, so that
    each output is off by a constant. In the order of the program, with x what a weight
    W met in the whole model and x' what W' meets once all before it are corrected,

        bias += E[W x] - E[W' x']

    Which leaf is the bias is read from the program: one that is added to the outputs
    channel by channel, or subtracted, as the running mean of a batch norm behind a
    convolution is. The model runs over the batches once per weight that has one, and
    once more for each layer of a stack.

    Also known as: bias correction, empirical bias correction.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: as they were.
      quantized: the same tree, as `quantize` or `reconstruct` gave it.
      batches: calibration data, each an input or a tuple of the model's inputs.

    Returns:
      (params, report): the quantized params with corrected biases.

    Raises:
      ValueError: there is no batch, an empty one or one with a NaN, a weight is not
        finite, or the two trees differ in leaves.
      TypeError: an argument is of the wrong kind.

    Example:
      >>> fn = lambda params, x: x @ params["kernel"] + params["bias"][None]
      >>> kernel = jnp.array([[1.0, 2.0], [0.05, 1.0]])
      >>> params = {"kernel": kernel, "bias": jnp.zeros(2)}
      >>> rounded = params | {"kernel": kernel.round()}
      >>> x = jnp.array([[1.0, 2.0], [0.0, 4.0]])
      >>> corrected, _ = jc.quantize.equivalent.correct_biases(fn, params, rounded, [x])
      >>> corrected["bias"].round(2)
      Array([0.15, 0.  ], dtype=float32)

    Source: Nagel et al. 2019, arXiv:1906.04721, section 4.2. Differs: means are those
    of data, also of what the weight meets; corrected weight by weight.
    """
    check_model("correct_biases", fn)
    check_arrays("correct_biases", "params", params)
    check_arrays("correct_biases", "quantized", quantized)
    check_leaves("correct_biases", "quantized", quantized, params)
    check_concrete("correct_biases", params=params, quantized=quantized)
    batches = checked_batches("correct_biases", batches)
    program = trace(fn, params, *batches[0])
    check_weights("correct_biases", params, program)
    found, why = _biases(program, quantized)
    observers = {behind.site.leaf: mean_row() for behind in found}
    means_of = of_matrices("correct_biases", fn, program, batches, observers)
    target = means_of(params)
    whole, results, told = named_leaves(params), quantized, {}
    for behind in found:
        moved, largest = behind.site.stack, 0.0
        for layer in range(int(np.prod(moved)) if moved else 1):
            name, now = behind.site.name, named_leaves(results)
            off = _outputs(behind, whole, target[name])
            off = off - _outputs(behind, now, means_of(results)[name])
            results, change = _corrected(results, behind, off, layer if moved else None)
            largest = max(largest, change)
        told[behind.leaf] = (
            "corrected",
            f"for {behind.site.name}, by at most {largest:.3g}",
        )
    rows, after = [], named_leaves(results)
    for name, leaf in named_leaves(quantized).items():
        action, reason = told.get(name, (KEPT, why.get(name, "is no bias of a rounded weight")))
        sizes = size_bytes(leaf), size_bytes(after[name])
        rows.append(LeafReport(name, tuple(np.shape(leaf)), action, reason, *sizes))
    return results, Report("correct_biases", tuple(rows))


def mean_row() -> Observer:
    """Observes the mean of the rows, (batch…, inputs) float32."""

    def init(x):
        total = jnp.zeros((*x.shape[:-2], x.shape[-1]), jnp.float32)
        return total, jnp.zeros((), jnp.float32)

    def update(x, state):
        return merge(state, (jnp.sum(x, axis=-2, dtype=jnp.float32), jnp.float32(x.shape[-2])))

    def read(state):
        total, rows = state
        rows = jnp.maximum(rows, 1.0)
        return total / rows.reshape(rows.shape + (1,) * (total.ndim - rows.ndim))

    def merge(first, second):
        return first[0] + second[0], first[1] + second[1]

    return Observer(init, update, read, merge)


def _biases(program: Program, quantized: Params) -> tuple[list[Behind], dict[str, str]]:
    """The bias of each weight, in program order; and why others have none."""
    followed = follow_degrees(program)
    added = {each.site: each for each in followed.added}
    factors = {each.leaf: each.factors for each in followed.unknowns if not each.contracting}
    leaves, taken, why, found = named_leaves(quantized), set(), {}, []
    for site in program.sites:
        if not site.observable or site.of_parameters:
            continue
        if no_matrix(program, site.leaf) is not None:
            why[site.leaf] = "its outputs are no rows of one matrix"
        elif site.leaf not in factors:
            why[site.leaf] = "it has a single output, which no factor tells apart"
        elif site.name not in added:
            why[site.leaf] = "no bias is added to its outputs"
        elif is_compressed(leaves[added[site.name].leaf]):
            why[site.leaf] = "its bias is compressed"
        elif added[site.name].leaf in taken:
            why[site.leaf] = "its bias serves another weight too"
        else:
            bias = added[site.name]
            outputs = _aligned(site, factors[site.leaf], factors.get(bias.leaf), bias)
            if outputs is None:
                why[site.leaf] = "its bias is not one number for each output"
                continue
            why[site.leaf] = f"its mean error goes into {bias.leaf!r}"
            taken.add(bias.leaf)
            found.append(Behind(site, bias.leaf, bias.sign, outputs))
    return found, why


def _aligned(site: Site, weight: np.ndarray, bias: np.ndarray | None, added: Added):
    """Which output each entry of the bias meets, by the numbers of their factors."""
    roles = reading_axes(site)
    if bias is None:
        return None
    # Numbers of the weight's outputs to places in (matrices…, outputs).
    ordered = weight.transpose(roles.order).ravel()
    place = {int(number): position for position, number in enumerate(ordered)}
    meeting = np.broadcast_arrays(added.vector, added.product)
    pairs = {(int(b), int(w)) for b, w in zip(*(each.ravel() for each in meeting), strict=True)}
    if len({b for b, _ in pairs}) < len(pairs) or len(pairs) != bias.size:
        return None
    at = dict(pairs)
    if any(at.get(int(number)) not in place for number in bias.ravel()):
        return None
    return np.array([place[at[int(number)]] for number in bias.ravel()]).reshape(bias.shape)


def _outputs(behind: Behind, leaves: Mapping[str, Any], mean: Array) -> np.ndarray:
    """The mean output of each matrix, (matrices, outputs)."""
    weight = jnp.asarray(materialize(leaves[behind.site.leaf]), jnp.float32)
    matrices = as_matrices(weight, reading_axes(behind.site))
    outputs = np.asarray(jnp.einsum("moi,mi->mo", matrices, mean))
    if not np.all(np.isfinite(outputs)):
        raise ValueError(
            f"correct_biases(batches=...): what site {behind.site.name!r} gives is not finite in "
            "the mean. Scale the data or the params."
        )
    return outputs


def _corrected(
    params: Params, behind: Behind, off: np.ndarray, layer: int | None
) -> tuple[Params, float]:
    """The params with the bias moved by what its outputs are off, or a layer of it."""
    outputs = off.shape[1]
    by = behind.sign * off.ravel()[behind.outputs]
    if layer is not None:
        per_layer = off.shape[0] // int(np.prod(behind.site.stack))
        by = np.where(behind.outputs // (outputs * per_layer) == layer, by, 0.0)

    def moved(name: str, leaf):
        if name != behind.leaf:
            return leaf
        return (jnp.asarray(leaf, jnp.float32) + by.astype(np.float32)).astype(leaf.dtype)

    return map_named(moved, params), float(np.abs(by).max(initial=0.0))
