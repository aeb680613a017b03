"""Training in low precision: all three products of a layer on low-bit operands."""

import math
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from jaxcompress.core.companions import Companions, Step
from jaxcompress.core.kinds import check_key, check_kind, check_mapping
from jaxcompress.core.leaf import materialize
from jaxcompress.core.models import check_model
from jaxcompress.core.numerics import largest_magnitude
from jaxcompress.core.rules import Rules, as_rules, check_rules
from jaxcompress.core.types import Array, Key, Model, Params, PyTree
from jaxcompress.graph import Program, Site, trace
from jaxcompress.graph.choice import choose
from jaxcompress.graph.layouts import Convolution, Dot
from jaxcompress.graph.rewrite import run_program
from jaxcompress.graph.steps import Block
from jaxcompress.quantize.training.coded_products import Known, Precision, bilinear, matmul
from jaxcompress.quantize.training.operands import round_nearest
from jaxcompress.quantize.training.precision import precision
from jaxcompress.quantize.training.scaling import Histories, noted, renewed

INT8_PRECISION = precision()

BEGIN = "Begin with init(params, *inputs)."


class LowPrecisionModel(Protocol):
    """A model whose products have low-bit operands, forward and backward."""

    def __call__(
        self, params: Params, histories: Companions, *inputs: Any, step: Step = Step()
    ) -> PyTree:
        """The outputs of the model; differentiable backwards."""
        ...


class LowPrecision(NamedTuple):
    """What `low_precision` makes of a model: three pure functions.

    Attributes:
      init: (params, *inputs) -> histories: by site name `Histories` of zeros, of the
        sites whose scaling is delayed; shapes are enough. {} where there are none.
      model: (params, histories, *inputs, step=Step()) -> outputs of the model. The
        gradient by the histories is no gradient, but what this step met.
      renew: (histories, their gradients) -> histories of the next step.
    """

    init: Callable[..., Companions]
    model: LowPrecisionModel
    renew: Callable[[Companions, Companions], Companions]


def low_precision(fn: Model, precision: Precision | Rules[Any] = INT8_PRECISION) -> LowPrecision:
    """Trains any model with low-bit operands in all three products of its layers.

    Not for: smaller models, since params stay in full precision; `fake_quantize` trains
    what is shipped in codes.

    Also known as: int8 training, fp8 training, SwitchBack, quantized training (AQT),
    fully quantized training (FQT), Transformer Engine's fp8 recipe.

        y = Q(x) · Q(w)ᵀ,   dx = Q(g) · Q(w),   dw = Q(g)ᵀ · Q(x)

    Each operand is rounded along what its product sums over, the codes are multiplied,
    and the product is scaled: int8 codes as integers, fp8 numbers as such by matrix
    units and emulated exactly on a CPU. Rounding is seen by no derivative, so params
    stay what the optimizer makes of them, in full precision. Weights may be what a view
    shows.

    Dots round every row apart, or as a whole where formats are per tensor; convolutions
    round whole operands and multiply levels in float32. Lookups and ragged dots stay.
    Products of data with data, as attention's, have rules that begin with "@". What is
    not finite stays not finite: at a dot in its row of the output, and in gradients
    that it meets. Inside of a custom derivative the forward product alone is rounded.
    Second derivatives are those of reverse over reverse mode; forward mode is refused.

    With delayed scaling the model differentiates by its histories, too, and the
    "gradient" holds the maxima that the step met:

        grads, met = jax.grad(loss, argnums=(0, 1))(params, histories)
        histories = technique.renew(histories, met)

    Take `met` from no optimizer and clip it with no gradients; over devices or
    microbatches it is to be reduced by a maximum. In a loop over time, and under `vmap`
    with shared histories, the largest of all turns and examples is noted; so members of
    an ensemble that is trained by `vmap` share maxima unless their histories are
    stacked before: `jax.vmap(technique.init, (0, None))(members, x)`. What was not
    differentiated leaves histories as they are.

    Args:
      fn: fn(params, *inputs) -> outputs.
      precision: what `precision` gives, for all weights; or rules of it over leaf
        names, by which leaves without a rule stay as they are, as first and last layers
        often do.

    Returns:
      LowPrecision: init, model and renew.

    Raises:
      TypeError: `fn` or `precision` is none.
      ValueError: (when called) a rule matches no leaf with a dot or convolution;
        histories are not those of `init`; rounding is random and the step has no key;
        or scaling is delayed inside of a shard_map.

    Example:
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> technique = jc.quantize.training.low_precision(fn)
      >>> params = {"kernel": jnp.array([[127.0], [2.2]])}
      >>> technique.model(params, {}, jnp.ones((1, 2)))
      Array([[129.]], dtype=float32)

    Source: Wortsman et al. 2023, arXiv:2304.13013, section 2, for int8; Micikevicius et
    al. 2022, arXiv:2209.05433, for fp8. Differs: the gradient of weights is a low-bit
    product too, which SwitchBack leaves in 16 bits.
    """
    check_model("low_precision", fn)
    mend = "Make it with training.precision()."
    check_rules("low_precision", "precision", precision, Precision, mend)
    rules = as_rules(precision)

    def sites(params: Params, inputs: tuple[Any, ...]) -> tuple[Program, dict[str, Precision]]:
        program = trace(fn, params, *inputs)
        return program, choose(program, rules, lambda site: site.leaf, has_operands)

    def init(params: Params, *inputs) -> Companions:
        program, chosen = sites(params, inputs)
        return _begun(program, chosen)

    def model(params: Params, histories: Companions, *inputs, step: Step = Step()) -> PyTree:
        check_mapping("low_precision", "histories", histories, BEGIN)
        program, chosen = sites(params, inputs)
        if not chosen:
            return fn(*materialize((params, *inputs)))
        _check_key(chosen, step)
        states = _states(program, chosen, histories)
        handlers = {name: _handler(how, step.key) for name, how in chosen.items()}
        return run_program(program, params, inputs, states, handlers)[0]

    return LowPrecision(init, model, renew)


def renew(histories: Companions, gradients: Companions) -> Companions:
    """Histories of the next step, with what this one met in front."""
    if jax.tree.structure(histories) != jax.tree.structure(gradients):
        raise ValueError(
            "low_precision.renew(histories, gradients) must be what the model was called with, and "
            "its gradient by it: jax.grad(loss, argnums=(0, 1))(params, histories)[1]."
        )
    return jax.tree.map(renewed, histories, gradients)


def has_operands(site: Site) -> bool:
    """Whether it is a dot or convolution of real floating numbers."""
    dtypes = (site.data_dtype, site.operand_dtype, site.dtype)
    floating = all(jnp.issubdtype(dtype, jnp.floating) for dtype in dtypes)
    return floating and isinstance(site.layout, Dot | Convolution)


def _lengths(how: Precision) -> tuple[int, int, int]:
    return how.first.scaling.history, how.second.scaling.history, how.gradient.scaling.history


def _empty(site: Site, how: Precision) -> Histories:
    return Histories(*(jnp.zeros((*site.stack, n), jnp.float32) for n in _lengths(how)))


def _begun(program: Program, chosen: dict[str, Precision]) -> Companions:
    """Histories of zeros for the sites whose scaling is delayed."""
    delayed = {name: how for name, how in chosen.items() if any(_lengths(how))}
    for name in _divided(program.block).intersection(delayed):
        raise ValueError(
            f"low_precision: leaf {program.places[name].leaf!r} is met inside of a shard_map, "
            "where maxima of devices add up, and scaling is delayed. Give it a rule of "
            "dynamic_scaling()."
        )
    return {name: _empty(program.places[name], how) for name, how in delayed.items()}


def _divided(block: Block) -> frozenset[str]:
    """The names of sites and products inside of shard_maps."""
    found: frozenset[str] = frozenset()
    for step in block.steps:
        if step.eqn.primitive.name == "shard_map":
            found |= step.places.keys()
        for inside in step.blocks:
            found |= _divided(inside)
    return found


def _states(program: Program, chosen: dict[str, Precision], histories: Companions) -> Companions:
    """A state for every chosen site: its histories, empty ones where there are none."""
    expected = _begun(program, chosen)
    histories = {name: _from_file(each) for name, each in histories.items()}
    if histories.keys() != expected.keys():
        raise ValueError(
            f"low_precision(histories=...) are of sites {', '.join(histories) or 'none'}, but "
            f"those with delayed scaling are {', '.join(expected) or 'none'}. {BEGIN}"
        )
    for name, each in expected.items():
        shapes = jax.tree.map(jnp.shape, histories[name]), jax.tree.map(jnp.shape, each)
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"low_precision(histories=...): those of site {name!r} have shapes {shapes[0]}, "
                f"not {shapes[1]}. {BEGIN}"
            )
    return {
        name: histories.get(name, _empty(program.places[name], how)) for name, how in chosen.items()
    }


def _from_file(each: Any) -> Any:
    """Histories as they are; of a dict, as files give them back, what it holds."""
    if isinstance(each, Mapping) and each.keys() == set(Histories._fields):
        return Histories(**each)
    return each


def _check_key(chosen: dict[str, Precision], step: Step) -> None:
    check_kind("low_precision", "step", step, Step, "Pass Step(count, key).")
    if all(how.gradient.rounding is round_nearest for how in chosen.values()):
        return
    if step.key is None:
        raise ValueError(
            "low_precision(step=...) rounds gradients at random and was given no key. Pass "
            "Step(count, key), with another key at each step."
        )
    check_key("low_precision", "step.key", step.key)


def _handler(how: Precision, key: Key | None) -> Callable[..., Any]:
    """What happens at a site: its product, and its histories as they are."""

    def handler(
        site: Site, apply: Callable[..., Any], data: Array, weight: Any, histories: Histories
    ):
        own = None if key is None else jax.random.fold_in(key, zlib.crc32(site.name.encode()))
        known = Known(*(jnp.max(each, initial=0.0) for each in histories))
        weight = materialize(weight)
        if site.is_matmul:
            y = matmul(how, site.rows(data), _matrix(site, weight), known, own)
        else:

            def form(data: Array, weight: Array) -> Array:
                return apply(data, weight, preferred_element_type=jnp.float32)

            y = bilinear(form, how, data, weight, known, own)
        seen = (largest_magnitude(jax.lax.stop_gradient(each)) for each in (data, weight))
        y, histories = noted(y, histories, *seen)
        return (site.output(y) if site.is_matmul else y).astype(site.dtype), histories

    return handler


def _matrix(site: Site, weight: Array) -> Array:
    """The weight operand as (batch…, outputs, contracting)."""
    axes = site.operand_axes
    sizes = [weight.shape[axis] for axis in axes.order]
    batch, outputs = len(axes.batch), len(axes.output)
    shape = (
        *sizes[:batch],
        math.prod(sizes[batch : batch + outputs]),
        math.prod(sizes[batch + outputs :]),
    )
    return jnp.transpose(weight, axes.order).reshape(shape)
