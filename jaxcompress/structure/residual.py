"""Residual blocks replaced by the identity, where a program writes them one by one.

A block is what an addition adds to a value that it was computed from: `x + f(x)`.
Layers that a scan runs through are the matter of `depth`.
"""

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import JaxprEqn, Literal

from jaxcompress.core.checks import check_count
from jaxcompress.core.types import Array, Loss, Model, Params
from jaxcompress.graph.jaxprs import aval_of
from jaxcompress.graph.primitives import PLAIN_CALLS
from jaxcompress.graph.sites import source_of
from jaxcompress.graph.surgery.axis_rules.rule import Body, Record
from jaxcompress.graph.surgery.removal import LeafCut, Removal, restored
from jaxcompress.graph.surgery.shrink import slice_params
from jaxcompress.graph.surgery.walk import Coupled, couple
from jaxcompress.graph.surgery.writer import Shrunk, around, emitted
from jaxcompress.structure.importance.batches import Batches, average, per_example
from jaxcompress.structure.remove import checked_difference
from jaxcompress.structure.widths import least_worth

BlockScores = dict[str, Array]
"""By block name one float32 number (), the higher the more the block is worth."""

BlockImportance = Callable[..., BlockScores]
"""(fn, params, *inputs) to scores."""


@dataclasses.dataclass(frozen=True)
class Block:
    """What an addition adds to a value that it was computed from.

    Fields:
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


class Bypassed(NamedTuple):
    """A model without some of its residual blocks.

    Fields:
      fn: the smaller model; it traces the original at every call, so jit it.
      params: of the same structure; leaves of blocks that went are empty along axis 0.
      removal: what went, for `graph.surgery.slice_params`.
      blocks: the names of the blocks that went.
      to_skipped: largest relative difference of the outputs on the batch to those of
        the model that passes the blocks by; rounding alone.
    """

    fn: Model
    params: Params
    removal: Removal
    blocks: tuple[str, ...]
    to_skipped: float


def blocks(fn: Model, params: Params, *inputs) -> tuple[Block, ...]:
    """The residual blocks that could be passed by.

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
      >>> [block.name for block in blocks(fn, params, jnp.ones((2, 3)))]
      ['first', 'second']
    """
    return _blocks(couple(fn, params, *inputs))


def bypassable(fn: Model) -> Callable:
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
      >>> gates = {"kernel": jnp.array(False)}
      >>> bypassable(fn)({"kernel": jnp.eye(2)}, jnp.ones((1, 2)), gates=gates)
      Array([[1., 1.]], dtype=float32)
    """

    def program(params, *inputs, gates: Mapping[str, Array]):
        coupled = couple(fn, params, *inputs)
        chosen = _named("bypassable(gates=...)", _blocks(coupled), gates)
        by_record = {block.record: (block.kept, gates[block.name]) for block in chosen}
        return emitted(_Gated(coupled.body, by_record), coupled, params, inputs)

    return program


def exact_blocks(loss: Loss, batches: Batches) -> BlockImportance:
    """How much the mean loss rises without a block, by passing each by in turn.

        score_n = L(model without block n) - L(model)

    Args:
      loss: (outputs, targets) to one number per example.
      batches: (inputs, targets) pairs, as for `exact`.

    Returns:
      BlockImportance; a score is negative where the model does better without the
      block.

    Raises:
      ValueError: when applied: there is no batch, or the loss is not one number per
        example.

    Source: Veit et al. 2016, arXiv:1605.06431, section 4.1, deletes single blocks.
    """

    def importance(fn: Model, params: Params, *inputs) -> BlockScores:
        program = bypassable(fn)
        names = [block.name for block in blocks(fn, params, *inputs)]

        def rise(params, inputs, targets):
            before = per_example("exact_blocks", loss, fn(params, *inputs), targets)

            def without(index):
                gates = {name: index != i for i, name in enumerate(names)}
                outputs = program(params, *inputs, gates=gates)
                return jnp.mean(per_example("exact_blocks", loss, outputs, targets) - before)

            rises = jax.lax.map(without, jnp.arange(len(names)))
            return dict(zip(names, rises, strict=True))

        return average("exact_blocks", rise, params, batches)

    return importance


def remove_blocks(
    fn: Model, params: Params, importance: BlockImportance, *inputs, count: int
) -> Bypassed:
    """The model without the residual blocks that are worth least.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: its params, not compressed; unchanged.
      importance: what blocks are worth.
      inputs: a batch of arrays.
      count: blocks that go, at least 0 and at most all.

    Returns:
      Bypassed.

    Raises:
      ValueError: the model has fewer blocks, or a score is missing or not finite.
      TypeError: a leaf of a block is compressed.
      ArithmeticError: the smaller program computes something else than the one that
        passes the blocks by.

    Example:
      >>> def fn(params, x):
      ...     x = x + x @ params["first"]
      ...     return x + x @ params["second"]
      >>> params = {"first": 3 * jnp.eye(2), "second": jnp.eye(2)}
      >>> size = lambda fn, params, x: {name: w.sum() for name, w in params.items()}
      >>> bypassed = remove_blocks(fn, params, size, jnp.ones((1, 2)), count=1)
      >>> bypassed.params["second"].shape, bypassed.blocks
      ((0, 2), ('second',))
      >>> bypassed.fn(bypassed.params, jnp.ones((1, 2)))
      Array([[4., 4.]], dtype=float32)
    """
    coupled = couple(fn, params, *inputs)
    known = _blocks(coupled)
    names = [block.name for block in known]
    count = check_count("remove_blocks", "count", count, least=0)
    if count > len(names):
        raise ValueError(
            f"remove_blocks(count={count}): the model has {len(names)} residual blocks"
            f"{': ' * bool(names)}{', '.join(names)}."
        )
    worth = _checked(importance(fn, params, *inputs), names)
    gone = [known[index] for index in least_worth(worth, count)]
    names = tuple(block.name for block in gone)
    removal = _emptied(coupled, gone)
    smaller, small = _without(fn, names, removal), slice_params(params, removal)
    gates = {block.name: block not in gone for block in known}
    skipped = jax.jit(lambda params, *inputs: bypassable(fn)(params, *inputs, gates=gates))
    outputs = jax.jit(smaller)(small, *inputs)
    to_skipped = checked_difference("remove_blocks", outputs, skipped(params, *inputs))
    return Bypassed(smaller, small, removal, names, to_skipped)


def _checked(scores: BlockScores, names: Sequence[str]) -> np.ndarray:
    missing = [name for name in names if name not in scores]
    if missing:
        raise ValueError(f"remove_blocks(importance=...) scores no block {missing[0]!r}.")
    worth = np.asarray([scores[name] for name in names], np.float32)
    for name, score in zip(names, worth, strict=True):
        if not np.isfinite(score):
            raise ValueError(f"remove_blocks(importance=...) scores block {name!r} as {score}.")
    return worth


def _without(fn: Model, names: Sequence[str], removal: Removal) -> Model:
    def without(params, *inputs):
        coupled = couple(fn, restored(params, removal), *inputs)
        gone = _named("remove_blocks", _blocks(coupled), names)
        return emitted(_Without(coupled.body, gone), coupled, params, inputs)

    return without


def _named(caller: str, known: Sequence[Block], names) -> list[Block]:
    by_name = {block.name: block for block in known}
    for name in names:
        if name not in by_name:
            raise ValueError(f"{caller}: no block is named {name!r}. Blocks: {', '.join(by_name)}.")
    return [by_name[name] for name in names]


class _Gated(Shrunk):
    """An addition hands on what it was given where its block's gate is 0."""

    def __init__(self, body: Body, gates: Mapping[Record, tuple[int, Array]]):
        super().__init__(body, {})
        self.gates = gates
        self.touched = set(around(body, gates))

    def write(self, record: Record, values: list):
        if record not in self.gates:
            return super().write(record, values)
        kept, gate = self.gates[record]
        (total,) = super().write(record, values)
        return [jnp.where(jnp.asarray(gate) > 0, total, values[kept])]


class _Without(Shrunk):
    """Blocks that went are not computed, nor what only they needed."""

    def __init__(self, body: Body, gone: Sequence[Block]):
        super().__init__(body, {})
        self.bypassed = {block.record: block.kept for block in gone}
        self.touched = set(around(body, self.bypassed))
        self.live = _Living(self.bypassed)
        self.live.operands(body, [True] * len(body.results))

    def write(self, record: Record, values: list):
        if record not in self.live.records:
            return [None] * len(record.eqn.outvars)
        if record in self.bypassed:
            return [values[self.bypassed[record]]]
        return super().write(record, values)


class _Living:
    """Which equations and operands results need, if some additions are bypassed."""

    def __init__(self, bypassed: Mapping[Record, int]):
        self.bypassed = bypassed
        self.records: set[Record] = set()

    def operands(self, body: Body, results: Sequence[bool]) -> list[bool]:
        """Which operands of a body are needed for the results that are."""
        inner = body.jaxpr.jaxpr
        needed = {id(atom) for atom, live in zip(inner.outvars, results, strict=True) if live}
        for record in reversed(body.records):
            live = [id(result) in needed for result in record.eqn.outvars]
            if any(live) or record.eqn.effects:
                self.records.add(record)
                reads = zip(record.eqn.invars, self._reads(record, live), strict=True)
                needed |= {id(atom) for atom, read in reads if read}
        return [id(operand) in needed for operand in inner.invars]

    def _reads(self, record: Record, live: Sequence[bool]) -> list[bool]:
        operands = range(len(record.eqn.invars))
        if record in self.bypassed:
            return [operand == self.bypassed[record] for operand in operands]
        if record.eqn.primitive.name in PLAIN_CALLS:
            return self.operands(record.bodies[0], live)
        return [True for _ in operands]


def _blocks(coupled: Coupled) -> tuple[Block, ...]:
    needed = _needed(coupled, {})
    found: list[Block] = []
    for record, kept in _additions(coupled.body):
        leaves = tuple(needed - _needed(coupled, {record: kept}))
        if leaves:
            leaves = tuple(name for name in coupled.leaves if name in leaves)
            found.append(Block(_path(leaves), leaves, source_of(record.eqn), record, kept))
    return _distinctly_named(found)


def _needed(coupled: Coupled, bypassed: Mapping[Record, int]) -> set[str]:
    """The leaves that the outputs depend on."""
    live = _Living(bypassed).operands(coupled.body, [True] * len(coupled.body.results))
    return {name for name, needed in zip(coupled.leaves, live, strict=False) if needed}


def _path(leaves: Sequence[str]) -> str:
    return os.path.commonpath(leaves) or leaves[0]


def _distinctly_named(found: Sequence[Block]) -> tuple[Block, ...]:
    """A path that several blocks share names none of them."""
    paths = [block.name for block in found]
    return tuple(
        block if paths.count(block.name) == 1 else dataclasses.replace(block, name=block.leaves[0])
        for block in found
    )


def _additions(body: Body) -> Iterator[tuple[Record, int]]:
    """Additions of a value and what was computed from it, and the value's operand."""
    origins: dict[int, int] = {}  # by variable, bits of all variables it comes from
    for bit, operand in enumerate((*body.jaxpr.jaxpr.constvars, *body.jaxpr.jaxpr.invars)):
        origins[id(operand)] = 1 << bit
    for record in body.records:
        eqn = record.eqn
        if eqn.primitive.name in PLAIN_CALLS:
            yield from _additions(record.bodies[0])
        kept = _skip(eqn, origins)
        if kept is not None:
            yield record, kept
        comes_from = 0
        for atom in eqn.invars:
            comes_from |= origins.get(id(atom), 0)
        for result in eqn.outvars:
            origins[id(result)] = comes_from | 1 << len(origins)


def _skip(eqn: JaxprEqn, origins: Mapping[int, int]) -> int | None:
    """Which operand of an addition the other was computed from."""
    if eqn.primitive.name not in ("add", "add_any"):
        return None
    if any(isinstance(atom, Literal) for atom in eqn.invars):
        return None
    total = aval_of(eqn.outvars[0])
    for kept, other in ((0, 1), (1, 0)):
        skip = aval_of(eqn.invars[kept])
        alike = skip.shape == total.shape and skip.dtype == total.dtype
        own, others = origins[id(eqn.invars[kept])], origins[id(eqn.invars[other])]
        # The bits of a value hold its own, which nothing before it has.
        if alike and own != others and own & others == own:
            return kept
    return None


def _emptied(coupled: Coupled, gone: Sequence[Block]) -> Removal:
    """Every leaf that nothing reads any more, cut to nothing along axis 0."""
    unread = _needed(coupled, {}) - _needed(coupled, {block.record: block.kept for block in gone})
    return Removal(
        tuple(
            LeafCut(name, 0, dims[0].size, tuple(range(dims[0].size)))
            for name, dims in coupled.leaves.items()
            if name in unread and dims
        )
    )
