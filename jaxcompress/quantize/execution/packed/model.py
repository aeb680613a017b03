"""`packed_model`: a trained network of signs as a function on words of bits."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.checks import check_concrete, check_untraced
from jaxcompress.core.leaf import materialize
from jaxcompress.core.models import check_model
from jaxcompress.core.report import Report
from jaxcompress.core.rules import Rules, as_rules, check_rules
from jaxcompress.core.sizes import size_bytes
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Model, Params, PyTree
from jaxcompress.graph.program import Program, trace
from jaxcompress.quantize.execution.activations import MADE_BY, Activations
from jaxcompress.quantize.execution.packed.check import Agreement, agreement
from jaxcompress.quantize.execution.packed.flat import flattened
from jaxcompress.quantize.execution.packed.held import needed
from jaxcompress.quantize.execution.packed.report import packed_report
from jaxcompress.quantize.execution.packed.running import Link, in_floats, in_words
from jaxcompress.quantize.execution.packed.sources import Made, origins
from jaxcompress.quantize.execution.packed.tables import Between, Thresholds, thresholds
from jaxcompress.quantize.execution.packed.ways import Way
from jaxcompress.quantize.execution.packed.weights import Found, SignSite, found_signs
from jaxcompress.quantize.training.activations import fake_quantize_activations


@dataclasses.dataclass(frozen=True, eq=False)
class _Static:
    """What a packed model is beside its arrays; equal to itself alone."""

    fn: Model
    rules: Rules[Any]
    sites: Mapping[str, SignSite]
    structure: Any
    shapes: tuple[jax.ShapeDtypeStruct, ...]
    inputs: tuple[Any, ...]
    ways: Mapping[str, Way]
    live: tuple[bool, ...]
    report: Report
    agreement: Agreement | None


@jax.tree_util.register_pytree_node_class
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class PackedModel:
    """A network on words of bits; called with the inputs of the model it was made of.

    Invariants:
      - Holds what its outputs need and nothing else: words of the weights of signs,
        thresholds, and those leaves of the params that real numbers still meet.
      - A pytree of those arrays. Pass it to jit as an argument: of one that is closed
        over XLA computes parts beforehand, and the last bit of outputs may differ.
      - Inputs may have other sizes than those it was made with, unless thresholds would
        be others there, as with a constant that depends on sizes: those are refused.
    """

    held: tuple[jax.Array, ...]
    static: _Static

    def __call__(self, *inputs: Any) -> PyTree:
        """The outputs of the model; jit it."""
        check_arrays("PackedModel", "inputs", inputs)
        arrays = iter(self.held)
        filled = [
            next(arrays) if live else jnp.zeros(shape.shape, shape.dtype)
            for shape, live in zip(self.static.shapes, self.static.live, strict=True)
        ]
        if _shapes(inputs) != self.static.inputs:
            _check_live(self.static, inputs)
        return _run(self.static, filled, inputs)

    @property
    def size_bytes(self) -> int:
        """Bytes of all arrays that it holds."""
        return size_bytes(self.held)

    @property
    def report(self) -> Report:
        """What became of each leaf and why, with bytes; prints as a table."""
        return self.static.report

    @property
    def agreement(self) -> Agreement | None:
        """How outputs agree with training's on the given inputs; None for shapes."""
        return self.static.agreement

    def __repr__(self) -> str:
        return f"PackedModel({self.static.report.title})"

    def tree_flatten(self) -> tuple[Any, Any]:
        return self.held, self.static

    @classmethod
    def tree_unflatten(cls, static: _Static, children: Any) -> "PackedModel":
        return cls(tuple(children), static)


def packed_model(
    fn: Model, params: Params, activations: Activations | Rules[Any], *inputs: PyTree
) -> PackedModel:
    """Turns a trained binary or ternary network into one on words of bits.

    Not for: speed of narrow layers at batch 1: of 256 units or 32 channels it gained
    nothing over float32, as `materialized` runs it.

    Also known as: binary neural network inference, XNOR-Net inference, bitwise
    network, batch-norm folding into thresholds, integer-only inference.

    Where data of signs meet weights of signs, 32 products are one exclusive or and one
    population count. Between two such sites everything entry by entry, as scales,
    biases, batch norm in evaluation mode and activations, together with the sign itself
    becomes one integer comparison for each channel:

        bit = (sum >= threshold[channel]) != falling[channel]

    Thresholds are found by trying, not by algebra: a site of K inputs sums to one of
    K + 1 numbers (2 K + 1 with zeros), and the model's own arithmetic is run on all of
    them, so that bits are those that the model gives, however its floats round. Where a
    site's data are not made of one other site's output entry by entry, or rise and fall
    with it, they stay floats, and the report says why. First and last layers stay
    as they are: real data in, real numbers out of the last sums. Convolutions multiply
    the windows of packed data; zeros of padding are no signs, and count as zeros.
    Those in groups run as in training.

    Sums are exact, and scaled after. Training multiplies scaled signs in floats; the
    two are equal to the bit where scales are powers of two, as with
    `formats.binary(scales="power_of_two")`, and else but for the rounding of training's
    own sums. On the given inputs both are run, as is a third program that sums signs
    in floats and knows no words or thresholds: outputs that differ from the third are
    an error, and by how much they differ from training is reported (`agreement`).

    Real arithmetic, as of a mean behind the last sums, XLA rounds by how it compiles
    each program, so outputs of it may differ from training's in their last places.

    A row or window with an entry that is not finite gives outputs that are NaN, and
    stays so where data are bits of sums. There is no gradient: train the model, then
    pack it. Call this outside of jit, and jit what it gives.

    Args:
      fn: the model without rounding, fn(params, *inputs) -> outputs, in evaluation
        mode: statistics of batch norm are leaves of `params`, not inputs.
      params: with `QTensor` leaves of `formats.binary()` or `formats.ternary()`.
      activations: how data become signs, as `fake_quantize_activations` takes it:
        `execution.static(ranges, formats.binary(per="tensor"))`, by `Rules` over the
        leaves of binary layers.
      inputs: arrays, on which outputs are compared; or shapes, for which none are.

    Returns:
      PackedModel.

    Raises:
      TypeError: `fn` is no function, or `activations` are none.
      ValueError: no site multiplies signs with signs, a rule matches nothing, or
        outputs differ from those of the same program without words.

    Example:
      >>> q = jc.quantize
      >>> params = {"in": jnp.ones((2, 4)), "hidden": jnp.eye(4), "out": jnp.eye(4)}
      >>> fn = lambda p, x: jnp.tanh(x @ p["in"] @ p["hidden"]) @ p["out"]
      >>> binary = jc.Rules({"hidden": q.formats.binary(), "out": q.formats.binary()})
      >>> small, _ = q.quantize(params, binary)
      >>> signs = jc.observers.Range(jnp.float32(-1.0), jnp.float32(1.0))
      >>> ranges = {"hidden": signs, "out": signs}
      >>> static = q.execution.static(ranges, q.formats.binary(per="tensor"))
      >>> rules = jc.Rules({"hidden": static, "out": static})
      >>> packed = q.execution.packed_model(fn, small, rules, jnp.ones((3, 2)))
      >>> jax.jit(lambda packed, x: packed(x))(packed, jnp.ones((3, 2))).shape
      (3, 4)

    Source: Courbariaux et al. 2016, arXiv:1602.02830, the products; Umuroglu et al.
    2017, arXiv:1612.07119, the thresholds. Differs: thresholds are found by trying
    every sum, so that floats round as the model's do.
    """
    check_model("packed_model", fn)
    check_arrays("packed_model", "params", params)
    check_arrays("packed_model", "inputs", inputs)
    check_concrete("packed_model", params=params)
    check_untraced("packed_model", inputs=inputs)
    check_rules("packed_model", "activations", activations, Activations, MADE_BY)
    rules, flat = as_rules(activations), flattened(fn)
    program = trace(flat, params, *inputs)
    found = found_signs(program, params, inputs, rules)
    if not found.sites:
        raise ValueError(
            "packed_model(params=...): no site multiplies signs with signs. "
            + "; ".join(f"{name}: {reason}" for name, reason in found.reasons.items())
            + ". Quantize leaves by formats.binary() or ternary() with their axes, and give rules "
            "for their data."
        )
    joined, ways, reasons = _joined(program, params, inputs, found)
    tree = (params, found.signs, joined)
    arrays, structure = jax.tree.flatten(jax.tree.map(jnp.asarray, tree))
    shapes = tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in arrays)
    named = (flat, rules, found.sites, structure, shapes, _shapes(inputs), ways)
    static = _Static(*named, live=(), report=Report("", ()), agreement=None)
    run = partial(_run, static)
    live = needed(run, shapes, inputs)
    held = tuple(array for array, kept in zip(arrays, live, strict=True) if kept)
    exact = partial(in_floats, program, static=found.sites, rules=rules)
    compared = agreement(
        (lambda arrays, *inputs: run(arrays, inputs), arrays),
        (lambda params, *inputs: exact(params, inputs), params),
        (fake_quantize_activations(fn, activations), params),
        inputs,
    )
    report = packed_report(tree, jax.tree.unflatten(structure, live), found, reasons, compared)
    static = dataclasses.replace(static, live=live, report=report, agreement=compared)
    return PackedModel(held, static)


def _shapes(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    leaves, structure = jax.tree.flatten(inputs)
    return tuple((jnp.shape(x), jnp.result_type(x)) for x in leaves), structure


def _check_live(static: _Static, inputs: tuple[Any, ...]) -> None:
    """Raises unless outputs at other shapes need no array that is not held."""
    live = needed(partial(_run, static), static.shapes, inputs)
    if any(need and not kept for need, kept in zip(live, static.live, strict=True)):
        raise ValueError(
            "PackedModel(inputs=...): at these shapes the model reads params that it did not read "
            "where it was packed. Pack it at these shapes."
        )


def _joined(
    program: Program, params: Params, inputs: tuple[Any, ...], found: Found
) -> tuple[dict[str, Thresholds], dict[str, Way], dict[str, str]]:
    """The thresholds of data that come from sums, and how; of the others why not."""
    sites = {site.name: site for site in program.sites}
    made = origins(program, found.sites, len(jax.tree.leaves(inputs)))
    reasons: dict[str, str] = {}
    between: dict[str, Between] = {}
    for name, own in found.sites.items():
        origin = made[name]
        if not isinstance(origin, Made):
            reasons[name] = f"made of {getattr(origin, 'reason', 'parameters')}"
            continue
        ends = sites[origin.site], sites[name]
        each = Between(program, origin, *ends, found.sites[origin.site], own)
        if each.obstacle:
            reasons[name] = each.obstacle
        else:
            between[name] = each
    scales = {name: signs.scale for name, signs in found.signs.items()}
    leaves = jax.tree.leaves(materialize(params))
    tried = thresholds(between, leaves, scales) if between else {}
    joined = {name: each for name, each in tried.items() if isinstance(each, Thresholds)}
    reasons |= {name: each for name, each in tried.items() if isinstance(each, str)}
    return joined, {name: between[name].way for name in joined}, reasons


def _run(model: _Static, arrays: Sequence[Any], inputs: tuple[Any, ...]) -> PyTree:
    """The outputs, from all arrays, those that are not needed as zeros."""
    params, signs, joined = jax.tree.unflatten(model.structure, arrays)
    static = model.sites
    program = trace(model.fn, params, *inputs)
    sites = {site.name: site for site in program.sites}
    made = origins(program, static, len(jax.tree.leaves(inputs))) if joined else {}
    links = []
    for name, each in joined.items():
        origin = made[name]
        # Sizes are told first, since they say more than that something is not alike.
        if isinstance(origin, Made):
            ends = (sites[origin.site], sites[name], static[origin.site], static[name])
            between = Between(program, origin, *ends)
            links.append(Link(between, between.fitted(each)))
        if not isinstance(origin, Made) or not links[-1].between.follows(model.ways[name]):
            raise ValueError(
                f"PackedModel(inputs=...): at these shapes and dtypes the data of {name!r} are "
                "made in another way than where the model was packed. Pack it with such inputs."
            )
    return in_words(program, (params, signs), inputs, static, links, model.rules)
