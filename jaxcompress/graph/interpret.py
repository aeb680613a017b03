"""Runs a traced program with handlers at chosen sites.

Consecutive equations without a chosen site run together, as JAX would run them; only
what holds a chosen site is opened. A handler gets and gives a state, so that one walk
serves to replace (the state is empty), to observe (it is the reading) and to capture
(it comes out alone). Calls and loops are built anew in `rebuild`.
"""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn, Literal

from jaxcompress.core.leaf import CompressedLeaf, materialize
from jaxcompress.graph.jaxprs import as_function, variables
from jaxcompress.graph.rebuild import States, rebuild
from jaxcompress.graph.sites import Site
from jaxcompress.graph.steps import Block, Step

Handler = Callable[[Site, Callable[..., Any], Any, Any, Any], tuple[Any, Any]]
"""(site, apply, data, weight, state) -> (output, state)."""

Handlers = Mapping[str, Handler]
"""Handlers by site name."""


def interpret(
    block: Block, values: list[Any], states: States, handlers: Handlers
) -> tuple[list[Any], States]:
    """Runs a block.

    Args:
      block: the steps.
      values: one per operand of the block: arrays or compressed leaves.
      states: by site name, for the handled sites in the block.
      handlers: what happens at each handled site.

    Returns:
      (results, states). A result is compressed where it is an operand that only moved.
    """
    frame = _Frame(block, values)
    # Equations wait until a site needs them, and then run as one program: to evaluate
    # them one by one takes longer to trace, and loses their name scopes.
    for index, step in enumerate(block.steps):
        if step.holds(handlers):
            frame.run_waiting(index)
            results, states = _open(step, frame.read(step.eqn.invars), states, handlers)
            frame.write(step.eqn.outvars, results)
        elif not frame.moves_compressed(step.eqn):
            frame.waiting.append(step.eqn)
    frame.run_waiting(len(block.steps))
    return frame.read(block.jaxpr.outvars), states


def _open(
    step: Step, operands: list[Any], states: States, handlers: Handlers
) -> tuple[list[Any], States]:
    def run(block: Block, values, states: States):
        return interpret(block, list(values), states, handlers)

    # A profile shows the name scopes that an equation was written in.
    scope = str(step.eqn.source_info.name_stack)
    with jax.named_scope(scope) if scope else contextlib.nullcontext():
        if step.blocks:
            return rebuild(step, operands, states, run)
        handled = [site for site in step.places.values() if site.name in handlers]
        output, states = _meet(handled, step.eqn, operands, states, handlers)
        return [output], states


def _meet(
    sites: list[Site],
    eqn: JaxprEqn,
    operands: list[Any],
    states: States,
    handlers: Handlers,
    **changed,
) -> tuple[Any, States]:
    """Runs an equation, the handler of its first site around that of the next."""
    # A dot of two leaves is a site of each. The first handler's `apply` calls the
    # second's, whose `apply` is the equation.
    if not sites:
        return eqn.primitive.bind(*materialize(operands), **{**eqn.params, **changed}), states
    site, *others = sites
    at, other = site.position, 1 - site.position
    met = materialize(operands[other])

    def apply(data, weight, **more):
        nonlocal states
        values = list(operands)
        values[at] = weight
        # Another weight goes to its own handler as stored, unless it was replaced.
        values[other] = operands[other] if data is met else data
        output, states = _meet(others, eqn, values, states, handlers, **(changed | more))
        return output

    output, state = handlers[site.name](site, apply, met, operands[at], states[site.name])
    if (output.shape, output.dtype) != (site.output_shape, site.dtype):
        raise ValueError(
            f"rewrite(rules): the replacement at site {site.name!r} returned {output.dtype} of "
            f"shape {output.shape}, but the program goes on with {site.dtype} of shape "
            f"{site.output_shape}. Cast or reshape what it returns."
        )
    return output, {**states, site.name: state}


class _Frame:
    """The values of a block while it runs, and the equations that wait to run."""

    def __init__(self, block: Block, values: list[Any]):
        self.jaxpr = block.jaxpr
        self.values: dict[Any, Any] = dict(zip(self.jaxpr.constvars, block.consts, strict=True))
        self.write(self.jaxpr.invars, values)
        self.waiting: list[JaxprEqn] = []
        # Equations that run together return what later steps read, and nothing else: a
        # value that is returned must be computed and kept.
        self.last_use: dict[Any, Any] = {}
        for index, step in enumerate(block.steps):
            self.last_use.update(dict.fromkeys(variables(step.eqn.invars), index))
        self.last_use.update(dict.fromkeys(variables(self.jaxpr.outvars), len(block.steps)))

    def read(self, atoms) -> list[Any]:
        return [atom.val if isinstance(atom, Literal) else self.values[atom] for atom in atoms]

    def write(self, variables, values) -> None:
        self.values.update(zip(variables, values, strict=True))

    def moves_compressed(self, eqn: JaxprEqn) -> bool:
        """Moves or casts a compressed leaf as stored; False where it must be formed."""
        # A value that still waits is not there yet; it is an array in any case.
        operands = [self.values.get(variable) for variable in variables(eqn.invars)]
        if len(operands) != 1 or not isinstance(operands[0], CompressedLeaf):
            return False
        moved = _moved(operands[0], eqn)
        if moved is None:
            return False
        self.write(eqn.outvars, [moved])
        return True

    def run_waiting(self, index: int) -> None:
        """Runs the waiting equations; keeps what step `index` or a later one reads."""
        if not self.waiting:
            return
        made = [out for eqn in self.waiting for out in eqn.outvars]
        outvars = [out for out in made if self.last_use.get(out, -1) >= index]
        read = variables([operand for eqn in self.waiting for operand in eqn.invars])
        invars = [variable for variable in read if variable in self.values]
        function = as_function(self.waiting, invars, outvars, self.jaxpr.debug_info)
        self.write(outvars, function(*materialize(self.read(invars))))
        self.waiting = []


def _moved(leaf: CompressedLeaf, eqn: JaxprEqn) -> CompressedLeaf | None:
    """The compressed leaf after an equation that leaves its stored numbers alone."""
    match eqn.primitive.name:
        case "transpose":
            return leaf.transpose(eqn.params["permutation"])
        case "convert_element_type" if jnp.issubdtype(eqn.params["new_dtype"], jnp.floating):
            return leaf.astype(eqn.params["new_dtype"])
        case "copy" | "stop_gradient":
            return leaf
    return None
