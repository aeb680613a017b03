"""Which layers of a model K-FAC can treat: read from the program, never registered.

A layer is a leaf that meets data in one dot or convolution, with the bias that is added
to its output, if one is.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from jax.extend.core import JaxprEqn

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.kinds import check_kind
from jaxcompress.core.models import check_model
from jaxcompress.core.names import named_leaves
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Model, Params, PyTree
from jaxcompress.graph.layouts import Dot
from jaxcompress.graph.origins import Weight, origin_of_leaf
from jaxcompress.graph.program import Program, trace
from jaxcompress.graph.sites import Site
from jaxcompress.graph.value_axes import Part, ValueAxis
from jaxcompress.optimizers.kronecker.connections import Connections


@dataclasses.dataclass(frozen=True)
class KfacLayer:
    """A dense or convolutional layer whose Fisher matrix has two Kronecker factors.

    Attributes:
      kernel: the name of its weight.
      bias: the name of its bias; empty for a layer without one.
      axes: the roles of the kernel's axes; batch axes count layers of a scan or
        experts, each with factors of its own.
      shape: of the kernel.
      scans: how many of the batch axes, the first ones, are layers of a scan.
    """

    kernel: str
    bias: str
    axes: LeafAxes
    shape: tuple[int, ...]
    scans: int

    @property
    def batch(self) -> tuple[int, ...]:
        """Sizes of the batch axes."""
        return tuple(self.shape[axis] for axis in self.axes.batch)

    @property
    def inputs(self) -> int:
        """Side of the inputs' factor: what a unit sums over, and 1 for a bias."""
        return math.prod(self.shape[axis] for axis in self.axes.contracting) + bool(self.bias)

    @property
    def outputs(self) -> int:
        """Side of the outputs' factor: the number of units."""
        return math.prod(self.shape[axis] for axis in self.axes.output)

    @property
    def bias_shape(self) -> tuple[int, ...]:
        """Of the bias: layers of a scan, then units as the kernel has them."""
        units = tuple(self.shape[axis] for axis in self.axes.output)
        return (*self.batch[: self.scans], *units)


class KfacLayers(NamedTuple):
    """The layers of a model, and the weights that are none.

    Attributes:
      layers: in the order of the program.
      left_out: by name of the leaf, why it is no layer; they are treated like biases.
    """

    layers: tuple[KfacLayer, ...]
    left_out: Mapping[str, str]


class Place(NamedTuple):
    """A layer in a program: its site, and the equation that the site is."""

    layer: KfacLayer
    site: Site
    eqn: JaxprEqn


def kfac_layers(fn: Model, params: Params, *inputs: PyTree) -> KfacLayers:
    """The layers of a model that K-FAC can treat. Nothing is computed.

    A kernel must meet data once, in a dot or a convolution that is not grouped, as it
    is or moved and cast. Layers of a `jax.lax.scan` whose weights are stacked have
    factors each. Left out are weights that are tied or used again in each turn of a
    loop, masked or normalised weights, embeddings, and what is inside a branch, a while
    loop or a function with a derivative of its own.

    A bias belongs to a layer when it is added to the layer's output, the only use of
    both, one number per unit.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: tree of arrays or shapes.
      inputs: trees of arrays or shapes.

    Returns:
      KfacLayers.

    Example:
      >>> fn = lambda params, x: jnp.tanh(x @ params["kernel"] + params["bias"][None])
      >>> params = {"kernel": jnp.ones((3, 8)), "bias": jnp.ones(8)}
      >>> found = jc.optimizers.kfac_layers(fn, params, jnp.ones((5, 3)))
      >>> [(layer.kernel, layer.bias, layer.inputs) for layer in found.layers]
      [('kernel', 'bias', 4)]
    """
    check_model("kfac_layers", fn)
    check_arrays("kfac_layers", "params", params)
    check_arrays("kfac_layers", "inputs", inputs)
    program = trace(fn, params, *inputs)
    found = places(program)
    kernels = {place.layer.kernel for place in found}
    sites = {leaf.name: site for site in program.sites for leaf in site.leaves}
    left_out = {name: _reason(site, program) for name, site in sites.items() if name not in kernels}
    return KfacLayers(tuple(place.layer for place in found), left_out)


def check_layer(caller: str, argument: str, layer: object) -> None:
    """Raises a TypeError unless it is a `KfacLayer`."""
    check_kind(caller, argument, layer, KfacLayer, "Pass kfac_layers(fn, params, x).layers.")


def check_layers(layers: tuple[KfacLayer, ...], params: Params) -> None:
    """Raises a ValueError where a leaf of a layer is missing or has another shape."""
    named = named_leaves(params)
    for layer in layers if named else ():
        for name, shape in ((layer.kernel, layer.shape), (layer.bias, layer.bias_shape)):
            given = named[name].shape if name in named else None
            if name and given != shape:
                have = f"shape {given}" if name in named else "no such leaf"
                raise ValueError(
                    f"scale_by_kfac(layers=...): the layer of {layer.kernel!r} wants leaf {name!r} "
                    f"of shape {shape}, but the params have {have}. Take the layers from "
                    "kfac_layers(model, params, ...) of these params, and drop those you mask."
                )


def places(program: Program) -> list[Place]:
    """The layers of a program with their sites, in its order."""
    walk = Connections()
    leaves = [origin_of_leaf(leaf) for leaf in program.leaves]
    inputs = [None] * (len(program.block.jaxpr.invars) - len(leaves))
    walk.use(walk.block(program.block, [*leaves, *inputs]))
    found = []
    for site, eqn, weight in walk.sites:
        if not _shared(site, program) and _separable(site, eqn) and _whole(site, weight):
            layer = KfacLayer(site.leaf, "", site.axes, site.leaf_shape, len(site.stack))
            bias = _bias(layer, output_axes(site, eqn), walk.added_once(site))
            found.append(Place(dataclasses.replace(layer, bias=bias), site, eqn))
    return found


def output_axes(site: Site, eqn: JaxprEqn) -> tuple[int, ...]:
    """Where the units are among the axes of the equation's output, in their order."""
    if not isinstance(site.layout, Dot):
        return (eqn.params["dimension_numbers"].out_spec[1],)
    order = site.layout.permutation
    first = len(order) - len(site.operand_axes.output)
    return tuple(order.index(position) for position in range(first, len(order)))


def _shared(site: Site, program: Program) -> bool:
    """Whether other data meet the weight: at another site, or in a loop's turns."""
    sites = [other for other in program.sites if {*site.leaves} & {*other.leaves}]
    return len(sites) > 1 or len(site.leaves) > 1 or len(site.sliced_by) < len(site.scans)


def _separable(site: Site, eqn: JaxprEqn) -> bool:
    if not site.observable or site.of_parameters:
        return False
    groups = ("feature_group_count", "batch_group_count")
    return all(eqn.params.get(group, 1) == 1 for group in groups)


def _whole(site: Site, weight: Weight) -> bool:
    """Whether the operand holds the leaf's axes unbroken, in their order by role."""
    stacked = range(len(site.sliced_by))
    batch = [axis for axis in site.axes.batch if axis not in stacked]
    return site.axes.batch[: len(stacked)] == tuple(stacked) and all(
        _parts(weight.axes[axis] for axis in operand)
        == [Part(axis, site.leaf_shape[axis]) for axis in leaf if site.leaf_shape[axis] != 1]
        for operand, leaf in (
            (site.operand_axes.batch, batch),
            (site.operand_axes.contracting, site.axes.contracting),
            (site.operand_axes.output, site.axes.output),
        )
    )


def _bias(layer: KfacLayer, units: tuple[int, ...], added: Weight | None) -> str:
    """The name of what is added to the units, if it is one number each; else empty."""
    if added is None or len(layer.batch) > layer.scans:
        return ""
    (leaf,) = added.leaves
    axis_at = dict(zip(units, range(layer.scans, len(leaf.shape)), strict=False))
    expected = [
        [Part(axis_at[i], leaf.shape[axis_at[i]])] if i in axis_at else []
        for i in range(len(added.axes))
    ]
    aligned = all(
        [part for part in _parts([axis]) if part.axis is not None or i in axis_at]
        == [part for part in parts if part.size != 1]
        for i, (axis, parts) in enumerate(zip(added.axes, expected, strict=True))
    )
    return leaf.name if aligned and leaf.shape == layer.bias_shape else ""


def _parts(axes: Iterable[ValueAxis]) -> list[Part]:
    return [part for axis in axes for part in axis if part.size != 1]


def _reason(site: Site, program: Program) -> str:
    if not site.observable:
        return f"a {site.primitive}, whose data are no rows of one matrix"
    if site.of_parameters:
        return "meets other parameters, and no data"
    if _shared(site, program):
        return "other data meet the same weight, at another site or in each turn of a loop"
    if site.primitive == "conv_general_dilated":
        return "a grouped convolution, or not the kernel as it is, or inside a branch or the like"
    return "not the kernel as it is, or inside a branch, a while loop or a custom derivative"
