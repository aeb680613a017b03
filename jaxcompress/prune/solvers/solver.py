"""What prunes one matrix: the word that the solvers share."""

from collections.abc import Callable

from jaxcompress.core.types import Array

SparsitySolver = Callable[[Array, Array, float], tuple[Array, Array]]
"""(weight (outputs, inputs), second moment of the inputs (inputs, inputs), sparsity) to
(weight with removed entries exactly 0, bool mask of what stays); all float32."""
