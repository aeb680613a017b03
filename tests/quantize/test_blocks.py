"""Which weights share a scale."""

import jax.numpy as jnp
import pytest

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.stored import scale_shape
from jaxcompress.quantize import int4, int8
from jaxcompress.quantize.blocks import in_blocks, shared_axes

CONV_STACK = LeafAxes(contracting=(1, 2, 3), output=(4,), batch=(0,))
SHAPE = (5, 3, 3, 8, 6)  # layers, rows, columns, inputs, outputs
STORED = (5, 6, 3, 3, 8)


@pytest.mark.parametrize(
    ("spec", "sizes"),
    [
        (int8(per="tensor"), (5, 1, 1, 1, 1)),
        (int8(per="channel"), (5, 6, 1, 1, 1)),
        (int4(group_size=4), (5, 6, 3, 3, 2)),
    ],
    ids=str,
)
def test_scale_sizes_are_the_reduced_sizes(spec, sizes):
    found = jnp.max(in_blocks(jnp.ones(SHAPE), spec, CONV_STACK), shared_axes(spec, CONV_STACK))
    assert scale_shape(STORED, spec, CONV_STACK) == sizes
    assert sorted(size for size in found.shape) == sorted(size for size in sizes if size > 1)
