"""Which sites meet the model's inputs before a weight has multiplied them."""

from typing import NamedTuple

from jaxcompress.graph.jaxprs import scan_loop
from jaxcompress.graph.program import Program
from jaxcompress.graph.steps import Block, Step
from jaxcompress.graph.traversal import forward


class _From(NamedTuple):
    """What a value is made of."""

    inputs: bool = False
    sites: bool = False

    def __or__(self, other: "_From") -> "_From":
        return _From(self.inputs or other.inputs, self.sites or other.sites)


def entrances(program: Program) -> frozenset[str]:
    """The sites and products whose data are made of inputs that met no site before.

    Norms, additions and lookups in inputs are no sites; a table that is indexed is one,
    so that embeddings are not inputs any more.

    Args:
      program: what `trace` gave.

    Returns:
      Names of sites, a model's first layers.

    Example:
      >>> fn = lambda params, x: jnp.tanh(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.ones((3, 8)), "out": jnp.ones((8, 2))}
      >>> sorted(entrances(jc.graph.trace(fn, params, jnp.ones((5, 3)))))
      ['in']
    """
    found: dict[str, _From] = {}
    operands = program.block.jaxpr.invars
    params = len(program.leaves)
    _walk(program.block, [_From(inputs=i >= params) for i in range(len(operands))], found)
    return frozenset(name for name, data in found.items() if data.inputs and not data.sites)


def _walk(block: Block, operands: list[_From], found: dict[str, _From]) -> list[_From]:
    """What the results of a block are made of; `found` gets the data of its sites."""

    def through(index: int, operands: list[_From]) -> list[_From]:
        step = block.steps[index]
        if step.blocks:
            return _inside(step, operands, found)
        for name, site in step.places.items():
            found[name] = found.get(name, _From()) | operands[1 - site.position]
        return [_joined(operands) | _From(sites=bool(step.sites))] * len(step.eqn.outvars)

    consts = [_From()] * len(block.jaxpr.constvars)
    return forward(block.jaxpr, consts, operands, through, lambda literal: _From())


def _inside(step: Step, operands: list[_From], found: dict[str, _From]) -> list[_From]:
    """What the results of a call, loop or branch are made of."""
    match step.eqn.primitive.name:
        case "scan":
            loop = scan_loop(step.eqn)
            first, last = loop.fixed, loop.fixed + loop.carried
            return _settled(step.blocks[0], operands, (first, last), found)
        case "while":
            begin = step.eqn.params["cond_nconsts"]
            first = step.eqn.params["body_nconsts"]
            body = operands[begin:]
            results = _settled(step.blocks[1], body, (first, len(body)), found)
            _walk(step.blocks[0], operands[:begin] + results, found)
            return results
        case "cond":
            branches = [_walk(block, operands[1:], found) for block in step.blocks]
            return [_joined(each) for each in zip(*branches, strict=True)]
    return _walk(step.blocks[0], operands, found)


def _settled(
    body: Block, operands: list[_From], carried: tuple[int, int], found: dict[str, _From]
) -> list[_From]:
    """The results of a loop's body, whose carry is made of what all turns give."""
    first, last = carried
    while True:
        results = _walk(body, operands, found)
        ends = results[: last - first]
        carry = [_joined(pair) for pair in zip(operands[first:last], ends, strict=True)]
        if carry == operands[first:last]:
            return carry + results[last - first :]
        operands = [*operands[:first], *carry, *operands[last:]]


def _joined(values) -> _From:
    whole = _From()
    for each in values:
        whole |= each
    return whole
