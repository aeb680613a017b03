"""How a program uses its leaves: which meet data as they are, which are biases.

`graph.provenance` follows a weight through masks and norms too; a derivative by a leaf
is that by the operand only where nothing but moves and casts lies between.
"""

import collections
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from jax.extend.core import JaxprEqn

from jaxcompress.graph.jaxprs import scan_loop
from jaxcompress.graph.origins import Weight, sliced
from jaxcompress.graph.primitives import PLAIN_CALLS
from jaxcompress.graph.provenance import follow
from jaxcompress.graph.sites import Site
from jaxcompress.graph.steps import Block, Step
from jaxcompress.graph.traversal import forward

_CASTS = ("convert_element_type", "copy", "reshard", "sharding_constraint")
_MOVES = ("broadcast_in_dim", "reshape", "squeeze", "transpose", *_CASTS)


class _Output(NamedTuple):
    """The output of a site, perhaps cast."""

    site: str


class Connections:
    """Follows leaves and outputs of sites, and counts what uses them but to move them.

    Attributes:
      sites: each site whose weight is a leaf as it is, moved or cast, with its equation
        and the weight; not those in branches, while loops and custom derivatives.
      added: by the name of a site, the weight that is added to its output.
      uses: by leaf name, or output of a site, how many equations read it.
    """

    def __init__(self):
        self.sites: list[tuple[Site, JaxprEqn, Weight]] = []
        self.added: dict[str, Weight] = {}
        self.uses: collections.Counter = collections.Counter()

    def block(self, block: Block, values: Sequence[Any]) -> list[Any]:
        """The values of the block's results: a Weight, an _Output, or None."""
        consts = [None] * len(block.jaxpr.constvars)
        return forward(
            block.jaxpr,
            consts,
            values,
            lambda index, operands: self.step(block.steps[index], operands),
            lambda literal: None,
        )

    def step(self, step: Step, operands: list[Any]) -> list[Any]:
        eqn, name = step.eqn, step.eqn.primitive.name
        if name in PLAIN_CALLS:
            return self.block(step.blocks[0], operands)
        if name in _CASTS and isinstance(operands[0], _Output):
            return [operands[0]]
        if name in _MOVES and isinstance(operands[0], Weight):
            (moved,) = follow(eqn, [operands[0]])
            if isinstance(moved, Weight):
                return [moved]
        self.use(operands)
        if name == "scan":
            self.scan(step, operands)
        elif not step.blocks and len(step.sites) == 1:
            (site,) = step.sites.values()
            if isinstance(operands[site.position], Weight):
                self.sites.append((site, eqn, operands[site.position]))
            return [_Output(site.name)]
        elif name == "add":
            self.add(operands)
        return [None] * len(eqn.outvars)

    def scan(self, step: Step, operands: list[Any]) -> None:
        loop = scan_loop(step.eqn)
        first = loop.fixed + loop.carried
        origins = [
            sliced(operand, step.depth) if operand is not None else None
            for operand in operands[first:]
        ]
        slices = [origin if isinstance(origin, Weight) else None for origin in origins]
        # What is passed on to the scan is used in it: it counts once, inside.
        self.uses.subtract(_names(operands[first:]))
        self.use(self.block(step.blocks[0], [None] * first + slices))

    def add(self, operands: list[Any]) -> None:
        for output, other in (operands, operands[::-1]):
            if isinstance(output, _Output) and isinstance(other, Weight):
                self.added[output.site] = other

    def use(self, operands: Sequence[Any]) -> None:
        self.uses.update(_names(operands))

    def added_once(self, site: Site) -> Weight | None:
        """The weight that is added to the site's output; None if others read either."""
        weight = self.added.get(site.name)
        if weight is None:
            return None
        counts = [self.uses[leaf.name] for leaf in weight.leaves]
        return weight if [*counts, self.uses[_Output(site.name)]] == [1, 1] else None


def _names(operands: Iterable[Any]) -> list[Any]:
    """What counts uses: outputs of sites, and the leaves of weights by name."""
    names: list[Any] = [operand for operand in operands if isinstance(operand, _Output)]
    for operand in operands:
        names += [leaf.name for leaf in operand.leaves] if isinstance(operand, Weight) else []
    return names
