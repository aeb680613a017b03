"""Residual blocks: found, gated, and removed from a program.

A block is what an addition adds to a value that it was computed from: `x + f(x)`. Its
removal replaces it by the identity. Layers that a scan runs through are the matter of
`stacks`.
"""

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
from jax.extend.core import JaxprEqn, Literal

from jaxcompress.core.models import check_model
from jaxcompress.core.trees import check_call
from jaxcompress.core.types import Array, Model, Params, PyTree
from jaxcompress.graph.jaxprs import aval_of
from jaxcompress.graph.primitives import PLAIN_CALLS
from jaxcompress.graph.sites import source_of
from jaxcompress.graph.surgery.arrays import WHOLE
from jaxcompress.graph.surgery.axis_rules.rule import Body, Record
from jaxcompress.graph.surgery.liveness import needs
from jaxcompress.graph.surgery.removal import LeafCut
from jaxcompress.graph.surgery.resolving import Smaller
from jaxcompress.graph.surgery.walk import Coupled, couple
from jaxcompress.graph.surgery.writer import Edit, Writer, absent, written
from jaxcompress.graph.traversal import forward


@dataclasses.dataclass(frozen=True)
class ResidualBlock:
    """What an addition adds to a value that it was computed from.

    Attributes:
      name: the path that its own leaves have in common, or the first of them.
      leaves: those that nothing else reads.
      source: where the addition is written.
    """

    name: str
    leaves: tuple[str, ...]
    source: str
    record: Record = dataclasses.field(repr=False, compare=False)
    kept: int = dataclasses.field(repr=False, compare=False)
    """Which operand of the addition stays without the block."""


def residual_blocks(fn: Model, params: Params, *inputs: PyTree) -> tuple[ResidualBlock, ...]:
    """The residual blocks that can be replaced by the identity.

    Both operands of the addition have the shape of the sum, one is computed from the
    other, and some leaves are read on that way alone. A block with a projection beside
    it is none: without it, nothing of the right shape is left. Looks into calls, not
    into loops and branches.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: tree of arrays or shapes.
      inputs: trees of arrays or shapes.

    Returns:
      Blocks, in program order.

    Example:
      >>> def fn(params, x):
      ...     for layer in ("first", "second"):
      ...         w = params[layer]
      ...         x = x + jnp.tanh(x @ w["kernel"] + w["bias"][None])
      ...     return x
      >>> layer = {"kernel": jnp.eye(3), "bias": jnp.zeros(3)}
      >>> params = {"first": layer, "second": layer}
      >>> blocks = jc.graph.surgery.residual_blocks(fn, params, jnp.ones((2, 3)))
      >>> [block.name for block in blocks]
      ['first', 'second']
    """
    check_call("residual_blocks", fn, params, inputs)
    return _blocks(couple(fn, params, *inputs))


def with_block_gates(fn: Model) -> Callable[..., Any]:
    """The model with a gate on every residual block: 1 runs it, 0 passes it by.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.

    Returns:
      `program(params, *inputs, gates) -> outputs`; gates by block name: () of a number
      or bool, above 0 for a block that runs.

    Raises:
      ValueError: when called, a gate is of no block.

    Example:
      >>> fn = lambda params, x: x + x @ params["kernel"]
      >>> gated = jc.graph.surgery.with_block_gates(fn)
      >>> params, gates = {"kernel": jnp.eye(2)}, {"kernel": jnp.array(False)}
      >>> gated(params, jnp.ones((1, 2)), gates=gates)
      Array([[1., 1.]], dtype=float32)
    """
    check_model("with_block_gates", fn)

    def program(params, *inputs, gates: Mapping[str, Array]):
        coupled = couple(fn, params, *inputs)
        chosen = _named("with_block_gates(gates=...)", _blocks(coupled), gates)
        edits = {block.record: partial(_gated, block.kept, gates[block.name]) for block in chosen}
        return written(Writer(coupled.body, WHOLE, edits), coupled, params, inputs)

    return program


def bypassed(caller: str, coupled: Coupled, names: Sequence[str]) -> Smaller:
    """The program with the identity in place of some blocks.

    Its leaves that nothing reads any more are empty along axis 0.

    Raises:
      ValueError: no block has such a name.
    """
    gone = _named(caller, _blocks(coupled), names)
    left = needs(coupled, _kept(gone))
    unread = needs(coupled, {}).leaves - left.leaves
    edits: dict[Record, Edit] = dict.fromkeys(left.idle, absent)
    edits |= {block.record: partial(_identity, block.kept) for block in gone}
    cuts = [
        LeafCut(name, 0, dims[0].size, tuple(range(dims[0].size)))
        for name, dims in coupled.leaves.items()
        if name in unread and dims
    ]
    return Smaller(tuple(cuts), WHOLE, edits)


def _gated(
    kept: int, gate: Array, writer: Writer, record: Record, values: list[Any]
) -> Sequence[Any]:
    """An edit: the sum where the gate is open, else what the block was added to."""
    (total,) = writer.unedited(record, values)
    gate = jnp.asarray(gate)
    return [jnp.where(gate > jnp.zeros_like(gate), total, values[kept])]


def _identity(kept: int, writer: Writer, record: Record, values: list[Any]) -> Sequence[Any]:
    """An edit: what the block was added to."""
    del writer, record
    return [values[kept]]


def _kept(blocks: Iterable[ResidualBlock]) -> dict[Record, int]:
    return {block.record: block.kept for block in blocks}


def _named(caller: str, known: Sequence[ResidualBlock], names) -> list[ResidualBlock]:
    by_name = {block.name: block for block in known}
    for name in names:
        if name not in by_name:
            raise ValueError(f"{caller}: no block is named {name!r}. Blocks: {', '.join(by_name)}.")
    return [by_name[name] for name in names]


def _blocks(coupled: Coupled) -> tuple[ResidualBlock, ...]:
    """Additions without which some leaves are read no more."""
    additions: list[tuple[Record, int]] = []
    _find_additions(coupled.body, additions)
    whole = needs(coupled, {}).leaves
    found = []
    for record, kept in additions:
        own = whole - needs(coupled, {record: kept}).leaves
        leaves = tuple(name for name in coupled.leaves if name in own)
        if leaves:
            name = os.path.commonpath(leaves) or leaves[0]
            found.append(ResidualBlock(name, leaves, source_of(record.eqn), record, kept))
    names = [block.name for block in found]
    # A path that several blocks share names none of them.
    return tuple(
        block if names.count(block.name) == 1 else dataclasses.replace(block, name=block.leaves[0])
        for block in found
    )


def _find_additions(body: Body, found: list[tuple[Record, int]]) -> None:
    """Adds every addition of a value and what was computed from it, with the operand.

    Each variable has a number of its own, and the fact of a value is a bit set in one
    integer: the bits of all variables that it was computed from, its own included. So
    `b` was computed from `a` where all bits of `a` are among those of `b`: the bit that
    only `a` and its successors have is one of them. Bits of an integer make a long
    program's sets cheap to join.
    """
    inner = body.jaxpr.jaxpr
    count = len(inner.constvars) + len(inner.invars)
    bits = [1 << number for number in range(count)]

    def through(index: int, origins: list[int]) -> list[int]:
        nonlocal count
        record = body.records[index]
        if record.eqn.primitive.name in PLAIN_CALLS:
            _find_additions(record.bodies[0], found)
        kept = _skipped_to(record.eqn, origins)
        if kept is not None:
            found.append((record, kept))
        together = 0
        for origin in origins:
            together |= origin
        own = range(count, count + len(record.eqn.outvars))
        count = own.stop
        return [together | 1 << number for number in own]

    consts, operands = bits[: len(inner.constvars)], bits[len(inner.constvars) :]
    forward(inner, consts, operands, through, lambda literal: 0)


def _skipped_to(eqn: JaxprEqn, origins: Sequence[int]) -> int | None:
    """Which operand of an addition the other was computed from."""
    if eqn.primitive.name not in ("add", "add_any"):
        return None
    if any(isinstance(atom, Literal) for atom in eqn.invars):
        return None
    total = aval_of(eqn.outvars[0])
    for kept, other in ((0, 1), (1, 0)):
        skip = aval_of(eqn.invars[kept])
        alike = skip.shape == total.shape and skip.dtype == total.dtype
        computed_from = origins[kept] & origins[other] == origins[kept]
        if alike and computed_from and origins[kept] != origins[other]:
            return kept
    return None
