"""The walk that follows every weight through a program to its sites.

One step per *occurrence* of an equation, since JAX shares inner programs between calls.
What the axes of activations have to do with one another is no part of it.
"""

import dataclasses
from collections.abc import Callable, Container
from functools import reduce
from typing import Any, NamedTuple

from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Var

from jaxcompress.graph.formulas import einsum_orders
from jaxcompress.graph.jaxprs import Manual, aval_of, inner_jaxprs, manual, scan_loop
from jaxcompress.graph.meetings import is_product, product_of, site_of, weight_operands
from jaxcompress.graph.origins import Leaf, Origin, Source, Weight, join, mixed, redivided, sliced
from jaxcompress.graph.products import product_name
from jaxcompress.graph.provenance import follow, what_became
from jaxcompress.graph.sites import Site
from jaxcompress.graph.traversal import forward


class Block(NamedTuple):
    """One occurrence of a jaxpr: its constants, and a step per equation."""

    jaxpr: Jaxpr
    consts: tuple[Any, ...]
    steps: "tuple[Step, ...]"


@dataclasses.dataclass(frozen=True)
class Step:
    """One occurrence of an equation.

    Attributes:
      eqn: the equation.
      depth: how many scans are around it.
      sites: every site of a weight in it by name, at any depth; the equation itself may
        be one, or one of each operand.
      products: every product in it, likewise.
      blocks: the programs it runs, in the order of `jaxprs.inner_jaxprs`.
    """

    eqn: JaxprEqn
    depth: int
    sites: dict[str, Site]
    products: dict[str, Site]
    blocks: tuple[Block, ...] = ()

    def holds(self, names: Container[str]) -> bool:
        """Whether one of the names is of a site or product in it."""
        return any(name in names for name in (*self.sites, *self.products))

    @property
    def places(self) -> dict[str, Site]:
        """All that a handler can be for: sites of weights, and products."""
        return {**self.sites, **self.products}

    @property
    def stacked(self) -> frozenset[str]:
        """Of a scan: the sites and products that have one state per slice of a leaf."""
        places = self.places.items()
        return frozenset(name for name, site in places if self.depth in site.sliced_by)


class Walked(NamedTuple):
    """A program whose weights were followed.

    Attributes:
      block: its steps.
      sites: the sites of its weights, in program order.
      products: its products, in program order.
      lost: by leaf name, what became of a leaf where it was followed no further.
    """

    block: Block
    sites: tuple[Site, ...]
    products: tuple[Site, ...]
    lost: dict[str, tuple[str, ...]]


def walk(jaxpr: ClosedJaxpr, origins: list[Origin]) -> Walked:
    """Follows the weights of a program whose operands come from `origins`.

    Where leaves meet parameters alone counts only for those that meet data nowhere: a
    norm or a regularizer of a weight is no layer.
    """
    walked = _walked(jaxpr, origins, frozenset())
    met = {leaf.name for site in walked.sites for leaf in site.leaves if not site.of_parameters}
    if any(site.leaf in met for site in walked.sites if site.of_parameters):
        return _walked(jaxpr, origins, frozenset(met))
    return walked


def _walked(jaxpr: ClosedJaxpr, origins: list[Origin], met: frozenset[str]) -> Walked:
    walker = _Walker(met)
    block, _ = walker.block(jaxpr, origins, ())
    lost = {name: tuple(reasons) for name, reasons in walker.lost.items()}
    return Walked(block, tuple(walker.sites), tuple(walker.products), lost)


class _Walker:
    """The forward pass: `sites` and `products` grow, `scans` are the lengths of scans.

    Of what is around an equation, `layers` are the depths of the scans that slice a
    leaf, `scopes` the names of calls and loops, `meshes` those of the shard_maps.

    Args:
      met: leaves whose meetings with parameters are no sites.
    """

    def __init__(self, met: frozenset[str]):
        self.met = met
        self.sites: list[Site] = []
        self.products: list[Site] = []
        self.layers: list[int] = []
        self.scopes: list[str] = []
        self.orders: dict[Var, tuple[int, ...]] = {}
        self.meshes: list[Manual] = []
        self.lost: dict[str, dict[str, None]] = {}

    def block(self, jaxpr: ClosedJaxpr, origins: list[Origin], scans: tuple[int, ...]):
        """One occurrence of a jaxpr, and where its results come from."""
        steps: list[Step] = []
        self.orders |= einsum_orders(jaxpr.jaxpr.eqns)

        def through(index: int, origins: list[Origin]) -> list[Origin]:
            step, results = self.step(jaxpr.jaxpr.eqns[index], origins, scans)
            steps.append(step)
            return results

        consts = [Source.CONSTANT] * len(jaxpr.consts)
        results = forward(jaxpr.jaxpr, consts, origins, through, lambda literal: Source.CONSTANT)
        return Block(jaxpr.jaxpr, tuple(jaxpr.consts), tuple(steps)), results

    def step(self, eqn: JaxprEqn, origins: list[Origin], scans: tuple[int, ...]):
        """One occurrence of an equation, and where its results come from."""
        sites, products = len(self.sites), len(self.products)
        bodies = inner_jaxprs(eqn)
        if bodies:
            # Inside, JAX counts scopes from the call on.
            self.scopes.append(str(eqn.source_info.name_stack))
            blocks, results = self.inside(eqn, bodies, origins, scans)
            self.scopes.pop()
        else:
            met = self.meet(eqn, origins, scans)
            if not met and is_product(eqn, origins):
                self.multiply(eqn, origins, scans)
            blocks, results = (), follow(eqn, origins)
            self.lose(eqn, [origin for origin in origins if origin not in met], results)
        found = ({site.name: site for site in self.sites[sites:]},)
        found += ({site.name: site for site in self.products[products:]},)
        return Step(eqn, len(scans), *found, tuple(blocks)), results

    def meet(self, eqn: JaxprEqn, origins: list[Origin], scans: tuple[int, ...]) -> list[Weight]:
        """Records the sites that the equation is; gives the weights that meet there."""
        found = weight_operands(eqn, origins)
        for position, weight in found:
            leaf = weight.leaves[0].name
            earlier = sum(site.leaf == leaf for site in self.sites)
            name = f"{leaf}#{earlier + 1}" if earlier else leaf
            order = self.orders.get(eqn.outvars[0])
            other = origins[1 - position]
            site = site_of(name, eqn, position, weight, scans, other, tuple(self.meshes), order)
            if not (site.of_parameters and leaf in self.met):
                self.sites.append(site)
        return [weight for _, weight in found]

    def multiply(self, eqn: JaxprEqn, origins: list[Origin], scans: tuple[int, ...]) -> None:
        """Records the product that the equation is.

        It has no leaf that a scan could slice: one over layers is told by slicing
        others' leaves, so that each layer's attention is read apart.
        """
        scopes = [*self.scopes, str(eqn.source_info.name_stack)]
        name = product_name(eqn.primitive.name, scopes, [site.name for site in self.products])
        order = self.orders.get(eqn.outvars[0])
        site = product_of(name, eqn, scans, origins, tuple(self.meshes), order)
        self.products.append(dataclasses.replace(site, sliced_by=tuple(self.layers)))

    def lose(self, eqn: JaxprEqn, origins: list[Origin], results: list[Origin]) -> None:
        """Records what becomes of weights that are followed no further."""
        going_on = {leaf for result in results for leaf in _leaves(result)}
        for weight in origins:
            lost = [leaf for leaf in _leaves(weight) if leaf not in going_on]
            if lost and isinstance(weight, Weight):
                why = what_became(eqn, weight, origins, results)
                for leaf in lost:
                    self.lost.setdefault(leaf.name, {})[why] = None

    def inside(self, eqn: JaxprEqn, bodies: tuple[ClosedJaxpr, ...], origins, scans):
        """The blocks of a call, loop or branch, and where its results come from."""
        match eqn.primitive.name:
            case "scan":
                return self.scan(eqn, bodies[0], origins, scans)
            case "while":
                return self.loop(eqn, bodies, origins, scans)
            case "cond":
                return self.branches(bodies, origins[1:], scans)
            case "shard_map":
                return self.divided(eqn, bodies[0], origins, scans)
        block, results = self.block(bodies[0], origins, scans)
        return [block], results

    def scan(self, eqn: JaxprEqn, body: ClosedJaxpr, origins: list[Origin], scans):
        fixed, carried = scan_loop(eqn)
        within = (*scans, eqn.params["length"])
        slices = [sliced(origin, len(scans)) for origin in origins[fixed + carried :]]
        outer = self.layers
        if any(isinstance(origin, Weight) for origin in slices):
            self.layers = [*outer, len(scans)]
        block, results = self.settled(
            lambda carry: self.block(body, origins[:fixed] + carry + slices, within),
            origins[fixed : fixed + carried],
        )
        self.layers = outer
        stacks = [mixed([origin]) for origin in results[carried:]]
        return [block], results[:carried] + stacks

    def loop(self, eqn: JaxprEqn, bodies: tuple[ClosedJaxpr, ...], origins, scans):
        condition, body = bodies
        begin = eqn.params["cond_nconsts"]
        carry = begin + eqn.params["body_nconsts"]
        block, results = self.settled(
            lambda state: self.block(body, origins[begin:carry] + state, scans), origins[carry:]
        )
        test, _ = self.block(condition, origins[:begin] + results, scans)
        return [test, block], results

    def branches(self, branches: tuple[ClosedJaxpr, ...], origins: list[Origin], scans):
        walked = [self.block(branch, origins, scans) for branch in branches]
        blocks, results = zip(*walked, strict=True)
        return blocks, [reduce(join, each) for each in zip(*results, strict=True)]

    def divided(self, eqn: JaxprEqn, body: ClosedJaxpr, origins: list[Origin], scans):
        """The body of a shard_map, in which each value is one device's part of it."""
        pairs = zip(origins, body.jaxpr.invars, strict=True)
        local = [redivided(origin, aval_of(inside).shape) for origin, inside in pairs]
        self.meshes.append(manual(eqn))
        block, results = self.block(body, local, scans)
        self.meshes.pop()
        pairs = zip(results, eqn.outvars, strict=True)
        return [block], [redivided(origin, aval_of(outside).shape) for origin, outside in pairs]

    def settled(self, body: Callable[..., Any], carry: list[Origin]):
        """Walks a loop's body until where its carry comes from no longer changes."""
        sites, products = len(self.sites), len(self.products)
        while True:
            block, results = body(carry)
            ends = results[: len(carry)]
            joined = [join(*each) for each in zip(carry, ends, strict=True)]
            if joined == carry:
                return block, carry + results[len(carry) :]
            carry = joined
            del self.sites[sites:], self.products[products:]


def _leaves(origin: Origin) -> tuple[Leaf, ...]:
    return origin.leaves if isinstance(origin, Weight) else ()
