"""`core.packing` in NumPy, bit for bit: how codes lie in memory.

Eager JAX would compile a program for every shape that a file holds.
"""

import math

import numpy as np

from jaxcompress.storage.container import memory


def pack(values: np.ndarray, bits: int) -> np.ndarray:
    """`core.packing.pack` in NumPy, bit for bit: planes along the last axis.

    Into memory that a JAX array can take over as it is.
    """
    planes = 8 // bits
    size = -(-values.shape[-1] * bits // 8)
    lead = values.shape[:-1]
    packed = memory.aligned(math.prod(lead) * size).reshape(*lead, size)
    packed[:] = values[..., :size]
    for plane in range(1, planes):
        part = values[..., plane * size : (plane + 1) * size]  # (..., size) or fewer at the end
        packed[..., : part.shape[-1]] |= part << np.uint8(plane * bits)
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
