"""Turns: the order of a program's matrices, and which leaves are matrices."""

import dataclasses
import math
from collections.abc import Iterable, Iterator

import jax
from jax.extend.core import JaxprEqn

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.left_out import Obstacle
from jaxcompress.core.names import map_named
from jaxcompress.core.selectors import inexact
from jaxcompress.core.types import Params, Selector
from jaxcompress.graph.program import Program
from jaxcompress.graph.sites import Site
from jaxcompress.graph.steps import Block, Step

Sites = dict[str, list[Site]]
"""The sites of each leaf, by its name."""
LEAVE_IT_OUT = "Leave it out, with Target(select=...) where you prune"

Turn = tuple[str, tuple[int, ...]]
"""A leaf's name and the index of one of its layers along the stack of its sites."""


def multiplied(program: Program) -> Selector:
    """Selects leaves that meet data in dots and convolutions alone, as real numbers."""
    left_out = {
        leaf.name
        for site in program.sites
        if site.is_complex or not site.observable
        for leaf in site.leaves
    }

    def select(params: Params):
        met = {leaf.name for site in program.sites for leaf in site.leaves} - left_out
        return map_named(lambda name, chosen: chosen and name in met, inexact()(params))

    return select


def sites_of(caller: str, program: Program, names: Iterable[str]) -> Sites:
    """The sites of leaves that multiply vectors, and all of them in one way.

    Raises:
      ValueError: a leaf has no site, one that is no dot or convolution, or is one in
        groups, or sites that differ, read a part of it, another weight made of it or
        its entries in another order; named by `caller`.
    """
    found = {}
    for name in names:
        obstacle = no_matrix(program, name)
        if obstacle is not None:
            raise ValueError(
                f"{caller}: leaf {name!r} cannot be solved: {obstacle.reason}. {obstacle.mend}"
            )
        found[name] = _sites(program, name)
    return found


def no_matrix(program: Program, name: str) -> Obstacle | None:
    """Why a leaf does not multiply vectors, in one way wherever it is met; or None."""
    sites = _sites(program, name)
    if any(site.grouped for site in sites):
        return Obstacle(
            "it meets data in a grouped convolution, whose outputs meet different inputs",
            f"{LEAVE_IT_OUT}, or prune it with one_shot and wanda.",
        )
    wanted = {_wanted_shape(name, site) for site in sites}
    alike = {(reading_axes(site), site.stack) for site in sites}
    if len(alike) != 1 or {_met_shape(site) for site in sites} != wanted:
        met = ", ".join(dict.fromkeys(site.primitive for site in sites)) or "no data"
        return Obstacle(
            f"it meets {met}, and has to meet data in dots or convolutions that read all of it "
            "alike",
            f"{LEAVE_IT_OUT}, or prune it with one_shot and wanda.",
        )
    if not all(site.as_stored for site in sites):
        return Obstacle(
            "it meets data as what arithmetic makes of it, not as it is stored",
            f"Store the product. {LEAVE_IT_OUT}, or prune it with one_shot.",
        )
    if not all(site.in_order for site in sites):
        return Obstacle(
            "it meets data with entries of an axis in another order, as after a flip or a roll",
            f"Store it in that order. {LEAVE_IT_OUT}, or prune it with one_shot.",
        )
    return None


def _sites(program: Program, name: str) -> list[Site]:
    return [site for site in program.sites if name in [leaf.name for leaf in site.leaves]]


def turns(block: Block, sites: Sites, scans: tuple[int, ...] = ()) -> Iterator[Turn]:
    """The matrices in the order of the program, those of a stack layer by layer.

    A leaf with several sites comes again at each.

    Args:
      block: of the program.
      sites: of the leaves.
      scans: which layer each scan around the block is at.
    """
    for step in block.steps:
        yield from turns_of(step, sites, scans)


def turns_of(step: Step, sites: Sites, scans: tuple[int, ...]) -> Iterator[Turn]:
    """The matrices that meet data in one equation, or in what it runs."""
    around = step.eqn.primitive.name == "scan"
    for layer in order_of_layers(step.eqn) if around and step.stacked else (0,):
        for inner in step.blocks:
            yield from turns(inner, sites, (*scans, layer) if around else scans)
    for site in step.sites.values() if not step.blocks else ():
        index = tuple(scans[depth] for depth in site.sliced_by)
        yield from ((leaf.name, index) for leaf in site.leaves if leaf.name in sites)


def order_of_layers(scan: JaxprEqn) -> range:
    """The order in which a scan visits its layers."""
    layers = range(scan.params["length"])
    return layers[::-1] if scan.params["reverse"] else layers


def reading_axes(site: Site) -> LeafAxes:
    """The roles of the leaf's axes, its batch axes in the order that readings have.

    Those that scans slice come first, wherever they lie in the leaf.
    """
    left = {part.axis for parts in site.operand_parts for part in parts}
    batch = sorted(site.axes.batch, key=lambda axis: (axis in left, axis))
    return dataclasses.replace(site.axes, batch=tuple(batch))


def _wanted_shape(name: str, site: Site) -> tuple[int, ...]:
    """(batch…, inputs) of the leaf."""
    (shape,) = [leaf.shape for leaf in site.leaves if leaf.name == name]
    axes = reading_axes(site)
    inputs = math.prod(shape[axis] for axis in axes.contracting)
    return (*(shape[axis] for axis in axes.batch), inputs)


def _met_shape(site: Site) -> tuple[int, ...]:
    """(batch…, inputs) of the data, with layers of scans; empty if data are indices."""
    if not site.observable:
        return ()
    data = jax.ShapeDtypeStruct(site.data_shape, site.data_dtype)
    *batch, _, inputs = jax.eval_shape(site.windows, data).shape
    return (*site.stack, *batch, inputs)
