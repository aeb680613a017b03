"""What a rounding is: how the weights of a leaf get codes, with data or without."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.formats.grids import Grid
from jaxcompress.core.formats.sharing import scale_shape
from jaxcompress.core.kinds import check_kind, check_takes
from jaxcompress.core.leaf import CompressedLeaf
from jaxcompress.core.matrices import as_matrices
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.layerwise.solver import Solver
from jaxcompress.quantize.assignment import Assignment
from jaxcompress.quantize.rounding.matrices import decoded, matrix_spec


class Rounding(NamedTuple):
    """How the weights of a leaf get their codes.

    Attributes:
      solver: spec -> `layerwise.Solver`, which rounds a matrix (outputs, inputs) on the
        second moment of its inputs. The spec is one of matrices: a row is a group.
      array: (x, assignment) -> compressed leaf, without data: of an array as it lies.
    """

    solver: Callable[[QuantSpec], Solver]
    array: Callable[[Array, Assignment], CompressedLeaf]


class Rounded(NamedTuple):
    """The codes of one matrix, and what they are read with.

    Attributes:
      codes: (outputs, inputs) whole numbers in [spec.lowest, spec.highest].
      on: one entry per block: (1 or outputs or tiles of them, 1 or groups).
      raised: () float32, by what the damping of the second moment was multiplied until
        it had a factor, as `layerwise.solver.damped_factor` tells; None where nothing
        is damped.
    """

    codes: Array
    on: Grid
    raised: Array | None = None


def coded(round: Callable[[Array, Array, QuantSpec], Rounded]) -> Rounding:
    """The rounding whose leaves are `QTensor`s, from a function of one matrix.

    Without data, all inputs count alike and for themselves: the second moment is the
    identity.

    Args:
      round: (weight (outputs, inputs), second moment (inputs, inputs), spec), both
        arrays float32, -> Rounded. Compiled.

    Returns:
      Rounding.

    Raises:
      TypeError: `round` takes no three arguments.

    Example:
      >>> from jaxcompress.quantize.rounding.matrices import encoded, grid_of
      >>> def truncated(weight, second_moment, spec):
      ...     on = grid_of(weight, spec, jc.quantize.ranges.min_max)
      ...     codes = jnp.trunc(encoded(weight, on, spec))
      ...     return jc.quantize.rounding.Rounded(codes, on)
      >>> params = {"kernel": jnp.array([[1.0, 0.3], [-0.6, 0.0]])}
      >>> rounding, int4 = jc.quantize.rounding.coded(truncated), jc.quantize.int4()
      >>> quantized, _ = jc.quantize.quantize(params, int4, rounding=rounding)
      >>> quantized["kernel"].unpacked_codes
      Array([[ 7, -4],
             [ 7,  0]], dtype=int8)
    """
    check_takes("coded", "round", round, 3, "It rounds (weight, second_moment, spec).")

    def solver(spec: QuantSpec) -> Solver:
        def solve(weight: Array, second_moment: Array) -> Rounded:
            found = round(weight, second_moment, spec)
            return found._replace(codes=found.codes.astype(spec.code_dtype))

        def leaf(found: Rounded, leaf: Array, axes: LeafAxes) -> QTensor:
            return _leaf(found, leaf, axes, spec)

        return Solver(solve, lambda found: decoded(found.codes, found.on, spec), leaf, _note)

    return Rounding(solver, without_data(solver))


def without_data(
    solver: Callable[[QuantSpec], Solver],
) -> Callable[[Array, Assignment], CompressedLeaf]:
    """`Rounding.array` of a solver: each matrix by itself, on the identity."""

    def array(x: Array, choice: Assignment) -> CompressedLeaf:
        spec, axes = matrix_spec(choice.spec, x.shape, choice.axes), choice.axes
        own = solver(spec)
        matrices = as_matrices(x, axes).astype(jnp.float32)  # (batch, outputs, inputs)
        identity = jnp.eye(matrices.shape[-1], dtype=jnp.float32)
        found = jax.lax.map(lambda weight: own.solve(weight, identity), matrices)
        return own.leaf(found, x, axes)

    return array


def check_rounding(caller: str, rounding: object) -> None:
    """Raises a TypeError unless it is what the functions of `quantize.rounding` give.

    Example:
      >>> check_rounding("quantize", jc.quantize.rounding.nearest)
      Traceback (most recent call last):
      TypeError: quantize(rounding=nearest) must be of type Rounding, not function. Take
      one of quantize.rounding. Did you mean nearest(...), which gives one?
    """
    check_kind(caller, "rounding", rounding, Rounding, "Take one of quantize.rounding.")


def _note(found: Rounded) -> str:
    """Of which matrices of a leaf the damping was raised, and how far at most."""
    if found.raised is None:
        return ""
    times = np.asarray(found.raised)
    more = int(np.sum(times > 1))
    if not more:
        return ""
    of = f"{more} of its {times.size} second moments" if times.size > 1 else "its second moment"
    if np.isinf(times).any():
        return f"{of} had no Cholesky factor at any damping: all inputs counted alike"
    return f"{of} had no Cholesky factor: the damping was raised {times.max():.0f} times"


def _leaf(found: Rounded, leaf: Array, axes: LeafAxes, spec: QuantSpec) -> QTensor:
    """The leaf of all its matrices' codes, (batch, outputs, inputs)."""
    shape = tuple(leaf.shape[axis] for axis in axes.order)
    blocks = scale_shape(shape, spec.sharing, axes)
    on = jax.tree.map(lambda part: _apart(part, blocks, axes), found.on)
    codes = found.codes.reshape(shape)
    return QTensor.from_rounded(codes, on, spec=spec, dtype=leaf.dtype, axes=axes)


def _apart(part: Array, blocks: tuple[int, ...], axes: LeafAxes) -> Array:
    """A part of the grids of all matrices with the leaf's axes apart.

    Args:
      part: (batch, rows, columns, …).
      blocks: how many there are along each axis of (batch…, output…, contracting…).
      axes: how many of these axes are batch, output and contracting.
    """
    batch, output = len(axes.batch), len(axes.batch) + len(axes.output)
    _, rows, columns, *levels = part.shape
    sizes = [
        own if math.prod(own) == count else (1,) * len(own)
        for own, count in ((blocks[batch:output], rows), (blocks[output:], columns))
    ]
    return part.reshape(*blocks[:batch], *sizes[0], *sizes[1], *levels)
