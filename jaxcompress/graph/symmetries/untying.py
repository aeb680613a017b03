"""Tables that are looked up and multiplied, as two leaves."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Literal

from jaxcompress.core.names import named_leaves
from jaxcompress.core.trees import check_call
from jaxcompress.core.types import Model, Params, PyTree
from jaxcompress.graph.jaxprs import as_function, variables
from jaxcompress.graph.layouts import Lookup
from jaxcompress.graph.primitives import PLAIN_CALLS
from jaxcompress.graph.program import Program, trace
from jaxcompress.graph.sites import source_of
from jaxcompress.graph.steps import Block, Step

COPIES = "untied"
"""The key under which the second leaves lie."""


class Twin(NamedTuple):
    """A value that is made of tables alone, and what it is of their second leaves."""

    value: Any
    copy: Any


def untied(fn: Model, params: Params, *inputs: PyTree) -> tuple[Model, Params]:
    """Gives each table that is looked up and multiplied a second leaf to multiply.

    An embedding tied to the output projection cannot take over the scale of the last
    norm, so that neither the scale folds nor the residual stream rotates. Untied, the
    outputs are the same and both can.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: tree of arrays.
      inputs: trees of arrays or shapes.

    Returns:
      (function, params): the model on params that hold the second leaves by the name
      of the first, under the key "untied"; a dict gets one key more, any other tree
      becomes `{"params": params, "untied": …}`. Without tied tables both as they were.
      The function traces the model anew at each call, so jit it.

    Raises:
      TypeError: `fn` is no function, or a leaf no array.
      ValueError: a table is looked up and multiplied inside of one loop or branch; or
        the params have a key "untied" already.

    Example:
      >>> fn = lambda params, ids: params["table"][ids] @ params["table"].T
      >>> ids = jnp.array([1, 2])
      >>> params = {"table": jnp.eye(3)}
      >>> apart, params = jc.graph.symmetries.untied(fn, params, ids)
      >>> list(jc.named_leaves(params))
      ['table', 'untied/table']
      >>> apart(params, ids)
      Array([[0., 1., 0.],
             [0., 0., 1.]], dtype=float32)
    """
    check_call("untied", fn, params, inputs)
    leaves = named_leaves(params)
    tied = _tied(trace(fn, params, *inputs))
    if not tied:
        return fn, params
    keyed = isinstance(params, Mapping) and all(isinstance(key, str) for key in params)
    if keyed and COPIES in params:
        raise ValueError(f"untied(params=...) has a key {COPIES!r} already. Rename it.")

    def apart(params: Params, *inputs):
        copies = params[COPIES]
        own = {k: v for k, v in params.items() if k != COPIES} if keyed else params["params"]
        program = trace(fn, own, *inputs)
        values = jax.tree.leaves((own, inputs))
        names = [leaf.name for leaf in program.leaves]
        twins = [
            Twin(value, copies[name]) if name in copies else value
            for name, value in zip(names, values, strict=False)
        ]
        results = _run(program.block, [*twins, *values[len(names) :]], frozenset(copies))
        return jax.tree.unflatten(jax.tree.structure(program.outputs), results)

    copies = {COPIES: {name: jnp.copy(leaves[name]) for name in tied}}
    # Told here, where the caller is, and not at the first call.
    both = ({**params} if keyed else {"params": params}) | copies
    jax.eval_shape(apart, both, *inputs)
    return apart, both


def _tied(program: Program) -> list[str]:
    """The leaves that are looked up and multiplied, in the tree's order."""
    looked_up, multiplied = set(), set()
    for site in program.sites:
        kind = looked_up if isinstance(site.layout, Lookup) else multiplied
        kind.update(leaf.name for leaf in site.leaves)
    return [leaf.name for leaf in program.leaves if leaf.name in looked_up & multiplied]


def _run(block: Block, operands: Sequence[Any], tied: frozenset[str]) -> list[Any]:
    """The results of a program some of whose operands are twins."""
    known = dict(zip(block.jaxpr.constvars, block.consts, strict=True))
    known |= dict(zip(block.jaxpr.invars, operands, strict=True))
    for step in block.steps:
        given = {each: known[each] for each in variables(step.eqn.invars)}
        results = _step(step, given, tied, block.jaxpr.debug_info)
        known.update(zip(step.eqn.outvars, results, strict=True))
    return [
        atom.val if isinstance(atom, Literal) else _first(known[atom])
        for atom in block.jaxpr.outvars
    ]


def _first(value):
    return value.value if isinstance(value, Twin) else value


def _second(value):
    return value.copy if isinstance(value, Twin) else value


def _step(step: Step, given: dict[Any, Any], tied: frozenset[str], debug_info) -> list[Any]:
    """The results of one equation, as twins where it computes with tables alone."""
    eqn = step.eqn
    function = as_function([eqn], list(given), eqn.outvars, debug_info)
    twins = [isinstance(value, Twin) for value in given.values()]
    if not any(twins):
        return function(*given.values())
    first, second = (list(map(each, given.values())) for each in (_first, _second))
    if all(twins):
        return list(map(Twin, function(*first), function(*second)))
    own = [site for site in step.sites.values() if tied & {leaf.name for leaf in site.leaves}]
    lookups = [isinstance(site.layout, Lookup) for site in own]
    if not any(lookups):
        return function(*second)
    if all(lookups):
        return function(*first)
    if eqn.primitive.name not in PLAIN_CALLS:
        raise ValueError(
            f"untied(fn): {own[0].leaf!r} is looked up and multiplied inside of one "
            f"{eqn.primitive.name} ({source_of(eqn)}). Pass the function that is repeated "
            "the table twice, as two params."
        )
    operands = [atom.val if isinstance(atom, Literal) else given[atom] for atom in eqn.invars]
    return _run(step.blocks[0], operands, tied)
