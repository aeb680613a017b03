"""Patterns of equal shares in short runs of the inputs of an output, such as 2:4.

A run lies along the contracting axes, flattened in the leaf's order, of one output.
"""

from collections.abc import Callable

import jax.numpy as jnp

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.checks import check_count
from jaxcompress.core.left_out import Obstacle, UnfitLeafError
from jaxcompress.core.numerics import round_to_count
from jaxcompress.core.types import Array
from jaxcompress.prune.patterns.matrices import on_inputs, on_matrices
from jaxcompress.prune.patterns.pattern import Pattern, check_pattern
from jaxcompress.prune.ranking import lowest


def within_groups(size: int) -> Pattern:
    """Drops the same share of every run of `size` inputs of an output.

    Not for: an exact N:M as kernels read it, for which `n_of_m` has a final count.

    From each run exactly `round_half_even(sparsity · size)` weights go; among equal
    scores the earlier goes first, a NaN before everything. With a schedule the mask
    moves in steps of 1 / size.

    Also known as: N:M or semi-structured sparsity, balanced sparsity.

    Args:
      size: weights in a run, at least 2; divides the inputs of every leaf.

    Returns:
      Pattern; see `padded` for inputs that `size` does not divide.

    Raises:
      ValueError: `size` is below 2; when applied: it does not divide the inputs, a
        sparsity is outside [0, 1], or the axes of a leaf of rank 3 and more are
        only assumed.

    Example:
      >>> dot = jc.LeafAxes(contracting=(0,), output=())
      >>> jc.prune.patterns.within_groups(2)(jnp.array([0.1, 0.2, 0.9, 0.3]), 0.5, dot)
      Array([False,  True,  True, False], dtype=bool)

    Source: Mishra et al. 2021, arXiv:2104.08378, section 3, of which 2:4 is the case of
    size 4 at sparsity 0.5. Differs: ties by index.
    """
    size = check_count("within_groups", "size", size, least=2)
    return _in_runs(f"within_groups({size})", size, lambda sparsity: round_to_count(sparsity, size))


def n_of_m(n: int, m: int) -> Pattern:
    """Keeps no fewer than `n` of every `m` inputs of an output, in the end exactly `n`.

    Not for: speed where nothing reads the layout; `structure.remove` makes arrays
    smaller.

        dropped of each run = min(round_half_even(sparsity · m), m - n)

    So every sparsity from 1 - n/m on gives N:M, and a schedule comes to it in steps of
    1/m. 2:4 at sparsity 0.5 is the layout that sparse tensor cores read.

    Also known as: N:M sparsity, 2:4 semi-structured sparsity.

    Args:
      n: weights that stay, from 1 to m.
      m: weights in a run, at least 2; divides the inputs of every leaf.

    Returns:
      Pattern; see `padded` for inputs that `m` does not divide.

    Raises:
      ValueError: `n` is outside [1, m] or `m` below 2; when applied: as
        for `within_groups`.

    Example:
      >>> dot = jc.LeafAxes(contracting=(0,), output=())
      >>> jc.prune.patterns.n_of_m(2, 4)(jnp.array([0.1, 0.9, 0.5, 0.3]), 0.9, dot)
      Array([False,  True,  True, False], dtype=bool)

    Source: Zhou et al. 2021, arXiv:2102.04010, section 3. Differs: ties by index; the
    way to N:M is open to a schedule.
    """
    n = check_count("n_of_m", "n", n)
    m = check_count("n_of_m", "m", m, least=2)
    if n > m:
        raise ValueError(f"n_of_m(n={n}, m={m}) must satisfy 1 <= n <= m and m >= 2.")
    return _in_runs(
        f"n_of_m({n}, {m})",
        m,
        lambda sparsity: jnp.minimum(round_to_count(sparsity, m), m - n),
    )


def padded(pattern: Pattern, multiple: int) -> Pattern:
    """Applies a pattern to inputs padded to the next multiple of a size.

    The filling stands after the last input of each output and counts as the first to
    go, as zeros do that a kernel appends: the last run gives up fewer real weights.

    Args:
      pattern: whose groups need inputs of a certain multiple.
      multiple: of which the filled inputs are one, at least 1.

    Returns:
      Pattern.

    Raises:
      ValueError: `multiple` is below 1; when applied: the axes of a leaf of rank 3
        and more are only assumed, or what `pattern` raises.

    Example:
      >>> dot = jc.LeafAxes(contracting=(0,), output=())
      >>> pattern = jc.prune.patterns.padded(jc.prune.patterns.n_of_m(2, 4), 4)
      >>> pattern(jnp.array([0.1, 0.9, 0.5, 0.3, 0.2, 0.1, 0.7]), 0.5, dot)
      Array([False,  True,  True, False,  True, False,  True], dtype=bool)
    """
    check_pattern("padded", pattern)
    multiple = check_count("padded", "multiple", multiple)

    def filled(matrices: Array, sparsity: Array | float) -> Array:
        *batch, inputs = range(matrices.ndim)
        length = matrices.shape[inputs]
        widths = [(0, 0)] * len(batch) + [(0, -length % multiple)]
        # Below all scores but NaN, which go first and no `debug_nans` would let pass.
        scores = jnp.maximum(matrices, jnp.finfo(matrices.dtype).min)
        scores = jnp.pad(scores, widths, constant_values=-jnp.inf)
        leaf_axes = LeafAxes((inputs,), (batch[-1],), tuple(batch[:-1]))
        return pattern(scores, sparsity, leaf_axes)[..., :length]

    return lambda scores, sparsity, leaf_axes: on_matrices(
        "padded", filled, scores, sparsity, leaf_axes
    )


def _in_runs(name: str, size: int, dropped: Callable[[Array | float], Array | int]) -> Pattern:
    """Drops as many of every run as `dropped` makes of the sparsity."""

    def of_inputs(scores: Array, sparsity: Array | float, axis: int) -> Array:
        inputs = scores.shape[axis]
        if inputs % size:
            raise UnfitLeafError(
                name,
                Obstacle(
                    f"{size} does not divide the {inputs} inputs of an output",
                    f"Leave it out, or take padded({name}, {size}).",
                ),
            )
        runs = scores.reshape(*scores.shape[:axis], -1, size, *scores.shape[axis + 1 :])
        count = dropped(sparsity)
        counts = jnp.expand_dims(count, axis) if jnp.ndim(count) else count
        return ~lowest(runs, counts, axis=(axis + 1,)).reshape(scores.shape)

    return lambda scores, sparsity, leaf_axes: on_inputs(
        name, of_inputs, scores, sparsity, leaf_axes
    )
