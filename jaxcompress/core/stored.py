"""What the arrays of a `QTensor` are: dtypes, shapes and values that a spec allows."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.formats.codebooks import Codebook
from jaxcompress.core.formats.grids import Grid
from jaxcompress.core.formats.sharing import scale_shape
from jaxcompress.core.numerics import known_extremes
from jaxcompress.core.packing import packed_length
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array


def part_dtypes(spec: QuantSpec) -> dict[str, np.dtype]:
    """The arrays of a leaf of this spec, by the name of its child, and their dtypes.

    A child that is not listed is None.

    Example:
      >>> part_dtypes(jc.quantize.int4())
      {'codes': dtype('uint8'), 'scale': dtype('float32')}
    """
    parts = {"codes": spec.stored_dtype, "scale": spec.scales.dtype}
    if spec.scales.two_levels:
        parts["second_scale"] = np.dtype(np.float32)
    if not spec.symmetric:
        parts["zero_point"] = np.dtype(np.int32)
    if isinstance(spec.levels, Codebook):
        parts["codebook"] = np.dtype(np.float32)
    return parts


def dtype_fault(spec: QuantSpec, codes: Any, on: Grid) -> str:
    """Which array has another dtype than the spec stores; "" for none."""
    for name, wanted in part_dtypes(spec).items():
        part = codes if name == "codes" else getattr(on, name)
        found = getattr(part, "dtype", type(part).__name__)
        if found != wanted:
            return f"{_CALLED[name]} of {found} instead of {wanted}"
    return ""


def shape_fault(spec: QuantSpec, order: tuple[int, ...], length: int, codes: Any, on: Grid) -> str:
    """Which array has a shape that no leaf of this spec and order has; "" for none."""
    ndim = len(codes.shape)
    if ndim < max(1, len(order)):
        return (
            f"codes of shape {codes.shape}, which has not the {len(order)} axes of the leaf. "
            "Before a program takes layers from another axis than the first, move them there by "
            "jc.restack(params, axes)"
        )
    bits = spec.stored_bits
    if bits < 8 and codes.shape[-1] != packed_length(length, bits):
        return f"codes of shape {codes.shape} where {length} codes are packed along the last axis"
    sizes = codes.shape if bits == 8 else (*codes.shape[:-1], length)
    if not spec.sharing.fits(on.scale.shape, sizes):
        return f"a scale of shape {on.scale.shape} for codes of shape {sizes}"
    for name in ("second_scale", "zero_point", "codebook"):
        part = getattr(on, name)
        if part is not None and not _goes_with(name, part.shape, on.scale.shape, spec):
            return f"{_CALLED[name]} of shape {part.shape} beside a scale of shape {on.scale.shape}"
    return ""


def _goes_with(name: str, shape: tuple[Any, ...], scale: tuple[Any, ...], spec: QuantSpec) -> bool:
    """Whether a part of this shape can stand beside a scale of that shape."""
    if name == "zero_point":
        return shape == scale
    blocks = shape
    if name == "codebook":
        *blocks, levels = shape or (0,)
        if levels != 2**spec.bits:
            return False
    return len(blocks) == len(scale) and all(
        count in (1, size) for count, size in zip(blocks, scale, strict=True)
    )


_CALLED = {
    "codes": "codes",
    "scale": "a scale",
    "second_scale": "a second scale",
    "zero_point": "a zero point",
    "codebook": "a codebook",
}


def check_parts(codes: Array, on: Grid, spec: QuantSpec, axes: LeafAxes) -> None:
    """Checks for `QTensor.from_codes` that codes, not packed yet, go with their grid.

    Raises:
      ValueError: a dtype or shape is another one than the spec and the axes say, or a
        value that is known, not traced, is out of range.
    """
    _check_codes(codes, spec, axes)
    _check_scale_shape(on.scale, codes.shape, spec, axes)
    dtypes = part_dtypes(spec)
    for name in Grid._fields:
        part, given = getattr(on, name), getattr(on, name) is not None
        if given != (name in dtypes):
            called = name.replace("_", " ")
            has = "no" if given else "a"
            _refuse(name, f"{'one' if given else 'none'} is given, and {spec} has {has} {called}")
        if part is None:
            continue
        if part.dtype != dtypes[name]:
            _refuse(name, f"dtype {part.dtype} must be {dtypes[name]}")
        if name != "scale" and not _goes_with(name, part.shape, on.scale.shape, spec):
            wanted = "be" if name == "zero_point" else "go with that of the scale,"
            _refuse(name, f"shape {part.shape} must {wanted} {on.scale.shape}")
    if on.zero_point is not None:
        _check_within("zero_point", on.zero_point, spec)
    if on.codebook is not None:
        _check_codebook(on.codebook)
    _check_within("codes", codes, spec)
    known = known_extremes(on.steps(spec))
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
    if not spec.sharing.fits(scale_shape(codes.shape, spec.sharing, axes), codes.shape):
        _refuse(
            "codes",
            f"shape {codes.shape} is not a whole number of blocks: {spec}. Choose sizes that "
            "divide its axes",
        )


def _check_scale_shape(
    scale: Array, shape: tuple[int, ...], spec: QuantSpec, axes: LeafAxes
) -> None:
    wanted = scale_shape(shape, spec.sharing, axes)
    if scale.shape != wanted:
        _refuse(
            "scale",
            f"shape {scale.shape} must be {wanted}, one entry per block of {spec} for codes of "
            f"shape {shape}",
        )


def _check_codebook(codebook: Array) -> None:
    known = known_extremes(codebook)
    if known and not -np.inf < known[0] <= known[1] < np.inf:
        _refuse("codebook", f"entries reach from {known[0]} to {known[1]}, and must be finite")
    if known and known_extremes(codebook[..., 0]) not in ((0.0, 0.0), None):
        _refuse("codebook", "the level of code 0 must be 0, so that pruned weights stay so")


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
