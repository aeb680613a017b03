"""Models whose data are seen as their signs: binary activations, XNOR-Net."""

import glob
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.models import check_model
from jaxcompress.core.observers import Range
from jaxcompress.core.rules import Rules, as_rules, check_rules
from jaxcompress.core.types import Array, Model, Params, PyTree
from jaxcompress.graph import Program, Site, trace
from jaxcompress.graph.choice import choose
from jaxcompress.graph.entrances import entrances
from jaxcompress.graph.interpret import Handler
from jaxcompress.graph.rewrite import run_program
from jaxcompress.quantize.execution.activations import Activations, static
from jaxcompress.quantize.formats.tables import binary
from jaxcompress.quantize.training.activations import rounded_data
from jaxcompress.quantize.training.data.learned import has_rows
from jaxcompress.quantize.training.data.scales import SignScale, unscaled

CALLER = "binary_activations"
MADE_BY = "Make one with training.data.unscaled() or training.data.mean_magnitude()."


class BinaryActivations(NamedTuple):
    """A model whose data are seen as their signs: two pure functions.

    Attributes:
      model: (params, *inputs) -> outputs; differentiable.
      freeze: (params, *inputs) -> rules of `Activations` for
        `fake_quantize_activations`, by leaf; arrays or shapes. They say what the model
        computes bit for bit, where nothing is scaled.
    """

    model: Model
    freeze: Callable[..., Rules[Activations]]


def binary_activations(
    fn: Model, how: SignScale | Rules[SignScale] = unscaled()
) -> BinaryActivations:
    """Shows the weights of a model the signs of their data, in training and after it.

    Not for: accuracy: on a small ResNet data of one bit cost four times what weights of
    one bit do; `learned_activations` takes more.

        data -> 1 where data > 0, else -1;   output -> K · output
        d sign(x) / d x = 1 where |x| <= 1, else 0

    K is 1, or with `mean_magnitude()` the mean magnitude of what each output sums over.
    Weights are binarized beside it, with a view: `training.binary_weights()` gives
    sign(w) · mean|w|, and both together are XNOR-Net. A block of it is, in this order,
    norm, sign, convolution, relu, pool: the norm keeps data around zero, and pooling
    signs would leave ones alone. The first and the last layer usually stay real.

    Leaves that meet the model's own inputs stay as they are, unless a rule names them
    in full, without wildcards: an input is no activation, and its sign may say little.
    The last layer is left out by rules that do not match it.

    Also known as: binary activations, XNOR-Net, binarized neural networks (BNN), 1-bit
    activations.

    Args:
      fn: fn(params, *inputs) -> outputs.
      how: what outputs are multiplied by at every dot and convolution behind another
        weight; or rules over leaf names, by which those of other leaves stay as they
        are. Rules for products begin with "@".

    Returns:
      BinaryActivations. The model is traced again in each call: jit what calls it.

    Raises:
      TypeError: `fn` is no function, or `how` no SignScale.
      ValueError: (when called) a rule matches no leaf with data of real numbers, or
        none but those that meet the inputs; or outputs are scaled by data, which
        `freeze` cannot say.

    Example:
      >>> fn = lambda params, x: jnp.tanh(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.eye(2), "out": jnp.eye(2)}
      >>> technique = jc.quantize.training.binary_activations(fn)
      >>> technique.model(params, jnp.array([[0.5, -0.1]]))
      Array([[ 1., -1.]], dtype=float32)
      >>> technique.freeze(params, jnp.ones((1, 2))).pairs[0][0]
      'out'

    Source: Rastegari et al. 2016, arXiv:1603.05279, section 3.2; Courbariaux et al.
    2016, arXiv:1602.02830, section 1.3. Differs: zero counts as -1, as in
    `formats.binary`; the data keep their place among the layers, which are the
    model's.
    """
    check_model(CALLER, fn)
    check_rules(CALLER, "how", how, SignScale, MADE_BY)
    rules = as_rules(how)

    def model(params: Params, *inputs: PyTree):
        program = trace(fn, params, *inputs)
        handlers = {name: _handler(name, scale) for name, scale in _chosen(program, rules).items()}
        states = dict.fromkeys(handlers, ())
        return run_program(program, params, inputs, states, handlers)[0]

    def freeze(params: Params, *inputs: PyTree) -> Rules[Activations]:
        program = trace(fn, params, *inputs)
        chosen = _chosen(program, rules)
        scaled = [name for name, scale in chosen.items() if not scale.constant]
        if scaled:
            raise ValueError(
                f"{CALLER}(...).freeze: outputs of {', '.join(scaled)} are scaled by data, which "
                "Activations do not say. Ship the model itself, or train it unscaled()."
            )
        signs = _signs(*chosen)
        leaves = dict.fromkeys(program.places[name].leaf for name in chosen)
        return Rules((glob.escape(leaf), signs) for leaf in leaves)

    return BinaryActivations(model, freeze)


def _signs(*names: str) -> Activations:
    """The data of sites as -1 and 1."""
    with jax.ensure_compile_time_eval():  # the range is known, also where models are traced
        ends = Range(jnp.float32(-1.0), jnp.float32(1.0))
        return static(dict.fromkeys(names, ends), binary(per="tensor"))


def _handler(name: str, scale: SignScale) -> Handler:
    shown = rounded_data(_signs(name))

    def handler(
        site: Site, apply: Callable[..., Any], data: Array, weight: Any, state: tuple[Any, ...]
    ):
        output = shown(site, apply, data, weight)
        if not scale.constant:
            output = output * scale.of(site, apply, data, weight).astype(output.dtype)
        return output, state

    return handler


def _chosen(program: Program, rules: Rules[SignScale]) -> dict[str, SignScale]:
    """How each site is scaled whose data become signs, by site name."""
    named = Rules((pattern, (pattern, scale)) for pattern, scale in rules.pairs)
    found = choose(program, named, lambda site: site.leaf, has_rows)
    places, first = program.places, entrances(program)
    # Rules go by leaf: one that meets the inputs anywhere does so.
    entered = {places[name].leaf for name in first}
    chosen = {
        name: pair
        for name, pair in found.items()
        if places[name].leaf not in entered or pair[0] == places[name].leaf
    }
    used = {pattern for pattern, _ in chosen.values()}
    for pattern, _ in rules.pairs:
        if pattern not in used:
            left = sorted(entered) or ["none with real data"]
            raise ValueError(
                f"{CALLER}: rule {pattern!r} leaves nothing, since leaves that meet the model's "
                f"inputs ({', '.join(left)}) stay real unless a rule names them in full. Add a "
                "rule of such a name to see the signs of inputs."
            )
    return {name: scale for name, (_, scale) in chosen.items()}
