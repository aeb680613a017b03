"""How scales are stored: a scale per block, written down and read back.

What encodes reads the scale back first, so that codes are chosen for the scale that
will be multiplied with.
"""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.types import Array

SMALLEST_SCALE = float(2 * np.finfo(np.float32).tiny)
"""Below it a value of one step is subnormal, which XLA flushes to zero."""


@dataclasses.dataclass(frozen=True)
class Float32:
    """Four bytes for each scale, exact."""

    kind: ClassVar[str] = "float32"
    dtype: ClassVar[np.dtype] = np.dtype(np.float32)

    def write(self, scale: Array) -> tuple[Array, None]:
        """What is stored: at least `SMALLEST_SCALE`, 1 for a block of zeros.

        Args:
          scale: float32, at least 0; NaN for a block that is not finite.

        Returns:
          (stored, second scale).
        """
        return jnp.where(scale == 0, 1.0, jnp.maximum(scale, SMALLEST_SCALE)), None

    def read(self, stored: Array, second: Array | None) -> Array:
        """The scales as float32."""
        del second
        return stored

    def __str__(self) -> str:
        return "float32 scales"


Scales = Float32
"""How scales are stored."""

SCALES = (Float32,)
