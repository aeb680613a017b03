"""Residual blocks replaced by the identity, where a program writes them one by one."""

from collections.abc import Sequence

import jax
import numpy as np

from jaxcompress.core.checks import check_concrete, check_count
from jaxcompress.core.kinds import check_function
from jaxcompress.core.observers import as_reading
from jaxcompress.core.trees import check_call
from jaxcompress.core.types import Model, Params, PyTree
from jaxcompress.graph.surgery.blocks import residual_blocks, with_block_gates
from jaxcompress.graph.surgery.check import checked_difference
from jaxcompress.graph.surgery.cutting import cut_params
from jaxcompress.graph.surgery.depth import without_blocks
from jaxcompress.structure.importance.depth import DepthImportance, DepthScores
from jaxcompress.structure.parts import DepthReport, parts
from jaxcompress.structure.smaller import SmallerModel


def remove_blocks(
    fn: Model, params: Params, importance: DepthImportance, *inputs: PyTree, count: int
) -> SmallerModel[DepthReport]:
    """Replaces the residual blocks with the lowest scores by the identity.

    Not for: budgets that a whole block misses; `remove` goes unit by unit.

    Also known as: block pruning, depth pruning, layer removal as in ShortGPT.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: its params, not compressed; unchanged.
      importance: what blocks are worth. A block that no data reached has no score; it
        stays, and the report says so.
      inputs: a batch of arrays.
      count: blocks to remove, at least 0 and at most all that have scores.

    Returns:
      SmallerModel; leaves of removed blocks are empty along axis 0.

    Raises:
      ValueError: the model has fewer blocks, or fewer with scores, or a score is
        missing or not finite.
      TypeError: a leaf of a block is compressed.
      ArithmeticError: the smaller program computes something else than the one that
        passes the blocks by.

    Example:
      >>> def fn(params, x):
      ...     x = x + x @ params["first"]
      ...     return x + x @ params["second"]
      >>> params = {"first": 3 * jnp.eye(2), "second": jnp.eye(2)}
      >>> size = lambda fn, params, x: {name: w.sum() for name, w in params.items()}
      >>> x = jnp.ones((1, 2))
      >>> smaller = jc.structure.remove_blocks(fn, params, size, x, count=1)
      >>> smaller.params["second"].shape, smaller.report.removed
      ((0, 2), ('second',))
      >>> smaller.fn(smaller.params, x)
      Array([[4., 4.]], dtype=float32)
    """
    check_call("remove_blocks", fn, params, inputs)
    check_function(
        "remove_blocks", "importance", importance, "For example importance.exact_blocks(...)."
    )
    check_concrete("remove_blocks", params=params, inputs=inputs)
    names = [block.name for block in residual_blocks(fn, params, *inputs)]
    count = check_count("remove_blocks", "count", count, least=0)
    if count > len(names):
        raise ValueError(
            f"remove_blocks(count={count}): the model has {len(names)} residual blocks"
            f"{': ' * bool(names)}{', '.join(names)}. A block is what an addition, outside of "
            "loops and branches, adds by leaves of its own to a value that it was computed from."
        )
    scores, reached = _read(importance(fn, params, *inputs), names)
    rows = parts("remove_blocks", names, scores, reached, count)
    gone = [part.name for part in rows if part.removed]
    smaller, removal = without_blocks(fn, params, gone, *inputs)
    small = cut_params("remove_blocks", params, removal)
    gates = {name: name not in gone for name in names}
    skipped = jax.jit(lambda params, *inputs: with_block_gates(fn)(params, *inputs, gates=gates))
    outputs = jax.jit(smaller)(small, *inputs)
    to_skipped = checked_difference("remove_blocks", outputs, skipped(params, *inputs))
    return SmallerModel(smaller, small, removal, DepthReport(rows, (), to_skipped))


def _read(scores: DepthScores, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The score of every block, and whether data reached it."""
    for name in names:
        if name not in scores:
            raise ValueError(f"remove_blocks(importance=...) scores no block {name!r}.")
    readings = [as_reading(scores[name]) for name in names]
    worth = np.asarray([float(each.value) for each in readings], np.float32)
    return worth, np.asarray([bool(each.count) for each in readings], bool)
