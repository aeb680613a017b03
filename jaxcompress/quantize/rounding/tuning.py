"""How blocks of a model are tuned."""

from typing import NamedTuple

from jaxcompress.core.checks import check_count, check_positive, check_share
from jaxcompress.core.kinds import check_key
from jaxcompress.core.types import Key


class Tuning(NamedTuple):
    """How blocks are tuned; `block_tuning` gives one, and says what the fields are."""

    key: Key
    steps: int
    travel: float
    drop: float
    matrices: int


def block_tuning(
    key: Key, *, steps: int = 200, travel: float = 0.5, drop: float = 0.5, matrices: int = 1
) -> Tuning:
    """Says how `reconstruct_blocks` tunes the blocks of a model.

    Args:
      key: of which input numbers are dropped.
      steps: on one batch each, at least 1; the batches take turns.
      travel: how far offsets and factors of ranges get in all, above 0.
      drop: share of a block's input numbers that are those of the model as it was, in
        [0, 1]; at 0 none is.
      matrices: that a block has at least, but for the last one.

    Returns:
      Tuning.

    Raises:
      TypeError: `key` is no random key.
      ValueError: an option is outside its range.

    Example:
      >>> jc.quantize.rounding.block_tuning(jax.random.key(0), steps=100).steps
      100

    Source: Wei et al. 2022, arXiv:2203.05740, section 4.3, for `drop`.
    """
    check_key("block_tuning", "key", key)
    steps = check_count("block_tuning", "steps", steps)
    check_positive("block_tuning", "travel", travel)
    check_share("block_tuning", "drop", drop)
    matrices = check_count("block_tuning", "matrices", matrices)
    return Tuning(key, steps, float(travel), float(drop), matrices)
