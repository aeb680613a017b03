"""Runs a model and its compressed form side by side, and measures the noise between."""

import glob
import math
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np

from jaxcompress.core.batches import as_inputs, check_batch
from jaxcompress.core.checks import check_concrete
from jaxcompress.core.kinds import check_iterable
from jaxcompress.core.leaf import is_compressed, materialize
from jaxcompress.core.models import check_model
from jaxcompress.core.names import named_leaves
from jaxcompress.core.rules import Rules, check_rules
from jaxcompress.core.trees import check_arrays, check_leaves
from jaxcompress.core.types import Array, Model, Params
from jaxcompress.graph import Site, capture, trace
from jaxcompress.graph.calibrate import check_no_nan
from jaxcompress.graph.capture import beyond_capture
from jaxcompress.quantize.diagnosis.diagnosis import (
    MANY,
    Diagnosis,
    LeafCodes,
    SiteSignal,
    decibels,
)
from jaxcompress.quantize.diagnosis.sums import Sums, codes_of, of_batch, of_weights
from jaxcompress.quantize.execution.activations import MADE_BY, Activations
from jaxcompress.quantize.training.activations import fake_quantize_activations


def diagnose(
    fn: Model,
    params: Params,
    quantized: Params,
    batches: Iterable[Any],
    *,
    activations: Activations | Rules[Any] | None = None,
) -> Diagnosis:
    """Measures where a compressed model loses its signal: site by site, leaf by leaf.

    Not for: what a leaf costs in loss, of which ratios say nothing; `auto.sensitivity`
    measures it.

    Both models run on the same batches. At every site the weight, the data that meet it
    and the product are compared:

        ratio = 10 · log10(sum of x² / sum of (x - x')²)   in dB

    A low ratio of the weight asks for other ranges, smaller groups or more bits; of
    the inputs alone, noise came from sites before; one large feature among the inputs
    asks for moved scales or `execution.outliers`.

    Also known as: signal-to-noise ratio, SQNR, quantization error analysis, numeric
    suite.

    Runs on the host: one jitted step per batch, compiled once per shape of batch. Sums
    are kept, never batches.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: of the float model.
      quantized: the same leaves, some of them compressed, of any kind.
      batches: each an input, or a tuple of the model's inputs; without NaN.
      activations: how the data become codes in the quantized model; None for floats.

    Returns:
      Diagnosis: print it, or draw it with `report.signal`. Sites in a while loop or a
      custom derivative have no figures but the weight's, and their rows say why.

    Raises:
      TypeError: an argument is not of its kind.
      ValueError: there is no batch, a batch holds a NaN, `quantized` has other leaves
        or shapes than `params`, or no weight meets data.

    Example:
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> params = {"kernel": jnp.array([[1.0, 0.3], [-0.6, 0.2]])}
      >>> quantized, _ = jc.quantize.quantize(params, jc.quantize.int4())
      >>> found = jc.quantize.diagnose(fn, params, quantized, [jnp.eye(2)])
      >>> round(found.sites[0].weights, 1), found.leaves[0].unused
      (31.6, 12)
    """
    check_model("diagnose", fn)
    check_arrays("diagnose", "params", params)
    check_arrays("diagnose", "quantized", quantized)
    check_iterable("diagnose", "batches", batches, "Pass [batch], also where there is one.")
    check_concrete("diagnose", params=params, quantized=quantized)
    running = fn
    if activations is not None:
        check_rules("diagnose", "activations", activations, Activations, MADE_BY)
        running = fake_quantize_activations(fn, activations)
    _check_same(params, quantized)
    params, coarse = materialize(params), materialize(quantized)
    sites, sums, count = _run((fn, params), (running, coarse), batches)
    exact, held = named_leaves(params), named_leaves(coarse)
    rows = []
    for site, hidden in sites:
        names = [leaf.name for leaf in site.leaves]
        weights = of_weights(site, [exact[name] for name in names], [held[name] for name in names])
        rows += _rows(site, weights, sums.get(site.name), hidden)
    return Diagnosis(tuple(rows), tuple(_leaves(exact, quantized)), count)


Pair = tuple[Model, Params]


def _run(
    exact: Pair, coarse: Pair, batches: Iterable[Any]
) -> tuple[list[tuple[Site, str]], dict[str, Sums], int]:
    """Sites with the reason why a value is hidden, their sums, and the batches run."""
    sites: list[tuple[Site, str]] = []
    sums: dict[str, Sums] = {}
    step, count = None, 0
    for inputs in _checked(batches):
        count += 1
        if step is None:
            program = trace(*exact, *inputs)
            hidden = beyond_capture(program)
            sites = [(site, hidden.get(site.name, "")) for site in program.sites]
            if not sites:
                raise ValueError("diagnose(fn): no weight meets data in this program.")
            step = _step(exact[0], coarse[0], [site for site, reason in sites if not reason])
        found = jax.device_get(step(exact[1], coarse[1], inputs))
        found = {name: Sums(*map(np.float64, each)) for name, each in found.items()}
        sums = {name: sums[name].merged(each) if sums else each for name, each in found.items()}
    if not count:
        raise ValueError("diagnose(batches) holds no batch. Pass at least one.")
    return sites, sums, count


def _step(fn: Model, running: Model, sites: list[Site]):
    """(params, coarse params, inputs) -> sums of one batch by site name."""
    names = [site.name for site in sites]
    rules = Rules({glob.escape(name): _both for name in names}) if names else ()

    @jax.jit
    def step(params: Params, coarse: Params, inputs: tuple[Any, ...]) -> dict[str, Sums]:
        places = trace(fn, params, *inputs).places  # of the shapes of this batch
        _, exact = capture(fn, rules)(params, *inputs)
        _, other = capture(running, rules)(coarse, *inputs)
        return {name: of_batch(places[name], exact[name], other[name]) for name in names}

    return step


def _both(data: Array, weight: Any, output: Array) -> tuple[Array, Array]:
    del weight
    return data, output


def _rows(site: Site, weights: tuple[Any, ...], sums: Sums | None, hidden: str) -> list[SiteSignal]:
    """A row of a site for each layer."""
    signal, noise = (np.asarray(each, np.float64) for each in weights)
    layers = max(len(signal), 1 if sums is None else sums.signal.shape[1])
    indices = [tuple(map(int, each)) for each in np.ndindex(site.stack)]
    apart = indices if layers == len(indices) > 0 and site.stack else [()] * layers
    rows = []
    for layer, index in enumerate(apart):
        own = layer if len(signal) == layers else 0
        weight = decibels(float(signal[own]), float(noise[own]))
        nothing = (site.name, site.leaf, index, weight)
        if sums is None:
            rows.append(SiteSignal(*nothing, math.nan, math.nan, 0, math.nan, 0, hidden))
            continue
        at = min(layer, sums.signal.shape[1] - 1)
        data, output = (
            decibels(float(sums.signal[part, at]), float(sums.noise[part, at])) for part in (0, 1)
        )
        largest, outliers = _outliers(sums.magnitudes[at])
        features = sums.magnitudes.shape[1]
        if not features:
            data = math.nan
        reason = _reason(sums.signal[:, at], sums.noise[:, at], features)
        rows.append(SiteSignal(*nothing, data, output, features, largest, outliers, reason))
    return rows


def _reason(signal: np.ndarray, noise: np.ndarray, features: int) -> str:
    """Why a figure is not known; empty where all are."""
    if not (np.all(np.isfinite(signal)) and np.all(np.isfinite(noise))):
        return "squares are not finite"
    if features and signal[0] == 0:
        return "no data reached it"
    if signal[1] == 0:
        return "its outputs are 0"
    return "" if features else "its data are indices, or have no rows"


def _outliers(magnitudes: np.ndarray) -> tuple[float, int]:
    """The largest over the median magnitude, and how many are `MANY` times that."""
    if not magnitudes.size or not np.any(magnitudes):
        return math.nan, 0
    median, most = float(np.median(magnitudes)), float(np.max(magnitudes))
    outliers = int(np.sum((magnitudes >= MANY * median) & (magnitudes > 0)))
    return (most / median if median else math.inf), outliers


def _leaves(exact: dict[str, Any], quantized: Params) -> Iterator[LeafCodes]:
    for name, leaf in named_leaves(quantized).items():
        if is_compressed(leaf):
            one, other = (np.asarray(each, np.float64) for each in (exact[name], materialize(leaf)))
            ratio = decibels(float(np.sum(one**2)), float(np.sum((one - other) ** 2)))
            yield from codes_of(name, leaf, ratio)


def _check_same(params: Params, quantized: Params) -> None:
    check_leaves("diagnose", "quantized", quantized, params)
    given = named_leaves(quantized)
    for name, leaf in named_leaves(params).items():
        if np.shape(leaf) != tuple(np.shape(given[name])):
            raise ValueError(
                f"diagnose(quantized=...): leaf {name!r} has shape {np.shape(given[name])}, and "
                f"{np.shape(leaf)} in the params. Pass the same model, compressed."
            )


def _checked(batches: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    """The batches as tuples of inputs, none of them empty or with a NaN."""
    for index, batch in enumerate(batches):
        inputs = as_inputs(batch)
        check_concrete("diagnose", batches=[*[None] * index, inputs])
        check_batch("diagnose", index, batch)
        check_no_nan("diagnose", f"batches[{index}]", inputs)
        yield inputs
