"""What the arrays of a `QTensor` are: dtypes, shapes and values that a spec allows."""

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.numerics import known_extremes
from jaxcompress.core.packing import packed_length
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array


def sharing_ndim(spec: QuantSpec, axes: LeafAxes) -> int:
    """How many of the last stored axes a block that shares a scale extends over.

    Example:
      >>> sharing_ndim(jc.quantize.int8(), LeafAxes(contracting=(0, 1), output=(2,)))
      2
    """
    return {
        "tensor": len(axes.output) + len(axes.contracting),
        "channel": len(axes.contracting),
        "group": 1,
    }[spec.per]


def scale_shape(shape: tuple[int, ...], spec: QuantSpec, axes: LeafAxes) -> tuple[int, ...]:
    """Sizes of the scale of a canonical array: one entry per block, of the same rank.

    Args:
      shape: sizes of (batch…, output…, contracting…).
      spec: its `group_size` divides the last of them.
      axes: how many of the axes are batch, output and contracting.

    Returns:
      One size per axis.

    Example:
      >>> dense = jc.LeafAxes(contracting=(0,), output=(1,))
      >>> scale_shape((3, 8), jc.quantize.int4(group_size=4), dense)
      (3, 2)
    """
    if spec.per == "group":
        return (*shape[:-1], shape[-1] // spec.group_size)
    shared = sharing_ndim(spec, axes)
    return (*shape[: len(shape) - shared], *(1 for _ in range(shared)))


def dtype_fault(spec: QuantSpec, codes, scale, zero_point) -> str:
    """Which array has another dtype than the spec stores; "" for none."""
    parts = {"codes": (codes, spec.stored_dtype), "a scale": (scale, np.dtype(np.float32))}
    if not spec.symmetric:
        parts["a zero point"] = (zero_point, np.dtype(np.int32))
    for name, (part, wanted) in parts.items():
        found = getattr(part, "dtype", type(part).__name__)
        if found != wanted:
            return f"{name} of {found} instead of {wanted}"
    return ""


def shape_fault(
    spec: QuantSpec, order: tuple[int, ...], length: int, codes, scale, zero_point
) -> str:
    """Which array has a shape that no leaf of this spec and order has; "" for none."""
    ndim = len(codes.shape)
    if ndim < max(1, len(order)):
        return f"codes of shape {codes.shape}, which has not the {len(order)} axes of the leaf"
    if spec.bits < 8 and codes.shape[-1] != packed_length(length, spec.bits):
        return f"codes of shape {codes.shape} where {length} codes are packed along the last axis"
    sizes = codes.shape if spec.bits == 8 else (*codes.shape[:-1], length)
    if not _one_per_block(scale.shape, sizes, spec):
        return f"a scale of shape {scale.shape} for codes of shape {sizes}"
    if not spec.symmetric and zero_point.shape != scale.shape:
        return f"a zero point of shape {zero_point.shape} beside a scale of shape {scale.shape}"
    return ""


def check_parts(
    codes: Array, scale: Array, zero_point: Array | None, spec: QuantSpec, axes: LeafAxes
) -> None:
    """Checks for `QTensor.from_codes` that codes, not packed yet, go with their scales.

    Raises:
      ValueError: a dtype or shape is another one than the spec and the axes say, or a
        value that is known, not traced, is out of range.
    """
    _check_codes(codes, spec, axes)
    _check_blocks("scale", scale, np.dtype(np.float32), codes.shape, spec, axes)
    if (zero_point is None) != spec.symmetric:
        given = "none" if zero_point is None else "one"
        _refuse(
            "zero_point",
            f"{given} is given, and {spec} has {'no' if spec.symmetric else 'a'} zero point",
        )
    if zero_point is not None:
        _check_blocks("zero_point", zero_point, np.dtype(np.int32), codes.shape, spec, axes)
        _check_within("zero_point", zero_point, spec)
    _check_within("codes", codes, spec)
    known = known_extremes(scale)
    if known and not 0 < known[0] <= known[1] < np.inf:
        _refuse(
            "scale",
            f"entries reach from {known[0]} to {known[1]}, and must be finite and above 0. "
            "A block of zeros has the scale 1",
        )


def _check_codes(codes: Array, spec: QuantSpec, axes: LeafAxes) -> None:
    if not jnp.issubdtype(codes.dtype, jnp.integer):
        _refuse("codes", f"dtype {codes.dtype} must be an integer one. Round and cast them")
    if not codes.ndim or codes.ndim != len(axes.order):
        _refuse("codes", f"shape {codes.shape} must have the {len(axes.order)} axes of {axes}")
    if spec.per == "group" and codes.shape[-1] % spec.group_size:
        _refuse(
            "codes",
            f"shape {codes.shape} ends in groups of {spec.group_size} and a rest. Choose "
            "a group_size that divides its last axis",
        )


def _check_blocks(
    argument: str,
    blocks: Array,
    dtype: np.dtype,
    shape: tuple[int, ...],
    spec: QuantSpec,
    axes: LeafAxes,
) -> None:
    wanted = scale_shape(shape, spec, axes)
    if blocks.dtype != dtype:
        _refuse(argument, f"dtype {blocks.dtype} must be {dtype}")
    if blocks.shape != wanted:
        _refuse(
            argument,
            f"shape {blocks.shape} must be {wanted}, one entry per block of {spec} for codes of "
            f"shape {shape}",
        )


def _check_within(argument: str, values: Array, spec: QuantSpec) -> None:
    known = known_extremes(values)
    if known and not spec.lowest <= known[0] <= known[1] <= spec.highest:
        _refuse(
            argument,
            f"entries reach from {known[0]} to {known[1]}, and {spec} has the codes from "
            f"{spec.lowest} to {spec.highest}. Clip them first",
        )


def _refuse(argument: str, fault: str) -> None:
    raise ValueError(f"QTensor.from_codes({argument}=...): {fault}.")


def _one_per_block(blocks: tuple[int, ...], sizes: tuple[int, ...], spec: QuantSpec) -> bool:
    """Whether scales of this shape can be those of stored sizes, whatever axes do."""
    if len(blocks) != len(sizes):
        return False
    if spec.per == "group":
        return (*blocks[:-1], blocks[-1] * spec.group_size) == sizes
    return all(count in (1, size) for count, size in zip(blocks, sizes, strict=True))
