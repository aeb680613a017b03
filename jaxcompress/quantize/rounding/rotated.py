"""Roundings in rotated coordinates, in which outliers are spread over a block."""

import functools

import jax.numpy as jnp

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.checks import check_count
from jaxcompress.core.hadamard import drawn_signs, largest_block, rotated_back
from jaxcompress.core.hadamard import rotated as rotated_vectors
from jaxcompress.core.kinds import check_kind
from jaxcompress.core.leaf import CompressedLeaf
from jaxcompress.core.matrices import as_matrices, from_matrices, matrix_shape
from jaxcompress.core.rotated import Rotated
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.layerwise.solver import Solution, Solver
from jaxcompress.quantize.assignment import Assignment
from jaxcompress.quantize.rounding.nearest import nearest
from jaxcompress.quantize.rounding.rounding import Rounding


def rotated(inner: Rounding = nearest(), *, block: int = 128, seed: int = 0) -> Rounding:
    """Rounds weights after a randomized block Hadamard transform of their inputs.

    Not for: rotations that leaves beside it can absorb: `equivalent.rotate` folds them,
    and no data are rotated at run time.

        W · R is rounded on Rᵀ · H · R
        R = diag(signs) · blocks(Hadamard / sqrt(block))

    A rotation spreads outliers over their block, so that a grid fits all of it; how the
    layer's outputs are judged stays the same. Leaves are `Rotated`, which stand for the
    weight in its own coordinates: every program runs them and files hold them. Where
    `run` and `fake_quantize_activations` meet one in a dot, they rotate the data, and
    round rotated data.

    Nothing checks that it helps. Where weights have no outliers it may not: a row of
    levels, as one of equal weights is, gets errors that rounding to nearest has not,
    with data and without. `post_training` keeps it only where the model errs less.

    Weights that were pruned do not stay 0: the rotation mixes them with others.

    Also known as: MR-GPTQ (of `gptq`, for `mxfp4` and `nvfp4`), QuaRot's online
    rotations, incoherence processing (QuIP#).

    Args:
      inner: how rotated weights get codes: `gptq()`, or `low_rank(...)` of one, whose
        factors are then rotated too.
      block: inputs that are mixed. Of each matrix it is the largest power of two up to
        this that divides its inputs; 1 changes signs alone.
      seed: of the signs, 0 or above; the same on every machine and in every release.

    Returns:
      Rounding.

    Raises:
      TypeError: `inner` is no Rounding.
      ValueError: `block` is not at least 1, or `seed` not at least 0.

    Example:
      >>> params, rounding = {"kernel": jnp.eye(4)}, jc.quantize.rounding.rotated()
      >>> int4 = jc.quantize.int4()
      >>> quantized, report = jc.quantize.quantize(params, int4, rounding=rounding)
      >>> report.leaves[0].action
      'int4 per channel, rotated in blocks of 4'

    Source: Egiazarian et al. 2025, arXiv:2509.23202, section 4; the signs are those of
    Tseng et al. 2024, arXiv:2402.04396, section 3. Differs: the leaf keeps the
    rotation, so nothing is folded into other layers.
    """
    check_kind("rotated", "inner", inner, Rounding, "Take one of quantize.rounding.")
    block = check_count("rotated", "block", block)
    seed = check_count("rotated", "seed", seed, 0)

    turned = functools.partial(_turned, block=block, seed=seed)
    leaf_of = functools.partial(_leaf_of, block=block, seed=seed)

    def solver(spec: QuantSpec) -> Solver:
        own = inner.solver(spec)

        def solve(weight: Array, second_moment: Array) -> Solution:
            moment = turned(turned(second_moment).T)  # Rᵀ · H · R, as H is symmetric
            return own.solve(turned(weight), (moment + moment.T) / 2)

        def weight(found: Solution) -> Array:
            stored = own.weight(found)
            negative, size = _rotation(stored.shape[-1], block, seed)
            return rotated_back(stored, negative[None], size)

        def leaf(found: Solution, leaf: Array, axes: LeafAxes) -> Rotated:
            return leaf_of(own.leaf(found, leaf, axes), leaf, axes)

        return Solver(solve, weight, leaf, own.note)

    def array(x: Array, choice: Assignment) -> Rotated:
        matrices = turned(as_matrices(x, choice.axes).astype(jnp.float32))
        stored = inner.array(from_matrices(matrices, choice.axes, like=x), choice)
        return leaf_of(stored, x, choice.axes)

    return Rounding(solver, array)


def _turned(weight: Array, block: int, seed: int) -> Array:
    """W · R of (…, outputs, inputs), which is finite."""
    negative, size = _rotation(weight.shape[-1], block, seed)
    signs = negative.reshape((1,) * (weight.ndim - 1) + negative.shape)
    largest = float(jnp.finfo(jnp.float32).max)
    return jnp.clip(rotated_vectors(weight, signs, size), -largest, largest)


def _leaf_of(stored: CompressedLeaf, leaf: Array, axes: LeafAxes, block: int, seed: int) -> Rotated:
    """The leaf whose rotated weights are stored."""
    _, _, inputs = matrix_shape(leaf.shape, axes)
    negative, size = _rotation(inputs, block, seed)
    batch = tuple(leaf.shape[axis] for axis in axes.batch)
    signs = jnp.broadcast_to(negative.reshape((1,) * len(batch) + (-1,)), (*batch, inputs))
    return Rotated.from_rotated(stored, signs, block=size, dtype=leaf.dtype, axes=axes)


def _rotation(inputs: int, most: int, seed: int) -> tuple[Array, int]:
    """The signs of a matrix of so many inputs, and its block."""
    return jnp.asarray(drawn_signs(seed, inputs)), largest_block(inputs, most)
