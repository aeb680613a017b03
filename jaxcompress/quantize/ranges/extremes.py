"""Range estimators: which stretch of the real line the codes of a block shall cover.

An estimator is a function `(x, axis, spec) -> Range`. Zero and, for symmetric specs,
the mirror image are added by `affine.covered`, so no estimator has to.
"""

from collections.abc import Callable

import jax.numpy as jnp

from jaxcompress.core.observers import Range
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array

Ranges = Callable[[Array, tuple[int, ...], QuantSpec], Range]
"""(x, axis, spec) to the range of every block."""


def min_max(x: Array, axis: tuple[int, ...], spec: QuantSpec) -> Range:
    """The smallest and the largest value: nothing is clipped.

    Args:
      x: (...) float32.
      axis: the axes whose entries share a scale.
      spec: the grid. An odd one covers the mirror image of whatever it covers, so the
        range found for it is that of the largest magnitude: one pass instead of two.

    Returns:
      Range of float32 arrays of the rank of `x` whose shared axes have size 1.

    Example:
      >>> x = jnp.array([[1.0, -2.0], [3.0, 4.0]])
      >>> found = min_max(x, (-1,), jc.quantize.formats.uint8())
      >>> found.low.tolist(), found.high.tolist()
      ([[-2.0], [3.0]], [[1.0], [4.0]])
    """
    if spec.odd:
        largest = jnp.max(jnp.abs(x), axis, keepdims=True)
        return Range(-largest, largest)
    return Range(jnp.min(x, axis, keepdims=True), jnp.max(x, axis, keepdims=True))
