"""A model as a program: traced at given shapes, its weights followed to their sites.

What to do at a site is decided elsewhere (`rewrite`, `observe`).
"""

import dataclasses
from collections.abc import Mapping

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr

from jaxcompress.core.axes import UNUSED, Axes, LeafAxes
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.trees import check_call
from jaxcompress.core.types import Model, Params, PyTree
from jaxcompress.graph.layouts import Lookup
from jaxcompress.graph.origins import Leaf, Origin, Source, origin_of_leaf
from jaxcompress.graph.sites import Site
from jaxcompress.graph.steps import Block, walk

MOST_REASONS = 2
"""Reasons given for a leaf without a site; a leaf may be lost in many places."""


@dataclasses.dataclass(frozen=True)
class Program:
    """What a model computes for params and inputs of given shapes.

    Attributes:
      block: the steps; their operands are the leaves of the params, then those
        of the inputs.
      sites: every site of a weight, in program order.
      products: every product, in program order: a dot or convolution of data that no
        weight is followed to. Their names begin with "@"; see `products`.
      lost: by leaf name, what became of a leaf where it was followed no further: what a
        leaf without a site meets.
      leaves: the leaves of the params, in the tree's order.
      outputs: tree of `jax.ShapeDtypeStruct`, what the model returns.
    """

    block: Block
    sites: tuple[Site, ...]
    products: tuple[Site, ...]
    lost: Mapping[str, tuple[str, ...]]
    leaves: tuple[Leaf, ...]
    outputs: PyTree

    @property
    def places(self) -> dict[str, Site]:
        """Sites of weights and products by name."""
        return {site.name: site for site in (*self.sites, *self.products)}

    @property
    def jaxpr(self) -> ClosedJaxpr:
        return ClosedJaxpr(self.block.jaxpr, self.block.consts)


def trace(fn: Model, params: Params, *inputs: PyTree) -> Program:
    """The program of a model on params and inputs of these shapes.

    Nothing is computed. The program holds for these shapes only.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`; anything that `jax.jit` takes.
      params: tree of arrays, `jax.ShapeDtypeStruct`s or compressed leaves; the last are
        traced as the arrays they stand for.
      inputs: trees of the same.

    Returns:
      Program.

    Raises:
      ValueError: two leaves of the params have the same name.
      TypeError: a leaf of the params or inputs is no array.

    Example:
      >>> fn = lambda params, x: jax.nn.relu(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.ones((3, 8)), "out": jnp.ones((8, 2))}
      >>> program = jc.graph.trace(fn, params, jnp.ones((5, 3)))
      >>> [(site.name, site.macs) for site in program.sites]
      [('in', 120), ('out', 80)]
    """
    check_call("trace", fn, params, inputs)
    arrays, structure = jax.tree.flatten(_abstract((params, inputs)))

    def flat(*leaves):
        params, inputs = jax.tree.unflatten(structure, leaves)
        return fn(params, *inputs)

    jaxpr, outputs = jax.make_jaxpr(flat, return_shape=True)(*arrays)
    leaves = tuple(
        Leaf(name, aval.shape, aval.dtype)
        for name, aval in zip(named_leaves(params), jaxpr.in_avals, strict=False)
    )
    origins: list[Origin] = [origin_of_leaf(leaf) for leaf in leaves]
    origins += [Source.DATA] * (len(arrays) - len(leaves))
    return Program(*walk(jaxpr, origins), leaves, outputs)


def axes(fn: Model, params: Params, *inputs: PyTree) -> Axes:
    """What every axis of every leaf does in a model.

    A leaf with several sites has the roles of its first dot or convolution, else of its
    first gather: a table tied to the output projection is described by the projection.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: tree of arrays, shapes or compressed leaves.
      inputs: trees of arrays or shapes.

    Returns:
      Tree of the params' structure with one `LeafAxes` per leaf; one that equals
      `UNUSED` for a leaf that meets no data in a dot, convolution or gather. Its
      `left_out` says what the leaf meets instead.

    Example:
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> roles = jc.graph.axes(fn, {"kernel": jnp.ones((3, 8))}, jnp.ones((5, 3)))
      >>> roles["kernel"].contracting, roles["kernel"].output
      ((0,), (1,))
    """
    check_call("axes", fn, params, inputs)
    program = trace(fn, params, *inputs)
    found: dict[str, LeafAxes] = {}
    for site in sorted(program.sites, key=lambda site: isinstance(site.layout, Lookup)):
        for leaf in site.leaves:
            found.setdefault(leaf.name, _with_reason(site, leaf))
    return map_named(lambda name, _: found.get(name) or _unused(name, program), params)


def _with_reason(site: Site, leaf: Leaf) -> LeafAxes:
    """The roles of a leaf's axes; parts of complex numbers are left out like them."""
    halves = site.is_complex and not np.issubdtype(leaf.dtype, np.complexfloating)
    left_out = "parts of complex numbers" if halves else ""
    return dataclasses.replace(site.axes, left_out=left_out, grouped=site.grouped)


def _unused(name: str, program: Program) -> LeafAxes:
    reasons = program.lost.get(name, ("is read by no equation",))
    return dataclasses.replace(UNUSED, left_out="; ".join(reasons[:MOST_REASONS]))


def _abstract(tree: PyTree) -> PyTree:
    """The tree with a shape and dtype in place of each compressed leaf."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) if is_compressed(leaf) else leaf,
        tree,
        is_leaf=is_compressed,
    )
