"""Replacing what happens at chosen sites of a model."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from jaxcompress.core.kinds import check_takes
from jaxcompress.core.leaf import is_compressed, materialize
from jaxcompress.core.models import check_model
from jaxcompress.core.rules import Rules, as_rules
from jaxcompress.core.types import Array, Model, Params, PyTree
from jaxcompress.graph.choice import choose
from jaxcompress.graph.interpret import Handlers, interpret
from jaxcompress.graph.program import Program, trace
from jaxcompress.graph.rebuild import States
from jaxcompress.graph.sites import Site

Replacement = Callable[[Site, Callable[..., Any], Array, Any], Array]
"""(site, apply, data, weight) -> output."""


def rewrite(fn: Model, rules: Rules[Replacement] | Replacement) -> Model:
    """Returns the model with other computations where chosen weights meet data.

    Not for: values that are only read; take `capture` or `observe`.

    Also known as: intercepting layers, patching operations, a graph transform.

    A replacement is called as `replacement(site, apply, data, weight)` at every site of
    a leaf that a rule matches, and gives an array of `site.output_shape` and
    `site.dtype`.

        data      the other operand of the site's equation
        weight    the operand as it arrives: an array; or a compressed leaf as stored,
                  in the operand's orientation, where only transposes, casts, calls and
                  loops lie between
        apply     the site's own equation, `apply(data, weight, **changed)`; takes
                  compressed leaves too, and changes parameters such as
                  `preferred_element_type`

    A rule whose pattern begins with "@" is for products, such as attention's two: their
    first operand is then the data, the second the weight.

    Everything else stays: outputs, gradients, custom derivatives, shardings, the
    program that XLA gets. Inside a custom derivative the forward pass is replaced and
    the derivative is still that of the original equation. Wherever else a compressed
    leaf is touched, the array it stands for is formed.

    The model is traced again in each call, at the shapes of that call: jit the result.
    A jitted helper that serves several sites is emitted once for each.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      rules: replacements by leaf name, or one for every leaf; other leaves
        stay untouched.

    Returns:
      Model of the same signature that also takes compressed leaves in its params.

    Raises:
      ValueError: when called, a rule matches no leaf with a site, or a replacement
        gives an array of another shape or dtype.

    Example:
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> double = lambda site, apply, data, weight: 2 * apply(data, weight)
      >>> jc.graph.rewrite(fn, double)({"kernel": jnp.eye(2)}, jnp.array([[1.0, 2.0]]))
      Array([[2., 4.]], dtype=float32)
    """
    check_model("rewrite", fn)
    rules = as_rules(rules)
    for _, each in rules.pairs:
        check_takes("rewrite", "rules", each, 4, "Pass a function (site, apply, data, weight).")

    @functools.wraps(fn)
    def rewritten(params, *inputs):
        program = trace(fn, params, *inputs)
        chosen = choose(program, rules, lambda site: site.leaf)
        handlers = {name: _stateless(replacement) for name, replacement in chosen.items()}
        if not handlers:
            return fn(*materialize((params, *inputs)))
        states = dict.fromkeys(handlers, ())
        return run_program(program, params, inputs, states, handlers)[0]

    return rewritten


def _stateless(replacement: Replacement):
    def handler(site, apply, data, weight, state):
        return replacement(site, apply, data, weight), state

    return handler


def run_program(
    program: Program, params: Params, inputs: tuple[Any, ...], states: States, handlers: Handlers
) -> tuple[PyTree, States]:
    """The outputs of the program with handlers at sites, and their states after it."""
    values = jax.tree.leaves((params, inputs), is_leaf=is_compressed)
    results, states = interpret(program.block, values, states, handlers)
    return jax.tree.unflatten(jax.tree.structure(program.outputs), materialize(results)), states
