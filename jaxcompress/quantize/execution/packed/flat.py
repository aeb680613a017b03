"""A model whose calls are written out, so that every equation is at the top."""

import functools
from typing import Any

import jax
from jax.extend.core import Literal

from jaxcompress.core.leaf import materialize
from jaxcompress.core.types import Model
from jaxcompress.graph.jaxprs import as_function, variables
from jaxcompress.graph.primitives import CALLS
from jaxcompress.graph.program import trace
from jaxcompress.graph.steps import Block


def flattened(fn: Model) -> Model:
    """The model with the bodies of its calls in their place; loops stay loops.

    Custom derivatives are lost with the calls that had them.
    """

    @functools.wraps(fn)
    def flat(params, *inputs):
        program = trace(fn, params, *inputs)
        results = _written_out(program.block, jax.tree.leaves(materialize((params, inputs))))
        return jax.tree.unflatten(jax.tree.structure(program.outputs), results)

    return flat


def _written_out(block: Block, values: list[Any]) -> list[Any]:
    jaxpr = block.jaxpr
    known = dict(zip(jaxpr.constvars, block.consts, strict=True))
    known.update(zip(jaxpr.invars, values, strict=True))

    def read(atoms) -> list[Any]:
        return [atom.val if isinstance(atom, Literal) else known[atom] for atom in atoms]

    for step in block.steps:
        eqn = step.eqn
        if eqn.primitive.name in CALLS:
            results = _written_out(step.blocks[0], read(eqn.invars))
        else:
            operands = variables(eqn.invars)
            function = as_function([eqn], operands, eqn.outvars, jaxpr.debug_info)
            results = function(*read(operands))
        known.update(zip(eqn.outvars, results, strict=True))
    return read(jaxpr.outvars)
