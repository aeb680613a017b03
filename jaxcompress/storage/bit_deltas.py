"""A tree as one bit of difference for each weight of another file's."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxcompress.core.selectors import weights
from jaxcompress.core.types import PyTree, Selector
from jaxcompress.storage.container.parts import of_codes
from jaxcompress.storage.container.references import Signs
from jaxcompress.storage.container.safetensors import NO_TEXT
from jaxcompress.storage.deltas import DeltaSize
from jaxcompress.storage.near_deltas import Candidate, Given, Near, Nearest, norm, write_near


@dataclasses.dataclass(frozen=True)
class BitDeltaSize(DeltaSize):
    """What `save_bit_delta` wrote.

    Attributes:
      errors: of each leaf stored by one bit, the norm of what is lost over the norm of
        its difference to the base: 0 if all its steps are equally long, 0.60 if they
        are normal, 1 where nothing is kept. What rounding to the dtype of the leaf
        loses is counted too: of steps below its precision that may be all, or more.
    """

    errors: dict[str, float]


def save_bit_delta(
    path: str | os.PathLike[Any],
    tree: PyTree,
    *,
    base: str | os.PathLike[Any],
    select: Selector = weights(),
    metadata: Mapping[str, str] = NO_TEXT,
) -> BitDeltaSize:
    """Writes a tree as another file's and one bit of difference for each weight.

    Not for: weights that must come back exactly; take `save_delta`.

        x' = x_base + a · sign(x - x_base),   a = mean |x - x_base| of the leaf

    An approximation, for fine-tuned models: `load_delta` gives x' where x was. Of all
    scales a loses least in squares; the sign of 0 is 1. Leaves that are not selected,
    are no floats of up to 32 bits of the base's shape and dtype, or are no larger as
    they are, are stored exactly, as `save_delta` stores them.

    Also known as: BitDelta, one-bit delta.

    Args:
      path: where, as in `save`.
      tree: as `save` takes it.
      base: the file of the base, or its index.
      select: which leaves are approximated.
      metadata: texts to keep beside the leaves.

    Returns:
      BitDeltaSize, with the error of each leaf.

    Raises:
      TypeError, ValueError, OSError, FileError: as `save_delta` does.

    Example:
      >>> import tempfile
      >>> base = {"kernel": jnp.zeros((64, 64))}
      >>> tuned = {"kernel": jnp.where(jnp.eye(64) > 0, 0.5, -0.5)}
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     paths = f"{folder}/base.safetensors", f"{folder}/tuned.safetensors"
      ...     size_bytes = jc.storage.save(paths[0], base)
      ...     found = jc.storage.save_bit_delta(paths[1], tuned, base=paths[0])
      ...     again = jc.storage.load_delta(paths[1], base=paths[0])
      >>> found.errors, bool((again["kernel"] == tuned["kernel"]).all())
      ({'kernel': 0.0}, True)

    Source: Liu et al. 2024, "BitDelta: Your Fine-Tune May Only Be Worth One Bit",
    arXiv:2402.10193, section 3.1. Differs: scales are not distilled afterwards, and a
    stack of matrices in one leaf shares one.
    """
    given = Given(base, select, metadata)
    size, errors = write_near("save_bit_delta", path, tree, given, _nearest)
    return BitDeltaSize(**dataclasses.asdict(size), errors=errors)


def _nearest(candidates: Mapping[str, Candidate]) -> Nearest:
    return lambda name: _signs(candidates[name])


def _signs(candidate: Candidate) -> Near | None:
    """The leaf by one bit for each number; None where all or nothing is lost."""
    x, steps = candidate.x, candidate.steps()
    whole = norm(steps)
    if not np.isfinite(whole) or not whole:
        return None
    scale = np.asarray(np.mean(np.abs(steps), dtype=np.float64), np.float32)
    # In few bits of fraction a sum may be rounded away, so the error is measured.
    near = Signs(x.dtype, x.shape, steps < 0, scale).applied(candidate.base)
    with np.errstate(over="ignore", invalid="ignore"):
        lost = x.astype(np.float32) - near.astype(np.float32)
    negative = of_codes(x.shape, 1, lambda: (candidate.steps() < 0).view(np.uint8))
    return Near(Signs(x.dtype, x.shape, negative, scale), norm(lost) / whole)
