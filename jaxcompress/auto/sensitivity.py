"""How much the loss, or any metric, changes when one part alone is quantized."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp

from jaxcompress.auto.curvature import as_choices
from jaxcompress.auto.origins import origins_of
from jaxcompress.auto.parts import Part, Sliced, only, parts_of, replaced, sliced_axes, tried
from jaxcompress.core.axes import Axes
from jaxcompress.core.batches import count_of, in_batches
from jaxcompress.core.checks import check_concrete, check_count
from jaxcompress.core.kinds import check_kind, check_select
from jaxcompress.core.leaf import materialize
from jaxcompress.core.left_out import left_out, without_data
from jaxcompress.core.models import check_model
from jaxcompress.core.names import named_leaves
from jaxcompress.core.rules import Rules
from jaxcompress.core.selectors import weights
from jaxcompress.core.sensitivities import LeafSensitivity, Sensitivities
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.trees import check_arrays, chosen_by, named_axes
from jaxcompress.core.types import Array, Model, Params, Selector
from jaxcompress.graph import Site, rewrite, trace
from jaxcompress.graph.calibrate import unreached
from jaxcompress.quantize.assignment import check_spec
from jaxcompress.quantize.execution import Activations
from jaxcompress.quantize.training.activations import rounded_data
from jaxcompress.validate import Evaluation, Examples, compare_scores
from jaxcompress.validate.metrics import Mean

Choice = QuantSpec | Rules[Any] | Activations
"""What is tried: formats of weights, or of the data that meet them."""

NO_CODES = "its data are no real vectors, or other matrices meet each"


def sensitivity(
    fn: Model,
    params: Params,
    spec: Choice | Sequence[Choice],
    examples: Examples,
    *,
    axes: Axes | None = None,
    select: Selector | None = None,
) -> Sensitivities:
    """Measures what quantizing one part at a time does to the loss, worst first.

    Not for: what parts cost together, since their errors do not add up; take
    `cumulative_sensitivity`.

    A part is a leaf, of a leaf that a scan slices one layer, or of activations the data
    at one site. Changes are paired, example by example, so intervals are narrow.

    Args:
      fn: model in evaluation mode, `fn(params, inputs) -> outputs`, for the examples'
        default metrics logits (n, classes).
      params: tree of arrays.
      spec: what each part is tried in: a format, rules of them, `execution.dynamic()`
        or other activations; or a list of such: rows of each.
      examples: held-out ones, with the metrics to measure; not the test set, since
        choices follow from this.
      axes: what `graph.axes` found; without it the layout default.
      select: leaves to try; the default is every weight that data reach.

    Returns:
      Table of one row per part and choice, those first that harm the first metric most,
      by default the loss. Means over examples have intervals. Before them come leaves
      that are not tried, and their rows say why: the
      spec does not fit them, or no data reached them, in a branch never taken or as an
      expert without tokens: the loss would not rise without these, which is not to say
      that they are safe.

    Raises:
      ValueError: no leaf is selected; the spec does not fit a leaf that `select` names,
        no data reached it, or all are such; and what `quantize` and `evaluate` raise.

    Example:
      >>> fn = lambda params, x: x @ params["a"] @ params["b"]
      >>> params = {"a": jnp.eye(3), "b": jnp.eye(3)}
      >>> examples = jc.validate.Examples(jnp.eye(3), jnp.arange(3))
      >>> rows = jc.auto.sensitivity(fn, params, jc.quantize.int4(), examples)
      >>> [row.loss_increase for row in rows]
      [0.0, 0.0]

    Also known as: layer-wise sensitivity analysis, sensitivity scan.

    Source: the layer-wise scan of Dong et al. 2019, arXiv:1905.03696, with the exact
    loss difference in place of the Hessian's estimate.
    """
    check_scan("sensitivity", fn, params, spec, examples)
    check_leaves_of("sensitivity", axes, select)
    program = trace(fn, params, next(_batches(examples)))
    return scan("sensitivity", fn, params, spec, examples, (axes, select, sliced_axes(program)))


Chosen = tuple[Axes | None, Selector | None, Sliced]


def scan(
    caller: str, fn: Model, params: Params, spec: Any, examples: Examples, chosen: Chosen
) -> Sensitivities:
    """What `sensitivity` measures, of layers that lie along the given axes."""
    axes, select, sliced = chosen
    reference = next(examples.judge_each(fn, [params]))
    first = reference[next(iter(reference))].metric
    untold = without_data(unreached(fn, params, ((each,) for each in _batches(examples))))
    leaves = named_leaves(params)
    rows: list[LeafSensitivity] = []
    candidates: list[tuple[Part, str, Array]] = []
    for choice in as_choices(spec):
        if isinstance(choice, Activations):
            continue
        without = partial(_without, caller, untold, select, choice)
        found = tried(caller, params, choice, axes, select, without)
        rows += [LeafSensitivity(name, {}, why) for name, why in found.unknown.items()]
        candidates += [
            (part, found.specs[name], array)
            for name, array in found.arrays.items()
            for part in parts_of(name, array.shape, sliced)
        ]
    trials = (
        replaced(params, part.name, only(part, materialize(leaves[part.name]), array))
        for part, _, array in candidates
    )
    judged = examples.judge_each(fn, trials)
    for (part, choice, _), found in zip(candidates, judged, strict=True):
        rows.append(_row(part.name, reference, found)._replace(choice=choice, layer=part.layer))
    chosen_leaves = chosen_by(caller, select or weights(axes), params)
    for choice in as_choices(spec):
        if isinstance(choice, Activations):
            rows += _of_data(fn, params, choice, examples, reference, chosen_leaves)
    return Sensitivities.ordered(
        rows,
        first.name,
        "measured",
        higher_is_better=first.higher_is_better,
        origins=origins_of(caller, params, axes, rows),
    )


def _without(caller, untold, select, choice, names) -> dict[str, str]:
    return left_out(caller, untold, names, select, choice)


def _batches(examples: Examples) -> Iterator[Any]:
    judging = examples.counting()
    return (batch for batch, _ in in_batches(examples.inputs, judging, examples.batch_size))


def _row(name: str, reference: Evaluation, found: Evaluation) -> LeafSensitivity:
    changes = {metric: found[metric].value - reference[metric].value for metric in reference}
    means = [
        metric for metric, score in reference.items() if isinstance(score.metric.summary, Mean)
    ]
    intervals = {
        metric: compare_scores(reference, found, metric).interval
        for metric in (means if reference.n > 1 else ())
    }
    return LeafSensitivity(name, changes, intervals=intervals)


def _of_data(
    fn: Model,
    params: Params,
    activations: Activations,
    examples: Examples,
    reference: Evaluation,
    chosen: dict[str, bool],
) -> list[LeafSensitivity]:
    """A row for each site of a chosen leaf, its data alone as codes."""
    sites = [
        site
        for site in trace(fn, params, next(_batches(examples))).sites
        if any(chosen[leaf.name] for leaf in site.leaves)
    ]
    choice = f"data as {activations.spec}"
    real = [
        site for site in sites if site.observable and jnp.issubdtype(site.data_dtype, jnp.floating)
    ]
    rows = [LeafSensitivity(site.name, {}, NO_CODES, choice) for site in sites if site not in real]
    # Which site is rounded is an input, so that one program serves all.
    coarse = _switched(fn, activations)
    switches = ({each.name: jnp.asarray(each is site) for each in real} for site in real)
    judged = examples.judge_each(coarse, ((params, each) for each in switches))
    for site, found in zip(real, judged, strict=True):
        rows.append(_row(site.name, reference, found)._replace(choice=choice))
    return rows


def _switched(fn: Model, activations: Activations) -> Model:
    """((params, by site whether its data are rounded), inputs) -> outputs."""

    def switched(params_and_switches, inputs):
        params, switches = params_and_switches

        def replacement(site: Site, apply: Callable[..., Any], data: Array, weight) -> Array:
            if site.name not in switches:
                return apply(data, weight)
            rounded = rounded_data(activations)
            coarse = rounded(site, lambda data, weight: data, data, weight)
            return apply(jnp.where(switches[site.name], coarse, data), weight)

        return rewrite(fn, replacement)(params, inputs)

    return switched


def check_scan(caller: str, fn: Model, params: Params, spec: Any, examples: Examples) -> None:
    """Raises a TypeError unless it is a model with params, a spec, and examples."""
    check_model(caller, fn, 1)
    check_arrays(caller, "params", params)
    if not as_choices(spec):
        raise ValueError(f"{caller}(spec=[]) has nothing to try. Give at least one format.")
    for each in as_choices(spec):
        if not isinstance(each, Activations):
            check_spec(caller, each)
    check_kind(caller, "examples", examples, Examples, "Make it of inputs and labels.")
    count_of(caller, "examples.inputs", examples.inputs)
    check_count("evaluate", "batch_size", examples.batch_size)
    check_concrete(caller, params=params, examples=examples._asdict())


def check_leaves_of(caller: str, axes: Axes | None, select: Selector | None) -> None:
    """Raises a TypeError unless axes and selector are such, or None."""
    check_select(caller, select)
    named_axes(caller, axes)
