"""Jaxprs by public means: inner programs, loops, and a few equations as a function.

The one place that knows how JAX releases differ in the programs they make.
"""

import math
from collections.abc import Callable, Container, Sequence
from typing import Any, NamedTuple

from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun

from jaxcompress.graph.primitives import CALLS


class Loop(NamedTuple):
    """How many operands of a scan are fixed, how many carried; the rest is sliced."""

    fixed: int
    carried: int


def closed(jaxpr: Any) -> ClosedJaxpr:
    """The jaxpr with its constants; some primitives hold open ones, which have none."""
    return jaxpr if hasattr(jaxpr, "consts") else ClosedJaxpr(jaxpr, ())


def inner_jaxprs(eqn: JaxprEqn) -> tuple[ClosedJaxpr, ...]:
    """The programs that a call, loop or branch runs; none for any other equation."""
    match eqn.primitive.name:
        case "scan":
            jaxprs = (eqn.params["jaxpr"],)
        case "while":
            jaxprs = (eqn.params["cond_jaxpr"], eqn.params["body_jaxpr"])
        case "cond":
            jaxprs = eqn.params["branches"]
        case "shard_map":
            jaxprs = (eqn.params["jaxpr"],)
        case name if name in CALLS:
            jaxprs = (eqn.params["jaxpr"] if "jaxpr" in eqn.params else eqn.params["call_jaxpr"],)
        case _:
            jaxprs = ()
    return tuple(closed(jaxpr) for jaxpr in jaxprs)


def scan_loop(eqn: JaxprEqn) -> Loop:
    """The kinds of operands, told by rank: in the body, a slice has lost an axis."""
    body = closed(eqn.params["jaxpr"]).jaxpr
    sliced = sum(_loses_axis(*pair) for pair in zip(eqn.invars, body.invars, strict=True))
    carried = sum(not _loses_axis(*pair) for pair in zip(eqn.outvars, body.outvars, strict=True))
    return Loop(len(eqn.invars) - sliced - carried, carried)


def _loses_axis(outside, inside) -> bool:
    return len(aval_of(outside).shape) > len(aval_of(inside).shape)


class Manual(NamedTuple):
    """How a shard_map divides arrays among devices.

    Attributes:
      axes: names of the mesh axes that its body knows, in the mesh's order.
      devices: how many devices lie along them.
      checked: whether types in the body say over which of them a value differs.
    """

    axes: tuple[str, ...]
    devices: int
    checked: bool


def manual(eqn: JaxprEqn) -> Manual:
    """How a shard_map divides arrays; the parameter has had two names."""
    params, mesh = eqn.params, eqn.params["mesh"]
    known = params["newly_manual_axes" if "newly_manual_axes" in params else "manual_axes"]
    axes = tuple(name for name in mesh.axis_names if name in known)
    devices = math.prod(mesh.shape[name] for name in axes)
    return Manual(axes, devices, params["check_vma"])


def differing(atom: Any, within: Sequence[Manual]) -> tuple[str, ...]:
    """The mesh axes along which a value may differ from device to device."""
    return tuple(
        name
        for each in within
        for name in each.axes
        if not each.checked or name in _varying(aval_of(atom), each.axes)
    )


def _varying(aval, axes: Sequence[str]) -> Container[str]:
    """The mesh axes that the type names; all of them where JAX keeps it elsewhere."""
    kind = getattr(aval, "manual_axis_type", None)
    return getattr(aval, "vma", axes) if kind is None else kind.varying


def aval_of(atom: Any) -> Any:
    """Shape and dtype of an operand or result, which JAX does not declare."""
    return atom.aval


def as_function(
    eqns: Sequence[JaxprEqn], invars: Sequence[Var], outvars: Sequence[Var], debug_info: Any
) -> Callable[..., Any]:
    """The equations as one function, from values of `invars` to those of `outvars`."""
    effects = frozenset().union(*(eqn.effects for eqn in eqns))
    jaxpr = Jaxpr((), invars, outvars, eqns, effects, debug_info)
    return jaxpr_as_fun(ClosedJaxpr(jaxpr, ()))


def variables(atoms: Sequence[Any]) -> list[Var]:
    """The variables among operands, each once, in order."""
    return list(dict.fromkeys(atom for atom in atoms if not isinstance(atom, Literal)))
