"""Capturing: a model that also returns values from inside it, to be differentiated."""

import functools
from collections.abc import Callable, Collection, Iterable
from typing import Any

from jax.extend.core import JaxprEqn

from jaxcompress.core.kinds import check_each, check_text
from jaxcompress.core.leaf import materialize
from jaxcompress.core.models import check_model
from jaxcompress.core.rules import Rules
from jaxcompress.core.types import Array, Model, Params, PyTree
from jaxcompress.graph.choice import choose
from jaxcompress.graph.interpret import Handler
from jaxcompress.graph.program import Program, trace
from jaxcompress.graph.rebuild import Awaited
from jaxcompress.graph.rewrite import run_program
from jaxcompress.graph.sites import source_of
from jaxcompress.graph.steps import Block

Taken = Callable[[Array, Any, Array], PyTree]
"""(data, weight, output) -> what is captured of one execution of a site."""


def outputs(data: Array, weight: Any, output: Array) -> Array:
    """Captures what a site gives."""
    del data, weight
    return output


def inputs(data: Array, weight: Any, output: Array) -> Array:
    """Captures the data that meet the weight; of a product, its first operand."""
    del weight, output
    return data


def capture(fn: Model, sites: str | Iterable[str] | Rules[Taken]) -> Callable[..., Any]:
    """Returns the model that also gives chosen values from inside it.

    Not for: statistics of many batches; `calibrate` gathers them and keeps no values.

    For losses on hidden features and attention maps. Values have the shape and dtype
    that the program has (an einsum's those of its formula), and gradients with respect
    to params and inputs, of any order. What a site gives is the product alone, before
    bias and activation: capture the input of the site that reads it to have those. What
    lies around a site adds leading axes, outermost first:

        a scan                    one entry per turn, so layers in a scan are stacked
        a shard_map               one entry per device, in the order of its mesh axes
        a branch not taken        zeros
        a while loop              refused: it has no gradient, and no number of turns
        a custom derivative       refused: its rule is silent about values inside

    Outputs are those of `fn`. The model is traced again in each call: jit the result.
    Under `jax.vmap` capture the function of one example and map the result, then every
    value has the examples first; of a mapped function it is where the program has it.

    Also known as: intermediate features, forward hooks, `sow`, `capture_intermediates`.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      sites: patterns of site names (`trace(...).sites`, and `.products`, whose patterns
        begin with "@"), which capture outputs; or rules that say what to capture:
        `outputs`, `inputs`, or a function `(data, weight, output) -> tree of arrays`.

    Returns:
      `captured(params, *inputs) -> (outputs, values)`: values by site name, in program
      order, products last. The params may hold compressed leaves.

    Raises:
      ValueError: when called, a pattern matches no site, or a site lies in a while loop
        or a custom derivative.

    Example:
      >>> fn = lambda params, x: jnp.tanh(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.eye(2), "out": jnp.ones((2, 1))}
      >>> hidden = jc.graph.capture(fn, jc.Rules({"out": jc.graph.inputs}))
      >>> y, values = hidden(params, jnp.array([[0.0, 1.0]]))
      >>> values["out"]
      Array([[0.       , 0.7615942]], dtype=float32)
    """
    check_model("capture", fn)
    rules = sites if isinstance(sites, Rules) else _outputs_of(sites)

    @functools.wraps(fn)
    def captured(params: Params, *inputs):
        if not rules:
            return fn(*materialize((params, *inputs))), {}
        program = trace(fn, params, *inputs)
        chosen = choose(program, rules, lambda site: site.name)
        if not chosen:
            raise ValueError("capture(sites): no weight meets data in this program.")
        _check_differentiable(program.block, chosen)
        handlers = {name: _taker(taken) for name, taken in chosen.items()}
        states = dict.fromkeys(chosen, Awaited())
        results, values = run_program(program, params, inputs, states, handlers)
        return results, {name: values[name] for name in chosen}

    return captured


def _outputs_of(patterns: str | Iterable[str]) -> Rules[Taken] | None:
    """Rules that capture outputs; None without a pattern."""
    each = [patterns] if isinstance(patterns, str) else patterns
    check_each("capture", "sites", each, check_text)
    return Rules((pattern, outputs) for pattern in each) if each else None


def _taker(taken: Taken) -> Handler:
    def handler(site, apply, data, weight, state):
        output = apply(data, weight)
        return output, taken(data, weight, site.result(output))

    return handler


_NO_GRADIENT = {
    "while": "a while loop, which has no reverse gradient and no fixed number of turns",
    "custom_jvp_call": "a custom derivative, whose rule is silent about values inside",
    "custom_vjp_call": "a custom derivative, whose rule is silent about values inside",
}


def beyond_capture(program: Program) -> dict[str, str]:
    """The sites whose values cannot be captured, by name, and where they lie."""
    return {name: f"it lies in {reason}" for name, (reason, _) in _silent(program.block).items()}


def _silent(block: Block) -> dict[str, tuple[str, JaxprEqn]]:
    """Where a value would lose its gradient on the way out, by site."""
    found: dict[str, tuple[str, JaxprEqn]] = {}
    for step in block.steps:
        reason = _NO_GRADIENT.get(step.eqn.primitive.name, "")
        if step.blocks and reason:
            found |= dict.fromkeys(step.places, (reason, step.eqn))
            continue
        for inner in step.blocks:
            found |= _silent(inner)
    return found


def _check_differentiable(block: Block, chosen: Collection[str]) -> None:
    """Raises where a value would lose its gradient on the way out."""
    for name, (reason, eqn) in _silent(block).items():
        if name in chosen:
            raise ValueError(
                f"capture(sites): {name!r} lies in {reason} ({source_of(eqn)}). Capture a site "
                "outside of it, return the value from the model, or use observe for statistics "
                "without gradients."
            )
