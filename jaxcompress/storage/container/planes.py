"""`core.packing` in NumPy, bit for bit: how codes lie in memory.

Eager JAX would compile a program for every shape that a file holds.
"""

import numpy as np


def pack(values: np.ndarray, bits: int) -> np.ndarray:
    """`core.packing.pack` in NumPy, bit for bit: planes along the last axis."""
    planes = 8 // bits
    length = -(-values.shape[-1] * bits // 8)
    padding = [(0, 0)] * (values.ndim - 1) + [(0, planes * length - values.shape[-1])]
    split = np.pad(values, padding).reshape(*values.shape[:-1], planes, length)
    packed = split[..., 0, :].copy()
    for plane in range(1, planes):
        packed |= split[..., plane, :] << np.uint8(plane * bits)
    return packed


def unpack(packed: np.ndarray, bits: int, length: int) -> np.ndarray:
    """`core.packing.unpack` in NumPy, bit for bit."""
    mask, planes = np.uint8(2**bits - 1), 8 // bits
    size = packed.shape[-1]
    values = np.empty((*packed.shape[:-1], planes * size), np.uint8)
    for plane in range(planes):
        begin = plane * size
        np.bitwise_and(
            packed >> np.uint8(plane * bits), mask, out=values[..., begin : begin + size]
        )
    return values[..., :length]
