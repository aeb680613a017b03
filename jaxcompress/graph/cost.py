"""What a model costs: counted from the program, and as XLA analyses what it compiled.

Nothing is timed here.
"""

import dataclasses
import math

import jax

from jaxcompress.core.kinds import check_kind
from jaxcompress.core.trees import check_call
from jaxcompress.core.types import Model, Params, PyTree
from jaxcompress.graph.origins import Leaf
from jaxcompress.graph.program import Program
from jaxcompress.graph.sites import Site


@dataclasses.dataclass(frozen=True)
class SiteCost:
    """One site in one call of the model.

    Attributes:
      name: the site's name.
      primitive: what kind of equation it is.
      repeats: executions per call.
      macs: multiply-adds, repeats included.
      weight_bytes: bytes of the whole leaf, or leaves, as plain arrays.
      activation_bytes: bytes of data read and output written, repeats included.
    """

    name: str
    primitive: str
    repeats: int
    macs: int
    weight_bytes: int
    activation_bytes: int


@dataclasses.dataclass(frozen=True)
class Cost:
    """What the sites of a program cost, and all of them together.

    Attributes:
      sites: one row per site, in program order.
      macs: multiply-adds of all sites.
      weight_bytes: bytes of all leaves that meet data, each counted once.
      activation_bytes: bytes of data read and output written at all sites.
    """

    sites: tuple[SiteCost, ...]
    macs: int
    weight_bytes: int
    activation_bytes: int


@dataclasses.dataclass(frozen=True)
class CompiledCost:
    """What XLA says of the program it compiled; None where the platform does not say.

    Attributes:
      flops: floating-point operations as XLA counts them; a loop's body counts once.
      bytes_accessed: bytes read and written by its operations, before any cache.
      argument_bytes: bytes of params and inputs.
      output_bytes: bytes of outputs.
      temporary_bytes: bytes of intermediate arrays alive at once.
      peak_bytes: arguments, outputs and temporaries together, less what they share.
    """

    flops: float | None
    bytes_accessed: float | None
    argument_bytes: int | None
    output_bytes: int | None
    temporary_bytes: int | None
    peak_bytes: int | None


def cost(program: Program) -> Cost:
    """Multiply-adds and bytes per site and in all, from shapes alone.

    Zeros of padding and of masks count; equations that are no site do not.

    Args:
      program: what `trace` gave.

    Returns:
      Cost.

    Example:
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> params = {"kernel": jnp.ones((3, 8))}
      >>> total = jc.graph.cost(jc.graph.trace(fn, params, jnp.ones((5, 3))))
      >>> total.macs, total.weight_bytes, total.activation_bytes
      (120, 96, 220)
    """
    check_kind("cost", "program", program, Program, "Make it with graph.trace.")
    rows = tuple(_site_cost(site) for site in program.sites)
    leaves = {leaf for site in program.sites for leaf in site.leaves}
    return Cost(
        sites=rows,
        macs=sum(row.macs for row in rows),
        weight_bytes=sum(_leaf_bytes(leaf) for leaf in leaves),
        activation_bytes=sum(row.activation_bytes for row in rows),
    )


def _leaf_bytes(leaf: Leaf) -> int:
    return math.prod(leaf.shape) * leaf.dtype.itemsize


def _site_cost(site: Site) -> SiteCost:
    data = math.prod(site.data_shape) * site.data_dtype.itemsize
    output = math.prod(site.output_shape) * site.dtype.itemsize
    return SiteCost(
        name=site.name,
        primitive=site.primitive,
        repeats=site.repeats,
        macs=site.macs,
        weight_bytes=sum(_leaf_bytes(leaf) for leaf in site.leaves),
        activation_bytes=(data + output) * site.repeats,
    )


def compiled(fn: Model, params: Params, *inputs: PyTree) -> CompiledCost:
    """XLA's own analysis of the model, compiled for the default device and not run.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: tree of arrays, shapes or compressed leaves, which count
        as they are stored.
      inputs: trees of arrays or shapes.

    Returns:
      CompiledCost.

    Example:
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> params, x = {"kernel": jnp.ones((3, 8))}, jnp.ones((5, 3))
      >>> jc.graph.compiled(fn, params, x).argument_bytes
      156
    """
    check_call("compiled", fn, params, inputs)
    program = jax.jit(lambda params, inputs: fn(params, *inputs)).lower(params, inputs).compile()
    counted = program.cost_analysis() or {}
    memory = program.memory_analysis()
    kinds = ("argument", "output", "temp", "alias")
    sizes = [getattr(memory, f"{kind}_size_in_bytes", None) for kind in kinds]
    return CompiledCost(
        flops=counted.get("flops"),
        bytes_accessed=counted.get("bytes accessed"),
        argument_bytes=sizes[0],
        output_bytes=sizes[1],
        temporary_bytes=sizes[2],
        peak_bytes=_peak(*sizes),
    )


def _peak(argument, output, temporary, shared) -> int | None:
    if None in (argument, output, temporary, shared):
        return None
    return argument + output + temporary - shared
